"""A lease in etcd, and how long we may count on it by our own clock."""

from __future__ import annotations

import time
from collections.abc import Callable

from pgvillage.clients.etcd.client import EtcdClient

Clock = Callable[[], float]
_MARGIN = 0.1  # of the lease: two clocks run differently fast, and a write that begins must reach the target in time


def running_clock() -> float:
    """Seconds that no setting of the time changes, and that go on while the machine sleeps, where the system can."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot is None else time.clock_gettime(boot)


class Tenure:
    """Time counts from when a request was *sent*: etcd counts from when it came, so ours ends first."""

    def __init__(self, client: EtcdClient, seconds: float, clock: Clock = running_clock) -> None:
        self._client, self._seconds, self._clock = client, seconds, clock
        self._renewed = self._until = float("-inf")
        self.lease = 0

    @property
    def holds(self) -> bool:
        """May we still count on it? Needs no answer of etcd, and so a process that slept knows at once."""
        return bool(self.lease) and self._clock() < self._until

    @property
    def age(self) -> float:
        """Seconds since the last renewal that was answered was sent; infinite without a lease."""
        return self._clock() - self._renewed if self.lease else float("inf")

    async def renew(self) -> None:
        """The lease we have, or a new one. Raises ReadError or StepFailed; LeaseGone when etcd ended ours."""
        sent = self._clock()
        if self.lease:
            seconds = await self._client.keep_alive(self.lease)
        else:
            self.lease, seconds = await self._client.grant(max(1, round(self._seconds)))
        self._renewed = sent
        self._until = sent + seconds * (1 - _MARGIN)

    def forget(self) -> None:
        self.lease = 0
        self._renewed = self._until = float("-inf")
