"""How many requests the server makes at a time, and how functions share that.

A function may have one more under way only while it has fewer than are still free. So one that
asks for thousands has half of all at most, two have a third each, and there always is one free
for a function that comes later. Among those that wait, the one with the fewest under way is first.
Road not taken: a fixed share for each function, which leaves most of it idle or is too small.

Nothing of this is stored: a request that is under way is a leased job.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stepwell.wire.ids import RequestId


class RequestSlots:
    """Requests under way, by function.

    Args:
        limit: Of all functions together.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._out: dict[RequestId, int] = {}
        self._by_function: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._out)

    def in_use(self, function_no: int) -> int:
        """How many a function has under way."""
        return self._by_function.get(function_no, 0)

    def admits(self, function_no: int) -> bool:
        """Whether it may have one more."""
        return self.in_use(function_no) < self._limit - len(self._out)

    def take(self, request_id: RequestId, function_no: int) -> None:
        """A request is under way, whatever the limit: it may be one of before a restart."""
        assert request_id not in self._out, "a request is under way once"
        self._out[request_id] = function_no
        self._by_function[function_no] = self.in_use(function_no) + 1

    def free(self, request_id: RequestId) -> None:
        """It is over, or will be made again later."""
        function_no = self._out.pop(request_id)
        left = self._by_function[function_no] - 1
        if left:
            self._by_function[function_no] = left
        else:
            del self._by_function[function_no]
