"""Passwords: the wish of a manifest against the server's verifier, or against the ledger's mark where none is seen."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pgvillage.core.address import Address, quote_part
from pgvillage.core.change import Moved, Resource
from pgvillage.core.ledger import LedgerEntry
from pgvillage.core.password_mark import fits
from pgvillage.core.plan import Finding
from pgvillage.core.secret import Secret
from pgvillage.engine.kind import Context
from pgvillage.resources.postgres.holdings import RolesSeen
from pgvillage.resources.postgres.scram import matches

UNKNOWN = "unknown"
NEW = "new"
_FIELDS = frozenset({"password"})
_ROTATED = Moved(_FIELDS, "the secret's value changed")
_FIRST = Moved(_FIELDS, "what the server holds can't be seen, and it was never set from here")
_GENERATED = Moved(_FIELDS, "the secret does not exist yet: an apply generates it")
_DUE = "rotation is due"
_BLIND = "it is not begun, as this account can neither read pg_authid nor keep a ledger to know that it was done"
_MD5 = "the server holds an md5 password, SCRAM is asked for"
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Settled:
    """What the role's password becomes: `password` as in RoleState, and what the planner has to know about it."""

    password: str
    remembered: bool = True
    moved: Moved | None = None
    reason: str = ""


def no_password(resource: Resource, current: str, context: Context) -> str:
    """For a role that shall have none. Where it can't be seen it is taken away once, and the ledger knows."""
    if current != UNKNOWN or not _remembers(context):
        return UNKNOWN if current == UNKNOWN else "none"
    entry = context.snapshot.ledger.entries.get(resource.address)
    done = entry is not None and entry.wish == resource.wish_fingerprint and not entry.secret
    return UNKNOWN if done else "none"


def settle(address: Address, secret: str, current: str | None, context: Context) -> tuple[Settled, list[Finding]]:
    """`secret` is the secret's name, `current` what is live: a word of RoleState, None for a role that is to come."""
    value = context.secrets.get(secret)
    if value is None:
        return _without_value(address, secret, current, context)
    ledger = context.snapshot.ledger
    entry = ledger.entries.get(address) if ledger.usable else None
    known = entry is not None and fits(value, entry.secret)
    if current is None:
        return Settled(NEW, known), []
    if current == UNKNOWN:
        return _unseen(entry, context, known=known), []
    if _same(value, address, context):
        return Settled("scram", known), []
    moved = _ROTATED if entry is not None and entry.secret and not known else None
    return Settled(NEW, known, moved, _MD5 if current == "md5" else ""), []


def _same(value: Secret, address: Address, context: Context) -> bool:
    seen = context.snapshot.inventory.get("role")
    verifier = seen.verifiers.get(address.name[0]) if isinstance(seen, RolesSeen) else None
    return verifier is not None and matches(value, verifier)


def is_set(address: Address, secret: str, context: Context) -> bool:
    """Is it known that this live role has the secret's value? By the server's verifier, else by the ledger's mark."""
    value, live = context.secrets.get(secret), context.snapshot.live.get(address)
    if value is None or live is None:
        return False
    if live.as_fields().get("password") != UNKNOWN:
        return _same(value, address, context)
    ledger = context.snapshot.ledger
    entry = ledger.entries.get(address) if ledger.usable else None
    return entry is not None and fits(value, entry.secret)


def _unseen(entry: LedgerEntry | None, context: Context, *, known: bool) -> Settled:
    if known or not _remembers(context):
        return Settled(UNKNOWN)
    return Settled(NEW, remembered=False, moved=_ROTATED if entry and entry.secret else _FIRST)


def _without_value(
    address: Address, secret: str, current: str | None, context: Context
) -> tuple[Settled, list[Finding]]:
    absent = context.absent.get(secret)
    if absent is not None and absent.rotates:
        if current == UNKNOWN and not _remembers(context):
            return Settled(UNKNOWN), [Finding("warning", f"{absent.rotates}; {_BLIND}", address)]
        return Settled(NEW, remembered=False, moved=Moved(_FIELDS, _DUE)), [Finding("info", absent.rotates, address)]
    if absent is not None and absent.generates:
        text = f"secret {secret!r} does not exist yet: an apply generates it, stores it and sets it"
        return Settled(NEW, remembered=False, moved=_GENERATED), [Finding("info", text, address)]
    text = f"secret {secret!r} is not available here: the password is not compared or set"
    why = f" ({absent.reason})" if absent is not None and absent.reason else ""
    return Settled(current or "none"), [Finding("warning", text + why, address)]


def _remembers(context: Context) -> bool:
    """Without a ledger to remember what was set, what can't be seen would be set again at every run."""
    ledger, can = context.snapshot.ledger, context.capabilities
    return can is not None and can.keeps_ledger and (ledger.usable or ledger.renewable)


def unseen_finding(roles: Iterable[str], context: Context) -> list[Finding]:
    """One for all roles whose password a manifest manages and nobody can see."""
    names = sorted(roles)
    if not names:
        return []
    how = (
        "are compared with what was set last from here, not with what the server holds"
        if _remembers(context)
        else "are not compared, and set for new roles alone: this account can keep no ledger here to know them again"
    )
    return [Finding("info", f"the account may not read pg_authid: the passwords of {_listed(names)} {how}")]


def md5_finding(roles: Iterable[str]) -> list[Finding]:
    """Login roles whose password no manifest manages."""
    names = sorted(roles)
    if not names:
        return []
    text = f"md5 passwords that no manifest manages: {_listed(names)}. PostgreSQL gives md5 up; set them anew as SCRAM"
    return [Finding("warning", text)]


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    count = f"{len(names)} role{'' if len(names) == 1 else 's'}"
    return f"{count} ({', '.join(map(quote_part, names[:_SHOWN]))}{more})"
