"""How many files a process of the benchmarks may have open: a socket is one of them."""

from __future__ import annotations

import resource

SPARE = 200
"""What a process has open besides the sockets that it is about."""


def allow_sockets(count: int) -> None:
    """Raise the limit of this process, and of those that it starts, as far as needed.

    Raises:
        RuntimeError: The system does not allow so many.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + SPARE
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise RuntimeError(
            f"{count:,} sockets need {wanted:,} open files, and the system allows {hard:,}: "
            "raise it with `ulimit -Hn`"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
