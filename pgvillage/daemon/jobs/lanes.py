"""Which waiting run begins next: so many in all and on one cluster, clusters in turn, one of a kind at a time."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection
from dataclasses import dataclass, field

from pgvillage.core.job_run import RunRecord
from pgvillage.core.run_key import RunKey

Kin = tuple[str, str, str, str]


def kin(key: RunKey) -> Kin:
    """Runs of the same kin never run at the same time."""
    return key.job, key.cluster, key.database, key.node


@dataclass
class _Lane:
    waiting: deque[RunRecord] = field(default_factory=deque)
    running: int = 0


class Lanes:
    """Clusters are served in turn, so that one with thousands of runs delays no other."""

    def __init__(self, parallel: int, per_cluster: int) -> None:
        self.parallel, self.per_cluster = parallel, per_cluster
        self._lanes: dict[str, _Lane] = {}
        self._turn: deque[str] = deque()
        self._known: set[str] = set()
        self._busy: set[Kin] = set()
        self._kinds: Counter[Kin] = Counter()  # of all that wait or run
        self.running = 0

    @property
    def waiting(self) -> int:
        return sum(len(lane.waiting) for lane in self._lanes.values())

    @property
    def kinds(self) -> Collection[Kin]:
        """Of all runs that wait or run now."""
        return self._kinds.keys()

    def of_kinds(self, kinds: Collection[Kin]) -> list[RunRecord]:
        """Those that wait."""
        return [each for lane in self._lanes.values() for each in lane.waiting if kin(each.key) in kinds]

    def offer(self, record: RunRecord) -> bool:
        """False for one that waits or runs already."""
        if record.key.id in self._known:
            return False
        self._known.add(record.key.id)
        self._kinds[kin(record.key)] += 1
        cluster = record.key.cluster
        if cluster not in self._lanes:
            self._lanes[cluster] = _Lane()
            self._turn.append(cluster)
        self._lanes[cluster].waiting.append(record)
        return True

    def take(self, still: frozenset[str] = frozenset()) -> RunRecord | None:
        """The next one that may begin now, which then runs until `done`; none on clusters that stand `still`."""
        if self.running >= self.parallel:
            return None
        for _ in range(len(self._turn)):
            cluster = self._turn[0]
            self._turn.rotate(-1)
            lane = self._lanes[cluster]
            if cluster in still or lane.running >= self.per_cluster:
                continue
            if (found := self._first(lane)) is not None:
                lane.running += 1
                self.running += 1
                self._busy.add(kin(found.key))
                return found
        return None

    def _first(self, lane: _Lane) -> RunRecord | None:
        for record in lane.waiting:
            if kin(record.key) not in self._busy:
                lane.waiting.remove(record)
                return record
        return None

    def done(self, record: RunRecord) -> None:
        self._lanes[record.key.cluster].running -= 1
        self.running -= 1
        self._busy.discard(kin(record.key))
        self._leave(record)
        self._tidy(record.key.cluster)

    def forget(self, cluster: str) -> None:
        """What waits there is somebody else's now."""
        if (lane := self._lanes.get(cluster)) is not None:
            for record in lane.waiting:
                self._leave(record)
            lane.waiting.clear()
            self._tidy(cluster)

    def _leave(self, record: RunRecord) -> None:
        self._known.discard(record.key.id)
        self._kinds[kin(record.key)] -= 1
        if not self._kinds[kin(record.key)]:
            del self._kinds[kin(record.key)]

    def _tidy(self, cluster: str) -> None:
        lane = self._lanes[cluster]
        if not lane.waiting and not lane.running:
            del self._lanes[cluster]
            self._turn.remove(cluster)
