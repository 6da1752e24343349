"""A Notifier and a Sender over a state database in a file, a clock that stands still, and chat that is a list."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pgvillage.clients.chat_answers import Delivered, Fault, NotDelivered
from pgvillage.clients.state.state import State
from pgvillage.core.change import Change, Origin
from pgvillage.core.notice import Notice
from pgvillage.core.plan import Gate, Status, TargetId, TargetPlan
from pgvillage.core.run import Outcome, TargetRun
from pgvillage.core.status import Suspension, TargetStatus
from pgvillage.daemon.chat import Gather, Notifier
from pgvillage.daemon.chat_sender import Sender
from pgvillage.daemon.look import Look
from pgvillage.estate.manifest.estate import Notification
from pgvillage.resources.postgres.role import RoleState
from pgvillage.settings import Channel, SecretSource
from tests.unit.report_plans import plan, role, target

LABELS = {"env": "prod", "team": "shop"}
URL = "https://pgvillage.example"


def channel(service: str = "webhook", **more: object) -> Channel:
    return Channel(service=service, url=SecretSource(env="CHAT_URL"), **more)  # type: ignore[arg-type]


def limit(value: int = 5, name: str = "etl", cluster: str = "orders") -> Change:
    before = RoleState(True, connection_limit=value)
    return role(name, before, RoleState(True), origin=Origin.DRIFT, cluster=cluster)


def mighty(cluster: str = "orders") -> Change:
    return role("eve", RoleState(True, superuser=True), RoleState(True), origin=Origin.DRIFT, cluster=cluster)


class Bench:
    def __init__(self, folder: Path, *names: str, channels: Mapping[str, Channel] | None = None) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.sent: list[tuple[str, Notice, str]] = []
        self.down: dict[str, NotDelivered] = {}
        self.results: list[tuple[str, str]] = []
        self.channels = channels or {name: channel() for name in names or ("dba",)}
        self.everything = list(names or ("dba",))
        self.state = State.in_file(folder / "state.db")
        self.routes: tuple[Notification, ...] = ()
        self.suspension: Suspension | None = None
        self.start()

    def start(self) -> None:
        """As after a restart: nothing is known but what the database holds."""
        outbox = self.state.outbox
        self.notifier = Notifier(
            outbox, self.channels, self.everything, url=URL, gather=Gather(), now=lambda: self.now
        )  # fmt: skip
        self.sender = Sender(outbox, self.channels, self._deliver, counted=self._count, now=lambda: self.now)

    def _count(self, name: str, result: str) -> None:
        self.results.append((name, result))

    async def _deliver(self, name: str, _: Channel, notice: Notice, identity: str, reference: str) -> Delivered:
        if name in self.down:
            raise self.down[name]
        self.sent.append((name, notice, reference))
        return Delivered(f"C0:{identity}", "ok")

    def fail(self, name: str = "dba", fault: Fault = Fault.LATER, after: float | None = None) -> None:
        self.down[name] = NotDelivered(name, fault, "down", after)

    async def send(self) -> None:
        """All that is due now."""
        for name in self.channels:
            while await self.sender.send_next(name):
                if name in self.down:
                    break

    async def later(self, seconds: float = 60) -> None:
        self.now += timedelta(seconds=seconds)
        await self.send()

    async def look(self, *changes: Change, cluster: str = "orders", after: float = 300, **more: object) -> None:
        """A look, and all the sending that is due until the next one."""
        applied = more.pop("applied", None)
        labels = more.pop("labels", LABELS)
        found = target(*changes, cluster=cluster, **more)
        await self.notifier.looked(self.as_look(found, labels, applied))  # type: ignore[arg-type]
        await self.later(after)

    async def lost(self, cluster: str = "orders", after: float = 300) -> None:
        found = TargetPlan(TargetId(cluster), Status.UNREACHABLE, error="no route to host")
        await self.notifier.looked(self.as_look(found, LABELS, None))
        await self.later(after)

    def as_look(self, found: TargetPlan, labels: Mapping[str, str], applied: TargetRun | None) -> Look:
        name = str(found.target)
        status = TargetStatus(name, labels, suspension=self.suspension)
        return Look(name, plan(found), status, labels, self.routes, applied)

    def told(self, name: str = "dba") -> list[str]:
        return [f"{notice.kind} {notice.told}" for channel_name, notice, _ in self.sent if channel_name == name]

    def waiting(self, name: str = "dba") -> int:
        return self.state.outbox.waiting().get(name, (0, None))[0]


def ran(outcome: Outcome, *done: Change, cluster: str = "orders", error: str = "") -> TargetRun:
    return TargetRun(TargetId(cluster), outcome, target(*done, cluster=cluster), done, error=error)


GATE = Gate("limit-drop", "4 of 10 roles would be dropped; the limit is 3 and 10%")
