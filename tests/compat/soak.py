"""Every scenario with every SDK over every transport: `python -m tests.compat.soak`.

Those are in it that take over 20 s and that `make test` leaves out. Further arguments are pytest's.
"""

from __future__ import annotations

import os
import subprocess
import sys

from tests.compat.languages import HERE, ROOT

PROCESSES = 4
"""They wait more than they work."""


def main() -> int:
    command = [
        sys.executable, "-m", "pytest", "-q",
        "-n", str(PROCESSES),
        "--dist", "loadgroup",
        str(HERE / "scenarios"),
        *sys.argv[1:],
    ]  # fmt: skip
    environ = {**os.environ, "COMPAT_TRANSPORTS": "all"}
    return subprocess.run(command, cwd=ROOT, env=environ, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
