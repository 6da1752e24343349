"""Decides which node of a group is the primary, from answers one at a time. Pure: no clock, no I/O.

A claim to be the primary counts by the time at which it was asked for. One that was asked for before a newer one was
heard may be out of date, so it is asked again; only one that was asked for afterwards shows that there are two.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from pgvillage.core.node_answer import NodeAnswer
from pgvillage.routing.memory import Doubt, Memory


@dataclass(frozen=True, slots=True)
class Rules:
    """`down` failures make a node down, `up` answers make it up again; an answer older than `age` seconds is none."""

    down: int = 2
    up: int = 2
    age: float = 10.0


@dataclass(slots=True)
class NodeState:
    """`asked` and `heard` are the times at which the last question was sent and the last word came back.

    `answer` is the last one there was; `answered` when it was asked for. `running` says up, after hysteresis.
    """

    name: str
    answer: NodeAnswer | None = None
    asked: float = float("-inf")
    answered: float = float("-inf")
    heard: float = float("-inf")
    error: str = "not asked yet"
    running: bool = False
    failures: int = 0
    successes: int = 0
    known: bool = False  # it was asked, whatever came of it

    @property
    def claims(self) -> bool:
        """Its last word is an answer, and that it is a primary."""
        return not self.error and self.answer is not None and not self.answer.recovering


@dataclass(eq=False)
class Group:
    """One cluster: its nodes as they were last seen, and what is remembered of it."""

    name: str
    rules: Rules
    memory: Memory = field(default_factory=Memory)
    nodes: dict[str, NodeState] = field(default_factory=dict)
    accepted: float = float("-inf")  # when the leader's claim to its timeline was first heard
    challenger: str = ""  # claims to be newer than the leader, which is to be asked once more
    challenged: float = float("-inf")  # when that was heard

    def use(self, names: tuple[str, ...]) -> None:
        """The nodes that there are now; what is known of those that stay is kept."""
        self.nodes = {name: self.nodes.get(name, NodeState(name)) for name in names}
        if self.challenger not in self.nodes:
            self.challenger = ""

    def forget(self) -> None:
        """What was remembered goes, by an operator's word; every node must be asked again before one is named."""
        self.memory, self.accepted, self.challenger = Memory(), float("-inf"), ""
        self.nodes = {name: NodeState(name) for name in self.nodes}

    def failed(self, name: str, asked: float, heard: float, error: str) -> None:
        node = self.nodes.get(name)
        if node is None:
            return
        node.asked, node.heard, node.error, node.known = asked, heard, error or "no answer", True
        node.failures, node.successes = node.failures + 1, 0
        if node.failures >= self.rules.down:
            node.running = False
        self._settle("")

    def answered(self, name: str, answer: NodeAnswer, asked: float, heard: float, now: str) -> None:
        """`now` is the wall clock's time in ISO 8601, for what is remembered."""
        node = self.nodes.get(name)
        if node is None:
            return
        first = not node.known
        node.answer, node.asked, node.answered, node.heard = answer, asked, asked, heard
        node.error, node.known, node.failures = "", True, 0
        node.successes += 1
        if first or node.successes >= self.rules.up:
            node.running = True
        if answer.recovering:
            self._stands_by(node, answer)
        else:
            self._claims(node, answer, now)
        self._settle(now)

    def _stands_by(self, node: NodeState, answer: NodeAnswer) -> None:
        doubts = self.memory.doubts
        fits = answer.system == self.memory.system and answer.timeline >= self.memory.timeline
        if node.name in doubts and fits:
            left = {name: doubt for name, doubt in doubts.items() if name != node.name}
            self.memory = replace(self.memory, doubts=left)

    def _claims(self, node: NodeState, answer: NodeAnswer, now: str) -> None:
        memory = self.memory
        if not memory.system:
            self._accept(node, answer)
        elif answer.system != memory.system:
            self._doubt(node, answer, f"another system identifier than {memory.system}", now)
        elif answer.timeline < memory.timeline:
            if node.asked > self.accepted:
                self._doubt(node, answer, f"timeline {memory.timeline} of {memory.leader} is newer", now)
        elif node.name == memory.leader:
            if answer.timeline > memory.timeline:
                self._accept(node, answer)
        else:
            self._against_leader(node, answer, now)

    def _against_leader(self, node: NodeState, answer: NodeAnswer, now: str) -> None:
        """Another node than the leader claims a timeline that is as new or newer."""
        memory = self.memory
        leader = self.nodes.get(memory.leader)
        demoted = leader is not None and not leader.error and leader.answer is not None and leader.answer.recovering
        if answer.timeline == memory.timeline:
            if leader is None or demoted:
                self._accept(node, answer, cleared=node.name)
            elif node.asked > self.accepted:
                self._doubt(node, answer, f"{memory.leader} is a primary on the same timeline", now)
        elif leader is not None and leader.claims:
            self._challenge(node, answer)
        else:
            self._accept(node, answer)

    def _challenge(self, node: NodeState, answer: NodeAnswer) -> None:
        best = self.nodes.get(self.challenger)
        if best is None or (best is not node and (best.answer is None or answer.timeline > best.answer.timeline)):
            self.challenger, self.challenged = node.name, node.heard

    def _settle(self, now: str) -> None:
        """Once the leader was asked after the challenger was heard: either it is no primary any more, or in doubt."""
        challenger, leader = self.nodes.get(self.challenger), self.nodes.get(self.memory.leader)
        if challenger is None or challenger.answer is None:
            return
        if not challenger.claims or leader is None or leader is challenger:
            self.challenger = ""
        elif not leader.claims or leader.asked > self.challenged:
            self._accept(challenger, challenger.answer)
            if leader.claims and leader.answer is not None:
                self._doubt(
                    leader, leader.answer, f"timeline {self.memory.timeline} of {challenger.name} is newer", now
                )

    def _accept(self, node: NodeState, answer: NodeAnswer, cleared: str = "") -> None:
        doubts = {name: doubt for name, doubt in self.memory.doubts.items() if name != cleared}
        self.memory = Memory(answer.system, answer.timeline, node.name, doubts)
        self.accepted, self.challenger = node.heard, ""

    def _doubt(self, node: NodeState, answer: NodeAnswer, why: str, now: str) -> None:
        known = self.memory.doubts.get(node.name)
        if known is not None and (known.timeline, known.system) == (answer.timeline, answer.system):
            return
        doubt = Doubt(node.name, answer.timeline, answer.system, why, known.since if known else now)
        self.memory = replace(self.memory, doubts={**self.memory.doubts, node.name: doubt})

    def urgent(self) -> str:
        """A node that should be asked at once, "" where none is: the leader while somebody else claims its place."""
        return self.memory.leader if self.challenger else ""

    def settled(self) -> bool:
        """Every node was asked at least once, and nobody's claim waits for another's word."""
        return bool(self.nodes) and not self.challenger and all(node.known for node in self.nodes.values())

    def usable(self, name: str, now: float) -> bool:
        """It is up, and its answer is no older than the rules say: a monitor that stood still knows nothing."""
        node = self.nodes.get(name)
        return node is not None and node.running and now - node.answered <= self.rules.age

    def primary(self, now: float) -> str:
        """The one node that is the primary, "" where there is none or doubt."""
        memory = self.memory
        leader = self.nodes.get(memory.leader)
        if memory.doubts or not self.settled() or leader is None or leader.answer is None:
            return ""
        true = not leader.answer.recovering and leader.answer.timeline == memory.timeline
        same = leader.answer.system == memory.system
        others = any(node.claims for node in self.nodes.values() if node is not leader)
        return leader.name if true and same and not others and self.usable(leader.name, now) else ""

    def standbys(self, now: float) -> tuple[str, ...]:
        """Those that are up and of this cluster, however far behind."""
        return tuple(name for name, node in self.nodes.items() if self._follows(node) and self.usable(name, now))

    def _follows(self, node: NodeState) -> bool:
        """While there are two sides, only those that certainly follow the newer one."""
        memory, answer = self.memory, node.answer
        if answer is None or not answer.recovering or node.name in memory.doubts:
            return False
        same = not memory.system or answer.system == memory.system
        return same and (not memory.doubts or answer.timeline >= memory.timeline)
