"""Kind job: which jobs run on a cluster. Only the ledger knows what was taken up; the daemon runs no others."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from pgvillage.core.address import Address
from pgvillage.core.change import Action, Change, Resource, Risk, Source
from pgvillage.core.ledger import Ledger, LedgerEntry
from pgvillage.core.plan import Finding
from pgvillage.core.state import State, fingerprint
from pgvillage.core.step import NoteStep, Step
from pgvillage.engine.kind import Context, Desired, Judgement, Kind, Live, Parsed
from pgvillage.estate.job_words import next_words, schedule_words
from pgvillage.estate.manifest.job import JobSpec
from pgvillage.estate.manifest.job_command import Command
from pgvillage.estate.view import ClusterView, source_of

ORDER = 90
_TEXTS = ("schedule", "target", "missed", "overlap", "delivery", "other_settings")


@dataclass(frozen=True, slots=True)
class JobState(State):
    """`steps` and `checks` are `NAME DIGEST` in their order, the digest over all that is written of one and its SQL.

    `other_settings` is the digest of what has no field of its own (limits, parameters, alerts, retries).
    """

    REMEMBERED = True

    schedule: str = ""
    target: str = "primary"
    databases: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    missed: str = "once"
    overlap: str = "forbid"
    delivery: str = "at-most-once"
    steps: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()
    other_settings: str = ""


class JobKind(Kind):
    name = "job"
    holds_objects = False

    def expand(self, view: ClusterView) -> Iterable[Resource]:
        for located in view.jobs:
            spec, name = located.document.spec, located.document.metadata.name
            wish = job_state(spec, view) if spec.ensure == "present" else None
            yield Resource(Address(view.name, self.name, (name,)), wish, source_of(located, "metadata", "name"))

    def parse(self, live: Live) -> Parsed:
        return Parsed({})

    def remembered(self, target: str, ledger: Ledger) -> Mapping[Address, State]:
        noted = {a: e for a, e in ledger.entries.items() if a.kind == self.name}
        return {a: state for a, entry in noted.items() if (state := _state_of(entry)) is not None}

    def resolve(self, desired: Desired, context: Context) -> tuple[Desired, list[Finding]]:
        specs = {j.document.metadata.name: j.document.spec for j in context.view.jobs}
        found = {
            address: wish._replace(reason=next_words(specs[address.name[0]], context.now)) if wish.state else wish
            for address, wish in desired.items()
        }
        for address in context.snapshot.live:
            if address.kind == self.name and address not in found:
                why = "no manifest has it on this cluster any more: it runs here no longer"
                found[address] = Resource(address, None, Source(), why)
        return found, []

    def needs(self, address: Address, state: State) -> Iterable[Address]:
        if isinstance(state, JobState):
            yield from (Address(address.target, "role", (role,)) for role in state.roles)
            yield from (Address(address.target, "database", (name,)) for name in state.databases)

    def judge(self, change: Change, context: Context) -> Judgement:
        capabilities = context.capabilities
        refused = ""
        if capabilities and not (capabilities.keeps_ledger or capabilities.only_looks):
            refused = "the ledger has to hold which jobs run here, and the account may not make one"
        return Judgement(Risk.ADDITIVE if change.action is Action.CREATE else Risk.CHANGE, refused=refused)

    def compile(self, changes: Sequence[Change], context: Context) -> Iterable[Step]:
        words = {Action.CREATE: "take up", Action.DELETE: "end"}
        for change in changes:
            text = f"-- {words.get(change.action, 'change')} job {change.address.name[0]}: a row of the ledger"
            yield NoteStep((change.address,), text)


KIND = JobKind()


def job_state(spec: JobSpec, view: ClusterView) -> JobState:
    """What the ledger keeps of a Job on this cluster."""
    told = {"schedule", "schedules", "enabled", "target", "databases", "role", "missed", "overlap", "delivery"}
    rest = spec.model_dump(mode="json", exclude=told | {"clusters", "ensure", "steps", "checks"})
    return JobState(
        schedule=schedule_words(spec),
        target=spec.target,
        databases=databases_of(spec, view),
        roles=tuple(sorted({c.role or spec.role or "" for c in (*spec.steps, *spec.checks) if c.is_sql} - {""})),
        missed=spec.missed,
        overlap=spec.overlap,
        delivery=spec.delivery,
        steps=tuple(_digest(each.name, each, view) for each in spec.steps),
        checks=tuple(_digest(each.name, each, view) for each in spec.checks),
        other_settings=fingerprint(rest),
    )


def databases_of(spec: JobSpec, view: ClusterView) -> tuple[str, ...]:
    """The databases that its SQL runs in on this cluster, each once, sorted by name."""
    known = {each.name for each in view.databases if each.spec.ensure == "present"}
    found = known.intersection(each for each in spec.databases if isinstance(each, str))
    for each in spec.databases:
        if not isinstance(each, str):
            pattern = each.pattern.replace("[", "[[]")
            found |= {name for name in known if fnmatchcase(name, pattern)}
    return tuple(sorted(found))


def _digest(name: str, command: Command, view: ClusterView) -> str:
    text = view.scripts.get(command.file, "") if command.file is not None else ""
    return f"{name} {fingerprint((command.model_dump(mode='json'), text))}"


def _state_of(entry: LedgerEntry) -> JobState | None:
    """None for a row that says nothing we know: the job then counts as new, and applying it writes the row anew."""
    if not entry.applied:
        return None
    try:
        fields = json.loads(entry.wish)
    except ValueError:
        return None
    if not isinstance(fields, dict) or not all(isinstance(fields.get(name), str) for name in _TEXTS):
        return None
    lists = {name: _texts(fields.get(name)) for name in ("databases", "roles", "steps", "checks")}
    return JobState(**{**{name: fields[name] for name in _TEXTS}, **lists})


def _texts(value: object) -> tuple[str, ...]:
    return tuple(each for each in value if isinstance(each, str)) if isinstance(value, list) else ()
