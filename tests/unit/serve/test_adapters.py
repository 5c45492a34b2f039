"""The names that programs import, and what importing them costs."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

NAMES = ["asgi", "wsgi", "starlette", "fast_api", "flask", "django"]
LATE = ["starlette", "fastapi", "flask", "werkzeug", "django", "google.protobuf", "websockets"]


@pytest.mark.parametrize("name", NAMES)
def test_the_official_names_are_ours(name: str) -> None:
    module = importlib.import_module(f"stepwell.{name}")

    assert module.serve is importlib.import_module(f"stepwell.serve.{name}").serve


def test_what_not_every_program_needs_is_imported_when_it_is_used() -> None:
    imports = "\n".join(f"import stepwell.{name}" for name in NAMES)
    check = f"import sys\n{imports}\nprint([n for n in {LATE} if n in sys.modules])"

    done = subprocess.run(
        [sys.executable, "-c", check], capture_output=True, text=True, check=True, timeout=15
    )
    assert done.stdout.strip() == "[]"
