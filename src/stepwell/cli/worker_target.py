"""What `stepwell worker` runs: `MODULE:NAME` as a program writes it, found and checked."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from typing import TYPE_CHECKING, Any, TypeAlias

from stepwell.client import Client
from stepwell.connect import WorkerConnection
from stepwell.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

    from stepwell.function import Function

    Apps: TypeAlias = list[tuple[Client, Sequence[Function[Any]]]]

CODE = "worker_target_invalid"


def load(targets: Sequence[str], imports: Sequence[str] = ()) -> WorkerConnection | Apps:
    """Import the modules, and give the connection that was made there, or the apps to connect.

    Functions are collected when all modules were imported, so they may be declared anywhere.

    Raises:
        ConfigError: `worker_target_invalid`: one of them is not what it must be.
    """
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    named = [(target, *_split(target)) for target in targets]
    modules = {module: _import(module) for _, module, _ in named}
    for module in imports:
        _import(module)
    found = [(target, _find(target, modules[module], name)) for target, module, name in named]
    if len(found) == 1 and isinstance(found[0][1], WorkerConnection):
        return found[0][1]
    apps: Apps = []
    for target, value in found:
        apps += _apps(target, value)
    return _joined(apps)


def _split(target: str) -> tuple[str, str]:
    module, colon, name = target.partition(":")
    if module.endswith(".py") or "/" in module:
        guess = module.removesuffix(".py").strip("./").replace("/", ".")
        guess += f":{name or 'client'}"
        raise _wrong(f"{target!r} names a file; name the module as `import` would: {guess}")
    if not colon or not module or not name:
        raise _wrong(
            f"{target!r} does not say what to run; it must look like MODULE:NAME, such as "
            f"{module or 'shop'}:client"
        )
    return module, name


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(error.name + ".")):
            raise _wrong(
                f"there is no module {error.name!r}; it was looked for in {os.getcwd()} and in "
                "Python's path"
            ) from error
        _show(error)
        raise _wrong(f"importing {name} failed: {error}") from error
    except ValueError as error:  # a name such as `.shop`, or an empty one
        raise _wrong(f"{name!r} is no module's name: {error}") from error
    except TypeError as error:
        if name.startswith("."):
            raise _wrong(f"{name!r} is no module's name: it begins with a dot") from error
        _show(error)
        raise _wrong(f"importing {name} failed: {type(error).__name__}: {error}") from error
    except Exception as error:  # the program's own code
        _show(error)
        raise _wrong(f"importing {name} failed: {type(error).__name__}: {error}") from error


def _show(error: BaseException) -> None:
    """The traceback, from the program's first frame on."""
    trace = error.__traceback__
    while trace is not None and (
        trace.tb_frame.f_globals.get("__name__", "").startswith(("importlib", "stepwell."))
    ):
        trace = trace.tb_next
    traceback.print_exception(type(error), error, trace, file=sys.stderr)


def _find(target: str, module: ModuleType, name: str) -> Any:
    value: Any = module
    for part in name.split("."):
        try:
            value = getattr(value, part)
        except AttributeError:
            raise _wrong(_missing(target, module, name)) from None
    return value


def _missing(target: str, module: ModuleType, name: str) -> str:
    could_be = [
        key
        for key, value in vars(module).items()
        if isinstance(value, Client | WorkerConnection) and not key.startswith("_")
    ]
    text = f"module {module.__name__} has no {name!r}"
    if could_be:
        names = " or ".join(f"{module.__name__}:{key}" for key in could_be)
        return f"{text}; did you mean {names}?"
    return f"{text}, and no client or connection at all; {target!r} must name one of these"


def _apps(target: str, value: Any) -> Apps:
    if isinstance(value, Client):
        return [_app_of(target, value)]
    if isinstance(value, WorkerConnection):
        raise _wrong(f"{target} is a connection, which has its apps; run it without other targets")
    items = list(value) if isinstance(value, list | tuple) else []
    if isinstance(value, tuple) and _is_app(value) and not isinstance(items[1], Client):
        return [(items[0], items[1])]
    if not items or not all(_is_app(item) for item in items):
        raise _wrong(
            f"{target} is a {type(value).__name__}; it must be a stepwell.Client, a connection "
            "made by connect(), or a list of clients or of (client, functions)"
        )
    return [
        _app_of(target, item) if isinstance(item, Client) else (item[0], item[1]) for item in items
    ]


def _is_app(item: Any) -> bool:
    if isinstance(item, Client):
        return True
    return isinstance(item, list | tuple) and len(item) == 2 and isinstance(item[0], Client)


def _app_of(target: str, client: Client) -> tuple[Client, Sequence[Function[Any]]]:
    if not client.functions:
        raise _wrong(
            f"{target} is a client without functions: none is declared with it in the modules that "
            "were imported; name the one that declares them with --import"
        )
    return client, client.functions


def _joined(apps: Apps) -> Apps:
    """The apps without those that two targets name: a client is connected once."""
    seen: dict[int, tuple[Client, Sequence[Function[Any]]]] = {}
    for client, functions in apps:
        seen.setdefault(id(client), (client, functions))
    return list(seen.values())


def _wrong(text: str) -> ConfigError:
    return ConfigError(text, code=CODE)
