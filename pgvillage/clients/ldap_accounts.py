"""Accounts that are disabled or expired, by the attributes that directories have for it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

ATTRIBUTES = (
    "useraccountcontrol", "accountexpires", "shadowexpire", "pwdaccountlockedtime", "nsaccountlock",
    "krbprincipalexpiration",
)  # fmt: skip
_ACCOUNT_DISABLE = 2
_FILETIME_EPOCH = datetime(1601, 1, 1, tzinfo=UTC)
_UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LOCKED_FOR_GOOD = "000001010000Z"
_TIME = re.compile(r"(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)?(\d\d)?(?:[.,]\d+)?Z\Z")


def why_disabled(attributes: Mapping[str, tuple[bytes, ...]], now: datetime) -> str:
    """Why this account may not be used at `now` any more, or ''; attributes by lower-case name.

    A lockout after wrong passwords (a time in pwdAccountLockedTime, AD's lockoutTime) is no reason: it passes by
    itself, and everybody who knows a person's name can bring it about.
    """
    if attributes.keys().isdisjoint(ATTRIBUTES):
        return ""  # most entries of most directories
    control = _number(attributes, "useraccountcontrol")
    if control is not None and control & _ACCOUNT_DISABLE:
        return "the account is disabled (userAccountControl)"
    lock = _text(attributes, "nsaccountlock").lower()
    if lock == "true":
        return "the account is disabled (nsAccountLock)"
    if _text(attributes, "pwdaccountlockedtime") == _LOCKED_FOR_GOOD:
        return "the account is locked by an administrator (pwdAccountLockedTime)"
    for name, end in _expiries(attributes):
        if end <= now:
            return f"the account expired on {end:%Y-%m-%d} ({name})"
    return ""


def _expiries(attributes: Mapping[str, tuple[bytes, ...]]) -> list[tuple[str, datetime]]:
    """What can't be a date of these calendars stands for never, as it does for the servers."""
    found: list[tuple[str, datetime | None]] = []
    ticks = _number(attributes, "accountexpires")  # 100 ns since 1601; 0 and 2^63 - 1 stand for never
    if ticks:
        found.append(("accountExpires", _after(_FILETIME_EPOCH, microseconds=ticks / 10)))
    days = _number(attributes, "shadowexpire")  # since 1970; -1 is never, 0 shuts an account (`chage -E 0`)
    if days is not None and days >= 0:
        found.append(("shadowExpire", _after(_UNIX_EPOCH, days=days)))
    found.append(("krbPrincipalExpiration", _time(_text(attributes, "krbprincipalexpiration"))))
    return [(name, end) for name, end in found if end is not None]


def _after(epoch: datetime, **span: float) -> datetime | None:
    try:
        return epoch + timedelta(**span)
    except OverflowError:
        return None


def _time(text: str) -> datetime | None:
    """GeneralizedTime (RFC 4517) in UTC."""
    found = _TIME.match(text)
    if not found:
        return None
    try:
        return datetime(*(int(part or 0) for part in found.groups()), tzinfo=UTC)  # type: ignore[arg-type, misc]
    except ValueError:
        return None


def _text(attributes: Mapping[str, tuple[bytes, ...]], name: str) -> str:
    values = attributes.get(name)
    return values[0].decode(errors="replace").strip() if values else ""


def _number(attributes: Mapping[str, tuple[bytes, ...]], name: str) -> int | None:
    text = _text(attributes, name)
    return int(text) if re.fullmatch(r"-?[0-9]{1,20}", text) else None
