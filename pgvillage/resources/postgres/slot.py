"""Kind slot: physical and logical replication slots. What holds WAL back is said, and never dropped while in use."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from pgvillage.core.address import Address
from pgvillage.core.change import Action, Change, Resource, Risk
from pgvillage.core.plan import Finding
from pgvillage.core.state import UNMANAGED, State, Unmanaged
from pgvillage.core.step import Step
from pgvillage.engine.kind import Capabilities, Context, Desired, Judgement, Kind, Live, Parsed, Query
from pgvillage.estate.manifest.storage import ReplicationSlotSpec
from pgvillage.estate.view import ClusterView, source_of
from pgvillage.resources.postgres.as_it_is import filled_in
from pgvillage.resources.postgres.role import RoleState
from pgvillage.resources.postgres.sql import literal, step

ORDER = 70

# One row at least, for the settings; a temporary slot is of one session and nobody's to declare.
_SQL = """
SELECT pg_catalog.current_setting('wal_level'), s.slot_name, s.plugin, s.database, {two_phase}, {failover},
       s.wal_status, s.restart_lsn IS NOT NULL,
       pg_catalog.pg_size_pretty(pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), s.restart_lsn)),
       s.active, s.active_pid, a.usename, a.application_name, a.client_addr::text
FROM (VALUES (1)) AS one
LEFT JOIN pg_catalog.pg_replication_slots s ON NOT s.temporary
LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = s.active_pid
"""
_TWO_PHASE, _FAILOVER = 14, 17  # the first major versions that have them
_HELD_BACK = ("extended", "unreserved", "lost")


@dataclass(frozen=True, slots=True)
class SlotState(State):
    """`used_by` says in words who uses it now; `position` whether a consumer would lose its place with it."""

    CONTEXT: ClassVar[frozenset[str]] = frozenset({"used_by", "position"})

    plugin: str | None = None
    database: str | None = None
    two_phase: bool | Unmanaged = False
    failover: bool | Unmanaged = False
    used_by: str = ""
    position: bool = False


@dataclass(frozen=True, slots=True)
class Wal:
    """What a slot keeps back: PostgreSQL's word for it and a size for people."""

    status: str | None
    size: str | None


@dataclass(frozen=True, slots=True)
class Slots:
    wal_level: str
    wal: Mapping[Address, Wal]


class Slot(Kind):
    name = "slot"

    def expand(self, view: ClusterView) -> Iterable[Resource]:
        if view.cluster.spec.ha.engine == "patroni":
            return  # it makes them on every node, and drops what its own configuration does not name
        stolon = view.cluster.spec.ha.engine == "stolon"
        for index, spec in enumerate(view.cluster.spec.replication_slots):
            if stolon and spec.name.startswith("stolon_"):
                continue  # stolon makes it itself, on every primary
            wish = _wish(spec) if spec.ensure == "present" else None
            source = source_of(view.located, "spec", "replicationSlots", index)
            yield Resource(Address(view.name, self.name, (spec.name,)), wish, source, wish=wish)

    def queries(self, capabilities: Capabilities, view: ClusterView) -> Iterable[Query]:
        if view.survey or view.cluster.spec.replication_slots:
            major = capabilities.major
            two_phase = "s.two_phase" if major >= _TWO_PHASE else "false"
            yield Query(
                "slot", _SQL.format(two_phase=two_phase, failover="s.failover" if major >= _FAILOVER else "false")
            )

    def parse(self, live: Live) -> Parsed:
        states: dict[Address, State] = {}
        wal: dict[Address, Wal] = {}
        level = ""
        for level, name, *row in live.rows.get("slot", ()):  # noqa: B007 - the same in every row
            if name is not None:
                address = Address(live.target, self.name, (name,))
                states[address], wal[address] = _live(row), Wal(row[4], row[6])
        return Parsed(states, inventory=Slots(level, wal))

    def resolve(self, desired: Desired, context: Context) -> tuple[Desired, list[Finding]]:
        resolved = {a: r.with_state(_settle(r.state, context.snapshot.live.get(a))) for a, r in desired.items()}
        return resolved, list(_kept_back(desired, context))

    def needs(self, address: Address, state: State) -> Iterable[Address]:
        if isinstance(state, SlotState) and state.database is not None:
            yield Address(address.target, "database", (state.database,))

    def judge(self, change: Change, context: Context) -> Judgement:
        before, after = change.before, change.after
        if isinstance(before, SlotState) and change.action is Action.DELETE:
            refused = f"it is in use by {before.used_by}: stop that first" if before.used_by else ""
            return Judgement(Risk.LOSS if before.position else Risk.DROP, drops=1, refused=refused)
        assert isinstance(after, SlotState)
        if change.action is Action.CREATE:
            return Judgement(Risk.ADDITIVE, refused=_uncreatable(after, context))
        field = change.fields[0]
        return Judgement(
            Risk.LOSS,
            refused=f"{field.name} can't be changed in place ({field.before} -> {field.after}), and a new slot would "
            "not have this one's position: apply `ensure: absent` first, then declare it anew; or correct the manifest",
        )

    def compile(self, changes: Sequence[Change], context: Context) -> Iterable[Step]:
        for change in changes:
            name, before, after = literal(change.address.name[0]), change.before, change.after
            if change.action is Action.DELETE:
                # A logical slot is dropped from its own database.
                database = before.database if isinstance(before, SlotState) else None
                text = f"SELECT pg_catalog.pg_drop_replication_slot({name})"
                yield step(change.address, text, database=database, transactional=False)
            elif isinstance(after, SlotState) and after.plugin is None:
                text = f"SELECT pg_catalog.pg_create_physical_replication_slot({name})"
                yield step(change.address, text, transactional=False)
            elif isinstance(after, SlotState):
                # Waits until every open transaction has ended, so ours has to be none.
                made = step(change.address, _logical(name, after), database=after.database, transactional=False)
                yield replace(made, alone=True)


