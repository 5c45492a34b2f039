"""The options of `dev` and `start`, made from the table of settings so that they cannot differ."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import click

from stepwell.server.settings import WITHOUT_MEANING, Mode, Option, Settings, options, parameter

if TYPE_CHECKING:
    from collections.abc import Callable


def setting_options(mode: Mode) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorate a command with every option of `mode`; it gets them by `parameter` name."""
    shown = [
        _click_option(option, default=_default_text(field, option, mode))
        for field, option in options().items()
        if mode in option.modes
    ]
    accepted = [_click_option(option) for option in WITHOUT_MEANING if mode in option.modes]
    config = click.option("--config", metavar="FILE", help="The stepwell.toml to read; else the "
                          "first one from the working directory upwards.")  # fmt: skip

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        decorated: Any = command
        for add in reversed([*shown, config, *accepted]):
            decorated = add(decorated)
        return cast("Callable[..., Any]", decorated)

    return decorate


def _click_option(
    option: Option, *, default: str = ""
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    names = [*([option.short] if option.short else []), *option.flags]
    settings: dict[str, Any] = {
        "help": option.help + (f" [default: {default}]" if default else ""),
        "hidden": option.no_meaning,
    }
    if option.switch:
        settings["is_flag"] = True
    else:
        settings |= {"metavar": option.metavar, "multiple": option.many}
    return click.option(*names, parameter(option), **settings)


def _default_text(field: str, option: Option, mode: Mode) -> str:
    """The default as it would be given, empty when there is none to speak of."""
    value = getattr(Settings(), field)
    if mode == "start" and option.start_default is not None:
        value = option.start_default
    if value in (None, (), False):
        return ""
    return f"{value / 1000:.12g}" if field.endswith("_ms") else str(value)
