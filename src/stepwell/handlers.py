"""Handlers: what a program gives to be called as a function, and what its signature tells."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from types import UnionType
from typing import Any, Union, get_args, get_origin

from stepwell.context import Context, ContextSync
from stepwell.errors import ConfigError

_ANYTHING = (Any, object)  # `Any` is a class too, since Python 3.11
_UNKNOWN = (TypeError, ValueError, NameError, AttributeError)
"""What asking for a signature raises if there is none, or if it names types that are not there."""


def check_handler(what: str, handler: object) -> None:
    """Refuse what cannot be called with a context.

    Args:
        what: How the error calls it, such as `function 'ship'`.
    Raises:
        ConfigError: It is no function, or not one of one argument.
    """
    if not callable(handler):
        raise ConfigError(
            f"{what} is {handler!r}; it must be a function that takes the context, such as "
            "`async def ship(ctx: stepwell.Context)`, as it is before any @client.function"
        )
    try:
        signature = inspect.signature(handler)
    except _UNKNOWN:
        return
    try:
        signature.bind(None)
    except TypeError:
        raise ConfigError(
            f"{what} takes {_counted(signature)}; it is called with one, the context, in which "
            "everything is (ctx.event, ctx.step): `async def ship(ctx: stepwell.Context)`"
        ) from None


def is_async(handler: Callable[..., Any]) -> bool:
    """Whether calling it gives something to await."""
    return inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(
        getattr(handler, "__call__", None)  # noqa: B004 - an object whose __call__ is async
    )


def takes_sync_context(handler: Callable[..., Any]) -> bool:
    """Whether the handler's first parameter is declared as `ContextSync`."""
    declared = _first_annotation(handler)
    if isinstance(declared, str):  # from __future__ import annotations
        return declared.partition("[")[0].rpartition(".")[2] == ContextSync.__name__
    return declared is ContextSync or get_origin(declared) is ContextSync


def declared_data(handler: Callable[..., Any]) -> type | None:
    """The class that event data has by the handler's annotation, such as `Context[Order]`.

    None if it says nothing that can be found out, or something that a dict is: `Context[Any]`, a
    `TypedDict`.
    """
    declared = _first_annotation(handler)
    if isinstance(declared, str):
        declared = _evaluated(declared, handler)
    if get_origin(declared) not in (Context, ContextSync):
        return None
    [named] = get_args(declared)
    classes = get_args(named) if get_origin(named) in (Union, UnionType) else (named,)
    for each in classes:
        if isinstance(each, type) and each not in _ANYTHING and not issubclass(each, Mapping):
            return each
    return None


def _first_annotation(handler: Callable[..., Any]) -> Any:
    try:
        parameters = inspect.signature(handler).parameters.values()
    except _UNKNOWN:
        return None
    return next((parameter.annotation for parameter in parameters), None)


def _evaluated(text: str, handler: Callable[..., Any]) -> Any:
    """What an annotation stands for; None if it names what only a type checker sees."""
    while isinstance(handler, functools.partial):
        handler = handler.func
    names = getattr(inspect.unwrap(handler), "__globals__", {})
    try:
        return eval(text, names)
    except Exception:  # the program's expression, which nobody else needs to be one
        return None


def _counted(signature: inspect.Signature) -> str:
    count = len(signature.parameters)
    return f"{count} argument" if count == 1 else f"{count or 'no'} arguments"
