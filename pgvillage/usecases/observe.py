"""Observing one target: read it, and put desired beside live."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from pgvillage.core.address import Address, quote_part
from pgvillage.core.errors import PgVillageError
from pgvillage.core.live import Capabilities
from pgvillage.core.plan import Finding, Snapshot, System, TargetId, Unread
from pgvillage.core.secret import InUse, SecretsFound
from pgvillage.core.state import State
from pgvillage.engine.kind import Context, Desired
from pgvillage.engine.planner import Kinds, resolve
from pgvillage.engine.policy import expired_rules
from pgvillage.estate.view import ClusterView
from pgvillage.resources import kinds
from pgvillage.usecases.estate import not_acted_on
from pgvillage.usecases.nodes import node_findings
from pgvillage.usecases.rotation import waiting
from pgvillage.usecases.world import Reading, World

_FORGOTTEN = 10  # shown by name


@dataclass(frozen=True, slots=True)
class Observation:
    """A target as it is and as it should be, at one moment."""

    target: TargetId
    kinds: Kinds
    desired: Desired
    context: Context
    reading: Reading
    in_use: Mapping[str, InUse] = field(default_factory=dict)


async def observe(world: World, target: TargetId, view: ClusterView) -> Observation:
    """Raises PgVillageError when the target can't be read at all."""
    found = kinds(target.system)

    def queries_of(capabilities: Capabilities) -> list[object]:
        return [query for kind in found.values() for query in kind.queries(capabilities, view)]

    reading = await world.read(target, view, queries_of)  # type: ignore[arg-type]
    snapshot = _snapshot(world, found, view, reading)
    if not view.survey:
        reading = _without_rows(reading)
    secrets = await _secrets(world, view) if target.system is System.POSTGRES else SecretsFound()
    context = Context(
        view=view,
        snapshot=snapshot,
        now=world.now(),
        secrets=secrets.values,
        capabilities=reading.capabilities,
        absent=secrets.absent,
    )
    wishes = [resource for kind in found.values() for resource in kind.expand(view)]
    desired, findings = resolve(found, wishes, context)
    findings += _forgotten(found, desired, snapshot)
    findings += waiting(context, secrets.in_use)
    findings += _findings(view, target, snapshot, reading.capabilities)
    findings += [Finding("warning", note) for note in reading.notes]
    findings += node_findings(reading.live.topology)
    context = replace(context, snapshot=_with_findings(snapshot, findings))
    return Observation(target, found, desired, context, reading, secrets.in_use)


async def _secrets(world: World, view: ClusterView) -> SecretsFound:
    auths = [user.document.spec.auth for user in view.users if user.document.spec.ensure == "present"]
    names = {auth.password.secret for auth in auths if auth is not None and auth.password is not None}
    names -= {rotation.secret_of(role) for rotation in view.rotations for role in rotation.roles}
    names |= _secrets_of_objects(view)
    found = await asyncio.to_thread(world.secrets, sorted(names)) if names else SecretsFound()
    return found | (await asyncio.to_thread(world.logins, view.rotations)) if view.rotations else found


def _secrets_of_objects(view: ClusterView) -> set[str]:
    present = [database.spec for database in view.databases if database.spec.ensure == "present"]
    subscriptions = [s for spec in present for s in spec.subscriptions if s.ensure == "present"]
    found = {s.password.secret for s in subscriptions if s.password is not None}
    servers = [server for spec in present for server in spec.foreign_servers if server.ensure == "present"]
    mappings = [m for server in servers for m in server.user_mappings if m.ensure == "present"]
    return found.union(*(mapping.secrets.values() for mapping in mappings))


def _snapshot(world: World, found: Kinds, view: ClusterView, reading: Reading) -> Snapshot:
    live: dict[Address, State] = {}
    unread: list[Unread] = []
    findings: list[Finding] = []
    inventory: dict[str, object] = {}
    for name, kind in found.items():
        try:
            parsed = kind.parse(reading.live)
        except ValueError as error:
            raise PgVillageError(f"{view.name}: {name} can't be read: {error}") from error
        live.update(parsed.states)
        live.update(kind.remembered(reading.live.target, reading.ledger))
        unread += parsed.unread
        findings += parsed.findings
        inventory[name] = parsed.inventory
    for database, reason in reading.live.failures.items():
        unread += [each for kind in found.values() for each in kind.unread_in(database, reason)]
        findings.append(Finding("error", f"not read, nothing is concluded about it: {reason}"))
    for group, reason in view.people.unanswered.items():
        if "membership" in found:
            unread.append(Unread("membership", (group,), reason))
    return Snapshot(live, world.now(), reading.ledger, tuple(unread), inventory, tuple(findings))


def _without_rows(reading: Reading) -> Reading:
    """What was parsed is not needed twice: of ten thousand people the rows are a tenth of a plan's memory."""
    databases: dict[str, dict[str, list[tuple[object, ...]]]] = {name: {} for name in reading.live.by_database}
    return replace(reading, live=replace(reading.live, rows={}, by_database=databases))


def _findings(
    view: ClusterView, target: TargetId, snapshot: Snapshot, capabilities: Capabilities | None
) -> list[Finding]:
    found: list[Finding] = []
    if target.system is System.POSTGRES:
        found += view.findings
        later = list(not_acted_on(view))
        if later:
            found.append(Finding("info", f"validated, not acted on yet: {'; '.join(later)}"))
    for rule in expired_rules(view.policy, snapshot.read_at.date().isoformat()):
        about = ", ".join(rule.addresses)
        found.append(
            Finding("warning", f"the ignore rule of {rule.owner} for {about} ran out on {rule.until}: {rule.reason}")
        )
    wanted = view.cluster.spec.postgres.version
    if wanted is not None and capabilities is not None and capabilities.major != wanted:
        text = f"the manifest says PostgreSQL {wanted}, the server is {capabilities.major}: upgrades are not done yet"
        found.append(Finding("warning", text))
    why = snapshot.ledger.why_not
    if not snapshot.ledger.usable and why != "no ledger yet":
        found.append(Finding("warning", f"{why}: all that exists counts as drift, and nobody's departure is known"))
    elif not snapshot.ledger.usable and capabilities and not (capabilities.keeps_ledger or capabilities.only_looks):
        text = f"no ledger, as the account has no CREATE on database {quote_part(capabilities.maintenance)}: all that "
        found.append(Finding("info", f"{text}exists counts as drift, and nobody's departure is known"))
    return found


def _forgotten(found: Kinds, desired: Desired, snapshot: Snapshot) -> list[Finding]:
    """What was applied once and no manifest declares any more: it stays, and nobody should have to guess why."""
    left = sorted(
        address
        for address, entry in snapshot.ledger.entries.items()
        if address not in desired
        and not entry.directory  # people come and go with their directory
        and address in snapshot.live
        and address.kind in found
        and found[address.kind].holds_objects
    )
    text = "was applied once and no manifest declares it any more: it is left alone; `ensure: absent` would remove it"
    findings = [Finding("warning", f"{address.kind} {address.label} {text}", address) for address in left[:_FORGOTTEN]]
    if len(left) > _FORGOTTEN:
        findings.append(Finding("warning", f"{len(left) - _FORGOTTEN} more objects are left like that"))
    return findings


def _with_findings(snapshot: Snapshot, findings: list[Finding]) -> Snapshot:
    return replace(snapshot, findings=(*snapshot.findings, *findings))