KIND = Slot()


def _wish(spec: ReplicationSlotSpec) -> SlotState:
    logical = spec.plugin is not None
    unsaid = UNMANAGED if logical else False
    return SlotState(
        plugin=spec.plugin,
        database=spec.database,
        two_phase=unsaid if spec.two_phase is None else spec.two_phase,
        failover=unsaid if spec.failover is None else spec.failover,
    )


def _live(row: Sequence[Any]) -> SlotState:
    plugin, database, two_phase, failover, status, position, _, active, pid, user, application, client = row
    used_by = ""
    if active:
        who = " ".join(
            filter(None, (user, f"({application})" if application else "", f"from {client}" if client else ""))
        )
        used_by = f"pid {pid}" + (f", {who}" if who else "")
    return SlotState(plugin, database, two_phase, failover, used_by, position and status != "lost")


def _settle(wish: State | None, live: State | None) -> State | None:
    if not isinstance(wish, SlotState):
        return wish
    return filled_in(wish, live)


def _kept_back(desired: Desired, context: Context) -> Iterable[Finding]:
    """Slots that hold so much WAL back that the disk, or the slot, is in danger."""
    slots = context.snapshot.inventory.get("slot")
    for address, wal in sorted(slots.wal.items()) if isinstance(slots, Slots) else ():
        state = context.snapshot.live[address]
        assert isinstance(state, SlotState)
        if wal.status not in _HELD_BACK or (state.used_by and wal.status == "extended"):
            continue
        whose = "slot" if address in desired else "slot (that no manifest declares)"
        if wal.status == "lost":
            text = "has lost WAL it needs: its consumer must be built anew, and the slot dropped"
        elif wal.status == "unreserved":
            text = f"is {wal.size} behind and about to lose WAL it needs (max_slot_wal_keep_size)"
        else:
            text = f"is used by nobody and keeps {wal.size} of WAL, more than max_wal_size: the disk may fill up"
        yield Finding("warning", f"{whose} {address.label} {text}", address)


def _uncreatable(after: SlotState, context: Context) -> str:
    capabilities = context.capabilities
    major = capabilities.major if capabilities else 0
    for name, flag, first in (("twoPhase", after.two_phase, _TWO_PHASE), ("failover", after.failover, _FAILOVER)):
        if capabilities and flag is True and major < first:
            return f"`{name}` exists from PostgreSQL {first} on, the server is {major}: leave it out"
    slots = context.snapshot.inventory.get("slot")
    level = slots.wal_level if isinstance(slots, Slots) else ""
    if after.plugin is not None and level not in ("", "logical"):
        return f"a logical slot needs `wal_level: logical`, the server has {level}: change it and restart first"
    if capabilities and not capabilities.superuser:
        ours = context.snapshot.live.get(Address(context.view.name, "role", (capabilities.role,)))
        if isinstance(ours, RoleState) and not ours.replication:
            return "creating a slot takes a superuser or a role with REPLICATION"
    return ""


def _logical(name: str, after: SlotState) -> str:
    flags = [
        f", {word} => true" for word, flag in (("twophase", after.two_phase), ("failover", after.failover)) if flag
    ]
    plugin = literal(str(after.plugin))
    return f"SELECT pg_catalog.pg_create_logical_replication_slot({name}, {plugin}{''.join(flags)})"
