"""Secrets that the server makes for itself and keeps beside its data."""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING

from stepwell.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

SECRET_BYTES = 32
SECRET_FILE = "session-secret"


def load_or_create_secret(data_dir: Path | None, name: str = SECRET_FILE) -> bytes:
    """The secret of this installation; made on the first call and the same ever after.

    Args:
        data_dir: Where it is kept, in a file that only its owner reads (mode 0600); the directory
            is made if need be. None (in-memory mode): a new secret each time, kept nowhere.
    Raises:
        ConfigError: `secret_unusable`, if the file cannot be read or written or is damaged.
    """
    if data_dir is None:
        return secrets.token_bytes(SECRET_BYTES)
    path = data_dir / name
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            _create(path)
        path.chmod(0o600)  # a copied or restored directory may have lost the mode
        text = path.read_text(encoding="ascii").strip()
        secret = bytes.fromhex(text)
    except OSError as error:
        raise ConfigError(
            f"cannot keep a secret in {path}: {error.strerror}; choose another --data-dir",
            code="secret_unusable",
        ) from error
    except ValueError as error:
        raise ConfigError(_damaged(path), code="secret_unusable") from error
    if len(secret) != SECRET_BYTES:
        raise ConfigError(_damaged(path), code="secret_unusable")
    return secret


def _create(path: Path) -> None:
    """Write a new secret; when two processes race, the first file stays."""
    # Not named after the process: in a container every process has the same number, and one
    # that was killed here would be in the way of the next.
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}.new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(SECRET_BYTES) + "\n")
            file.flush()
            os.fsync(file.fileno())
        # A link fails if the name is taken, where a rename would replace what another process
        # has just read.
        os.link(draft, path)
    except FileExistsError:
        return
    finally:
        draft.unlink()


def _damaged(path: Path) -> str:
    return (
        f"{path} does not hold {SECRET_BYTES} bytes in hex; delete it and a new one is made "
        "(workers then ask for a new connection)"
    )
