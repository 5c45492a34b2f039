"""`stepwell send`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from stepwell.cli.event_runs import (
    full_name,
    read_event,
    read_runs,
    started_nothing,
    told_runs,
)
from stepwell.cli.target import talks_to_server
from stepwell.cli.text import plain, print_json
from stepwell.errors import StepwellError

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

    What it started goes to standard error, so that the output is the id alone; with --json both
    are in the output. If it started nothing, runs that went on with it, or that it cancelled, are
    named instead.

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
    if not as_json:
        for sent in ids:
            click.echo(sent)
    try:
        runs = [run for sent in ids for run in read_runs(api, sent)]
        told: list[tuple[str, str]] = []
        if not runs and not as_json:  # then it was sent for those that wait for it, or in vain
            told = [each for sent in ids for each in told_runs(read_event(api, sent))]
    except StepwellError as error:  # it is stored all the same, and its key may open no more
        click.echo(f"what it started cannot be read: {error.message} [{error.code}]", err=True)
        if as_json:
            print_json({"ids": ids})
        return
    if as_json:
        print_json({"ids": ids, "runs": runs})
        return
    for run in runs:
        click.echo(f"started {full_name(run)}  {run['id']}", err=True)
    for word, run_id in told:
        click.echo(f"{word} {run_id}", err=True)
    if not runs and not told:
        click.echo(started_nothing(plain(name), plain(event_id) if event_id else None), err=True)


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
