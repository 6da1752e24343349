"""The planner: one target's desired and live states become one plan. The same for every kind."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from pgvillage.core.address import Address
from pgvillage.core.change import Action, Change, Leaver, Origin, Resource
from pgvillage.core.errors import PgVillageError
from pgvillage.core.ledger import LedgerEntry, LedgerUpdate
from pgvillage.core.plan import Finding, Gate, Snapshot, Status, TargetId, TargetPlan
from pgvillage.core.secret import SecretRef
from pgvillage.core.state import State
from pgvillage.core.step import Step
from pgvillage.engine.diff import diff
from pgvillage.engine.kind import Context, Desired, Kind
from pgvillage.engine.order import dependencies, waves
from pgvillage.engine.policy import Rules, Totals, gates, hold_back, hold_dependents, is_approved, open_gates
from pgvillage.engine.standing_still import hold_for_window, next_window, suspended, window_gate

Kinds = Mapping[str, Kind]


def resolve(kinds: Kinds, wishes: Iterable[Resource], context: Context) -> tuple[Desired, list[Finding]]:
    """Let each kind fit its wishes to what exists."""
    by_kind: dict[str, Desired] = {name: {} for name in kinds}
    for wish in wishes:
        by_kind[wish.address.kind][wish.address] = wish
    desired: Desired = {}
    findings: list[Finding] = []
    for name, kind in kinds.items():
        resolved, found = kind.resolve(by_kind[name], context)
        desired |= resolved
        findings += found
    return desired, findings


def plan_target(
    target: TargetId, kinds: Kinds, desired: Desired, context: Context, rules: Rules, approvals: Collection[str] = ()
) -> TargetPlan:
    """The plan of one target: changes with their risk and order, steps, gates."""
    snapshot = context.snapshot
    changes = [_judge(kinds, change, context) for change in diff(desired, snapshot)]
    depends = dependencies(
        changes,
        lambda address, state: kinds[address.kind].needs(address, state),
        lambda change, others: kinds[change.address.kind].waits_for(change, others),
    )
    subjects = {c.address: kinds[c.address.kind].subject(c.address) for c in changes}
    changes = _hold(kinds, hold_back(changes, rules, snapshot, subjects), depends, context)
    plan = TargetPlan(
        target=target,
        status=Status.PLANNED,
        observed_at=snapshot.read_at,
        changes=tuple(changes),
        findings=snapshot.findings,
        unread=snapshot.unread,
        depends=depends,
    )
    found = (*suspended(snapshot.ledger.suspension, context.now, target), *mistakes(snapshot))
    if when := next_window(changes, context):
        found = (*found, window_gate(changes, when))
        if not is_approved(plan.digest, approvals):
            changes = _hold(kinds, hold_for_window(changes, when), depends, context)
            plan = _with_waiting(plan, changes)
    applied = [change for change in changes if not change.held]
    plan = replace(plan, steps=tuple(compile_steps(kinds, applied, depends, context)))
    found = (*found, *gates(changes, rules, _totals(kinds, desired, snapshot, applied)))
    return plan.with_gates(open_gates(found, plan.digest, approvals), bookkeeping=False) if found else plan


def _with_waiting(plan: TargetPlan, changes: Sequence[Change]) -> TargetPlan:
    """The plan with those changes held that wait, and with what needs them."""
    waiting = {new.address for old, new in zip(plan.changes, changes, strict=True) if new.held and not old.held}
    return replace(plan, changes=tuple(changes), waiting=frozenset(waiting))


def _hold(
    kinds: Kinds, changes: list[Change], depends: Mapping[Address, Iterable[Address]], context: Context
) -> list[Change]:
    """Hold what something in the way of it hinders, and what needs that, until nothing more is held."""
    while True:
        changes = hold_dependents(changes, depends)
        others = {change.address: change for change in changes if not change.held}
        hindered = {
            address: why
            for address, change in others.items()
            if change.action is not Action.CREATE and (why := kinds[address.kind].hindered(change, others, context))
        }
        if not hindered:
            return changes
        changes = [c._replace(held=hindered[c.address]) if c.address in hindered else c for c in changes]


def mistakes(snapshot: Snapshot) -> Iterable[Gate]:
    """What of the manifests is wrong for this target: no approval makes it right, and the rest waits for it."""
    texts = dict.fromkeys(finding.message for finding in snapshot.findings if finding.blocks)
    return [Gate("manifest", text, approvable=False) for text in texts]


def _judge(kinds: Kinds, change: Change, context: Context) -> Change:
    judgement = kinds[change.address.kind].judge(change, context)
    return change._replace(
        risk=judgement.risk,
        impact=judgement.impact,
        revokes=judgement.revokes,
        drops=judgement.drops,
        refused=judgement.refused,
    )


def _totals(kinds: Kinds, desired: Desired, snapshot: Snapshot, applied: Sequence[Change]) -> Totals:
    if not any(change.drops or change.revokes for change in applied):
        return Totals(0, 0)
    ours: list[tuple[Address, State]] = [
        (address, state)
        for address, state in snapshot.live.items()
        if address in desired or address in snapshot.ledger.entries
    ]
    objects = sum(kinds[address.kind].holds_objects for address, _ in ours)
    return Totals(objects, sum(kinds[address.kind].weight(address, state) for address, state in ours))


def compile_steps(
    kinds: Kinds, changes: Sequence[Change], depends: Mapping[Address, Iterable[Address]], context: Context
) -> list[Step]:
    """Steps in an order that respects the needs and changes transactions as seldom as it can."""
    found: list[Step] = []
    for wave in waves(changes, depends):
        by_kind: dict[str, list[Change]] = {}
        for change in wave:
            by_kind.setdefault(change.address.kind, []).append(change)
        for name in kinds:
            if name in by_kind:
                found += kinds[name].compile(by_kind[name], context)
    return _gather(found, depends)


def _gather(steps: Sequence[Step], depends: Mapping[Address, Iterable[Address]]) -> list[Step]:
    """Pull together steps that can share a transaction: take every ready step of one database before the next.

    A step waits for all earlier steps of the addresses its own addresses depend on, and for earlier steps of its own.
    """
    remaining: dict[Address, int] = {}
    for step in steps:
        for address in step.addresses:
            remaining[address] = remaining.get(address, 0) + 1
    needed = [{n for a in step.addresses for n in depends.get(a, ()) if n in remaining} for step in steps]
    ordered: list[Step] = []
    pending = list(range(len(steps)))
    current: tuple[str | None, bool] | None = None
    while pending:
        blocked: set[Address] = set()
        left: list[int] = []
        took = False
        for index in pending:
            step = steps[index]
            place = (step.database, step.transactional)
            ready = not any(remaining[n] for n in needed[index]) and not blocked.intersection(step.addresses)
            if ready and current in (None, place):
                current = place
                ordered.append(step)
                took = True
                for address in step.addresses:
                    remaining[address] -= 1
            else:
                left.append(index)
                blocked.update(step.addresses)
        pending = left
        if not took and current is None:
            raise PgVillageError(f"these steps wait for each other: {steps[pending[0]]}")
        if not took:
            current = None
    return ordered


def ledger_update(
    desired: Desired,
    context: Context,
    changes: Iterable[Change],
    revision: str,
    done: Collection[Address] | None = None,
) -> LedgerUpdate:
    """What the ledger has to learn: every desired object that is as desired, or will be once `changes` are done.

    `done` limits it to these addresses (those of one transaction); None also records what needed no change.
    """
    entries = context.snapshot.ledger.entries
    pending = {change.address: change for change in changes}
    rows: dict[Address, LedgerEntry | None] = {}
    secrets: dict[Address, SecretRef] = {}
    for address in desired if done is None else desired.keys() & done:
        resource = desired[address]
        change = pending.get(address)
        old = entries.get(address)
        if change is None and old is not None and _is_noted(old, resource):
            continue
        if change is not None and change.held:
            if done is None and change.origin is Origin.DRIFT and old is None:
                rows[address] = LedgerEntry(LedgerEntry.HELD + resource.wish_fingerprint, made=False, revision=revision)
            continue
        if done is None and change is not None:
            continue
        row = _row(resource, change, old, revision)
        if row is None:
            if old is not None:
                rows[address] = None
            continue
        if resource.secret is not None and not resource.remembered:
            secrets[address] = resource.secret
        if address in secrets or old is None or replace(old, revision=row.revision) != row:
            rows[address] = row
    return LedgerUpdate(rows, revision, secrets)


_STAYS = Leaver(None, None, None)


def _is_noted(entry: LedgerEntry, resource: Resource) -> bool:
    """Does the ledger say so already? Nearly always, so no row is made to find out."""
    leaver = resource.leaver or _STAYS
    return (
        entry.disabled_since == leaver.disabled_since
        and entry.drop_after_days == leaver.drop_after_days
        and entry.heir == leaver.heir
        and entry.directory == resource.source.directory
        and (resource.state is not None or resource.wish is not None)
        and (resource.secret is None or resource.remembered)
        and entry.wish == resource.wish_fingerprint
    )


def _row(resource: Resource, change: Change | None, old: LedgerEntry | None, revision: str) -> LedgerEntry | None:
    if resource.state is None and resource.wish is None:
        return None
    made = old.made if old else bool(change and change.action is Action.CREATE)
    leaver = resource.leaver
    return LedgerEntry(
        wish=resource.wish_fingerprint,
        made=made,
        revision=revision,
        directory=resource.source.directory,
        disabled_since=leaver.disabled_since if leaver else None,
        drop_after_days=leaver.drop_after_days if leaver else None,
        heir=leaver.heir if leaver else None,
        secret=old.secret if old and resource.secret else "",
    )
