"""SQL by name: each `.sql` file in `sql/` holds named statements, each under one sentence.

    -- name: delete_live
    -- The run is over.
    DELETE FROM live WHERE run_id = ?1;

Parameters only; nothing is ever put together from input.
"""

from __future__ import annotations

import re
from pathlib import Path

SQL_DIRECTORY = Path(__file__).with_name("sql")

_STATEMENT = re.compile(
    r"^-- name: (?P<name>\w+)\n(?P<sentence>(?:-- .*\n)+)(?P<sql>[^;]+);\n", re.MULTILINE
)


def load_statements(file_name: str) -> dict[str, str]:
    """The statements of a file by name, without their comments."""
    text = (SQL_DIRECTORY / file_name).read_text(encoding="utf-8")
    return {match["name"]: match["sql"] for match in _STATEMENT.finditer(text)}
