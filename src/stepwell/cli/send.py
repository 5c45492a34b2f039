"""`stepwell send`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from stepwell.cli.target import talks_to_server
from stepwell.cli.text import print_json

if TYPE_CHECKING:
    from stepwell.cli.api import Api


@click.command("send", short_help="Send an event.")
@click.argument("name")
@click.argument("data", required=False)
@click.option("--data-file", metavar="FILE", help="Read DATA from a file; `-` is standard input.")
@click.option(
    "--id", "event_id", metavar="ID",
    help="Your key for this event: within 24 hours it starts each function once.",
)  # fmt: skip
@click.option("--event-key", metavar="KEY", help="For a server with keys. Else STEPWELL_EVENT_KEY, "
              "then INNGEST_EVENT_KEY, then stepwell.toml.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@talks_to_server
def command(
    api: Api,
    name: str,
    data: str | None,
    data_file: str | None,
    event_id: str | None,
    as_json: bool,
) -> None:
    """Send the event NAME with the JSON object DATA, and print its id once it is stored.

    \b
    Examples:
      stepwell send user.created '{"user_id": 7}'
      stepwell send order.paid --data-file order.json --id order-1234
      echo '{"user_id": 7}' | stepwell send user.created --data-file -
    """
    event: dict[str, Any] = {"name": name, "data": _data(data, data_file)}
    if event_id:
        event["id"] = event_id
    ids = api.send([event])
    if as_json:
        print_json({"ids": ids})
        return
    for sent in ids:
        click.echo(sent)
    if ids and sys.stderr.isatty():
        click.echo(f"Its runs: stepwell list runs --event {ids[0]}", err=True)


def _data(text: str | None, file_name: str | None) -> msgspec.Raw:
    if text is not None and file_name is not None:
        raise click.UsageError("give DATA or --data-file, not both")
    if file_name is not None:
        try:
            raw = sys.stdin.buffer.read() if file_name == "-" else Path(file_name).read_bytes()
            text = raw.decode()
        except OSError as error:
            raise click.UsageError(f"cannot read {file_name}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise click.UsageError(f"{file_name} is not UTF-8 text") from error
    if text is None:
        return msgspec.Raw(b"{}")
    try:
        value = msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise click.UsageError(
            f"DATA is not JSON: {error}; write it like '{{\"user_id\": 7}}'"
        ) from error
    if not isinstance(value, dict):
        raise click.UsageError("DATA must be a JSON object, like '{\"user_id\": 7}'")
    return msgspec.Raw(text.encode())  # as it was written: large numbers keep their digits
