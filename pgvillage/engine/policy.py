"""Policy: which drift is held back, and what needs an approval. Pure; the table of risks is in docs/policy.md."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from pgvillage.core.address import Address
from pgvillage.core.change import Action, Change, Origin, Risk
from pgvillage.core.plan import Gate, Snapshot
from pgvillage.estate.manifest.estate import IgnoreRule, Policy
from pgvillage.settings import Ceilings, CorrectMode

_RANK: Mapping[str, int] = {"off": 0, "safe": 1, "all": 2}


@dataclass(frozen=True, slots=True)
class Rules:
    """The policy that is in force for a target: the estate's, within the ceilings of the settings."""

    correct: CorrectMode
    drop_count: int
    drop_share: int
    revoke_count: int
    revoke_share: int
    ignore: tuple[IgnoreRule, ...] = ()


def rules_in_force(policy: Policy, correct: str, ceilings: Ceilings) -> Rules:
    """The stricter of estate and settings, value by value."""
    modes: dict[int, CorrectMode] = {0: "off", 1: "safe", 2: "all"}
    limits = policy.limits
    return Rules(
        correct=modes[min(_RANK[correct], _RANK[ceilings.correct])],
        drop_count=_least(limits.drop.count, ceilings.drop.count),
        drop_share=_least(limits.drop.percent, ceilings.drop.share),
        revoke_count=_least(limits.revoke.count, ceilings.revoke.count),
        revoke_share=_least(limits.revoke.percent, ceilings.revoke.share),
        ignore=tuple(policy.ignore),
    )


def _least(value: int, ceiling: int | None) -> int:
    return value if ceiling is None else min(value, ceiling)


def hold_back(
    changes: Sequence[Change], rules: Rules, snapshot: Snapshot, subject_of: Mapping[Address, Address]
) -> list[Change]:
    """The same changes, those that policy holds back or that can't be done marked with why."""
    today = snapshot.read_at.date().isoformat()
    held = []
    for change in changes:
        why = change.refused
        if not why and change.origin is Origin.DRIFT:
            why = _ignored(change, rules, today) or _why_held(change, rules, snapshot, subject_of)
        held.append(change._replace(held=why) if why else change)
    return held


def _why_held(change: Change, rules: Rules, snapshot: Snapshot, subject_of: Mapping[Address, Address]) -> str:
    if rules.correct == "off":
        return "drift, and policy `correct` is off"
    if rules.correct == "all":
        return ""
    if change.risk in (Risk.RESTART, Risk.DROP, Risk.LOSS):
        return f"drift, and its correction is a {change.risk}: `correct: safe` leaves that to people"
    if change.risk is Risk.ACCESS and not _is_ours(change.address, snapshot, subject_of):
        return (
            "takes access away from something PgVillage has not applied before: `correct: safe` leaves that to people"
        )
    return ""


def _ignored(change: Change, rules: Rules, today: str) -> str:
    """The rule that lets this drift be, in words. Days compare as text, and a rule holds through its last one."""
    address = str(change.address)
    for rule in rules.ignore:
        if today <= rule.until and any(fnmatchcase(address, _pattern(each)) for each in rule.addresses):
            return f"ignored until {rule.until} by {rule.owner}: {rule.reason}"
    return ""


def _pattern(text: str) -> str:
    """`*` alone is special; brackets and question marks may be part of a name."""
    return text.replace("[", "[[]").replace("?", "[?]")


def expired_rules(policy: Policy, today: str) -> list[IgnoreRule]:
    return [rule for rule in policy.ignore if rule.until < today]


def _is_ours(address: Address, snapshot: Snapshot, subject_of: Mapping[Address, Address]) -> bool:
    entries = snapshot.ledger.entries
    own, subject = entries.get(address), entries.get(subject_of.get(address, address))
    return subject is not None and subject.applied and (own is None or own.applied)


def hold_dependents(changes: Sequence[Change], depends: Mapping[Address, Iterable[Address]]) -> list[Change]:
    """What needs a held change is held too.

    An update that is held stands in no one's way who makes or changes something: what is needed is there. Whatever
    goes, waits for all that must be done before.
    """
    held = {change.address for change in changes if change.held}
    updates = {change.address for change in changes if change.action is Action.UPDATE}

    def stuck(change: Change) -> bool:
        needed = held.intersection(depends[change.address])
        return bool(needed if change.action is Action.DELETE else needed - updates)

    growing = True
    while growing:
        more = {c.address for c in changes if c.address not in held and stuck(c)}
        held |= more
        growing = bool(more)
    return [c._replace(held="needs a change that is held") if c.address in held and not c.held else c for c in changes]


@dataclass(frozen=True, slots=True)
class Totals:
    """What shares are shares of: live objects, and live privileges, memberships and logins, that are ours."""

    objects: int
    access: int


def gates(changes: Iterable[Change], rules: Rules, totals: Totals) -> tuple[Gate, ...]:
    """Every objection to applying these changes."""
    applied = [change for change in changes if not change.held]
    drops, revokes = sum(c.drops for c in applied), sum(c.revokes for c in applied)
    found = [
        _limit("drop", drops, totals.objects, rules.drop_count, rules.drop_share),
        _limit("revoke", revokes, totals.access, rules.revoke_count, rules.revoke_share),
    ]
    if lossy := [change for change in applied if change.risk is Risk.LOSS]:
        names = ", ".join(str(change.address) for change in lossy[:3])
        found.append(Gate("loss", f"data would be lost with {names}"))
    return tuple(gate for gate in found if gate)


_WORDS = {"drop": "objects would be dropped", "revoke": "privileges, memberships and logins would be taken away"}


def _limit(rule: str, count: int, total: int, most: int, share: int) -> Gate | None:
    """By count and by share, and no set is too small for the share to count."""
    if count == 0 or (count <= most and count * 100 <= share * max(total, 1)):
        return None
    percent = round(100 * count / max(total, 1))
    return Gate(f"limit-{rule}", f"{count} of {total} ({percent}%) {_WORDS[rule]}; the limit is {most} and {share}%")


def is_approved(digest: str, approvals: Collection[str]) -> bool:
    """An approval names a digest, or enough of its beginning to be meant: 12 hex digits."""
    return any(len(a) >= 12 and digest.startswith(a) for a in approvals)


def open_gates(found: Iterable[Gate], digest: str, approvals: Collection[str]) -> tuple[Gate, ...]:
    approved = is_approved(digest, approvals)
    return tuple(replace(gate, open=approved and gate.approvable) for gate in found)
