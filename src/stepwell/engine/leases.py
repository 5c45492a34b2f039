"""Calls that are out: who has them, until when, and which are about to be given up.

The request id of a call is stored with its job; the rest is soft state. After a restart every
call that was out counts as dropped: its worker may come back within the grace. After a failed
commit, when there is still somebody to ask, calls stay with their connections.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from stepwell.wire.ids import UNTARGETED_STEP

if TYPE_CHECKING:
    from collections.abc import Collection

    from stepwell.engine.state import Job, Run
    from stepwell.wire.ids import RequestId


HTTP_INSTANCES = "http://"
"""Instances whose name begins so are apps that this server calls itself."""


def ends_with_server(job: Job) -> bool:
    """Whether a call that is out is lost when the server stops, as nobody can bring its answer."""
    return job.request_seq >= 0 or job.instance_id.startswith(HTTP_INSTANCES)


class Lease:
    """A call that is out."""

    __slots__ = (
        "acked",
        "began_ms",
        "connection_id",
        "job",
        "jumped_ms",
        "lease_id",
        "out_ms",
        "run",
        "until_ms",
        "used_id",
    )

    def __init__(self, run: Run, job: Job, connection_id: str | None, until_ms: int) -> None:
        self.run = run
        self.job = job
        self.connection_id = connection_id
        """The connection that holds it; None while its worker is away."""
        self.until_ms = until_ms
        self.began_ms = job.sent_ms
        """When the step that runs now began: when the call left, or reported the one before."""
        self.out_ms = job.sent_ms
        """The same; after a restart it may be behind, as `job.sent_ms` is."""
        self.jumped_ms = 0
        """How far the clock was set forward meanwhile."""
        self.acked = connection_id is None
        self.lease_id: bytes | None = None
        """The id that an extension must name; None after a restart, which forgets it."""
        self.used_id: bytes | None = None
        """The id that the last extension used up: the same extension again gets `lease_id`."""

    def is_overdue(self, now_ms: int, timeout_ms: int) -> bool:
        """Whether its worker has had the call for so long without storing anything of it.

        Calls that the server makes itself have their own limits.
        """
        out_ms = now_ms - self.jumped_ms - self.out_ms
        return out_ms >= timeout_ms and not ends_with_server(self.job)


class Leases:
    """Leases by request id, in order of their ends.

    Those that are held all last equally long, and so do those that are dropped: each kind in an
    ordered dictionary has the first to end in front.
    """

    def __init__(self, *, lease_ms: int, grace_ms: int) -> None:
        self.lease_ms = lease_ms
        self.grace_ms = grace_ms
        self._held: OrderedDict[RequestId, Lease] = OrderedDict()
        self._dropped: OrderedDict[RequestId, Lease] = OrderedDict()
        self._by_connection: dict[str, set[RequestId]] = {}
        self._ended: dict[RequestId, Lease] = {}  # since the turn began

    def begin_turn(self) -> None:
        """What ended before is committed."""
        self._ended.clear()

    def take_over(self, before: Leases, connections: Collection[str]) -> None:
        """After a failed commit: calls that are with one of these connections stay there.

        Args:
            before: What was known when the commit failed; the turn that failed never was.
        """
        known = sorted(
            (*before._held.items(), *before._ended.items()), key=lambda item: item[1].until_ms
        )
        for request_id, lease in known:
            connection_id = lease.connection_id
            if connection_id in connections and request_id in self._dropped:
                assert connection_id is not None, "a connection has an id"
                mine = self._dropped.pop(request_id)
                mine.connection_id = connection_id
                mine.until_ms, mine.jumped_ms = lease.until_ms, lease.jumped_ms
                mine.began_ms, mine.out_ms = lease.began_ms, lease.out_ms
                mine.acked = lease.acked
                mine.lease_id, mine.used_id = lease.lease_id, lease.used_id
                self._held[request_id] = mine
                self._by_connection.setdefault(connection_id, set()).add(request_id)

    def get(self, request_id: RequestId) -> Lease | None:
        return self._held.get(request_id) or self._dropped.get(request_id)

    def __len__(self) -> int:
        return len(self._held) + len(self._dropped)

    def grant(self, run: Run, job: Job, connection_id: str, now_ms: int) -> Lease:
        """A call goes out to a connection."""
        assert job.request_id is not None, "a leased job has its fence"
        request_id = job.request_id
        until_ms = now_ms + self.lease_ms
        lease = Lease(run, job, connection_id, until_ms)
        lease.lease_id = make_lease_id(request_id, until_ms)
        self._held[request_id] = lease
        of_connection = self._by_connection.get(connection_id)
        if of_connection is None:
            self._by_connection[connection_id] = {request_id}
        else:
            of_connection.add(request_id)
        return lease

    def recover(self, run: Run, job: Job, now_ms: int) -> None:
        """A call was out when the server stopped."""
        assert job.request_id is not None, "a leased job has its fence"
        lost = ends_with_server(job)
        until_ms = now_ms if lost else now_ms + self.grace_ms
        lease = self._dropped[job.request_id] = Lease(run, job, None, until_ms)
        if job.step_id == UNTARGETED_STEP and len(run.steps) > job.current:
            # It has reported steps, none of which ended after now.
            lease.began_ms = max(now_ms, job.sent_ms)
        if lost:
            self._dropped.move_to_end(job.request_id, last=False)

    def extend(self, request_id: RequestId, connection_id: str, now_ms: int) -> Lease | None:
        """Let a call go on for another lease on this connection, which may be a new one."""
        lease = self._take(request_id)
        if lease is None:
            return None
        lease.connection_id = connection_id
        lease.until_ms = now_ms + self.lease_ms
        lease.acked = True
        self._held[request_id] = lease
        self._by_connection.setdefault(connection_id, set()).add(request_id)
        return lease

    def begin(self, request_id: RequestId, now_ms: int) -> None:
        """A call that was granted before leaves only now, so its time begins now."""
        lease = self._held.get(request_id)
        if lease is not None:
            lease.until_ms = now_ms + self.lease_ms
            self._held.move_to_end(request_id)

    def renew(self, request_id: RequestId, now_ms: int) -> None:
        """The worker of a call was heard of in another way than over its connection."""
        lease = self.get(request_id)
        if lease is None:
            return
        if lease.connection_id is not None:
            self.extend(request_id, lease.connection_id, now_ms)
        else:
            lease.until_ms = max(lease.until_ms, now_ms + self.grace_ms)
            self._dropped.move_to_end(request_id)

    def end(self, request_id: RequestId) -> None:
        """The call is over."""
        lease = self._take(request_id)
        if lease is not None:
            self._ended[request_id] = lease

    def drop(self, request_id: RequestId, now_ms: int) -> None:
        """The worker of a call went away; keep the call for the grace."""
        lease = self._take(request_id)
        assert lease is not None, "only a lease that is held is dropped"
        lease.connection_id = None
        lease.until_ms = now_ms + self.grace_ms
        self._dropped[request_id] = lease

    def of_connection(self, connection_id: str) -> list[RequestId]:
        """Calls that this connection holds, in order."""
        return sorted(self._by_connection.get(connection_id, ()))

    def count_of(self, connection_id: str) -> int:
        """How many calls this connection holds."""
        return len(self._by_connection.get(connection_id, ()))

    def pop_ended(self, now_ms: int) -> Lease | None:
        """Take a lease whose time is over, None if there is none."""
        for leases in (self._held, self._dropped):
            if leases:
                request_id, lease = next(iter(leases.items()))
                if lease.until_ms <= now_ms:
                    self.end(request_id)
                    return lease
        return None

    def shift(self, ms: int) -> None:
        """The clock was set forward by so much: nobody had that time to extend a lease."""
        for leases in (self._held, self._dropped):
            for lease in leases.values():
                lease.until_ms += ms
                lease.jumped_ms += ms

    def next_ms(self) -> int | None:
        """When the first lease ends."""
        first_ms: int | None = None
        for leases in (self._held, self._dropped):
            if leases:
                until_ms = next(iter(leases.values())).until_ms
                if first_ms is None or until_ms < first_ms:
                    first_ms = until_ms
        return first_ms

    def _take(self, request_id: RequestId) -> Lease | None:
        lease = self._held.pop(request_id, None)
        if lease is None:
            return self._dropped.pop(request_id, None)
        assert lease.connection_id is not None, "a held lease has a connection"
        of_connection = self._by_connection[lease.connection_id]
        of_connection.discard(request_id)
        if not of_connection:
            del self._by_connection[lease.connection_id]
        return lease


def make_lease_id(request_id: RequestId, until_ms: int) -> bytes:
    """A lease's id: a ULID whose time is the lease's end."""
    return until_ms.to_bytes(6, "big") + request_id[6:]
