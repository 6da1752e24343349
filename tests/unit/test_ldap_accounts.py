"""Which accounts are disabled or expired, and which are not."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from pgvillage.clients.ldap_accounts import ATTRIBUTES, why_disabled

NOW = datetime(2026, 1, 1, tzinfo=UTC)
DAYS = 20_454  # from 1970 to NOW
TICKS = (int(NOW.timestamp()) + 11_644_473_600) * 10_000_000


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("userAccountControl", "514", "the account is disabled (userAccountControl)"),
        ("userAccountControl", "512", ""),
        ("userAccountControl", "528", ""),  # locked out for a while
        ("userAccountControl", "many", ""),
        ("accountExpires", "0", ""),
        ("accountExpires", str((1 << 63) - 1), ""),
        ("accountExpires", str(TICKS), "the account expired on 2026-01-01 (accountExpires)"),
        ("accountExpires", str(TICKS + 10_000_000), ""),
        ("shadowExpire", "-1", ""),
        ("shadowExpire", "0", "the account expired on 1970-01-01 (shadowExpire)"),
        ("shadowExpire", str(DAYS), "the account expired on 2026-01-01 (shadowExpire)"),
        ("shadowExpire", str(DAYS + 1), ""),
        ("shadowExpire", "99999999", ""),
        ("pwdAccountLockedTime", "000001010000Z", "the account is locked by an administrator (pwdAccountLockedTime)"),
        ("pwdAccountLockedTime", "20251231235900Z", ""),  # wrong passwords: anybody can bring this about
        ("nsAccountLock", "TRUE", "the account is disabled (nsAccountLock)"),
        ("nsAccountLock", "false", ""),
        ("krbPrincipalExpiration", "20251231000000Z", "the account expired on 2025-12-31 (krbPrincipalExpiration)"),
        ("krbPrincipalExpiration", "20270101000000Z", ""),
        ("krbPrincipalExpiration", "20251399000000Z", ""),
    ],
)
def test_one_attribute(name: str, value: str, why: str) -> None:
    assert name.lower() in ATTRIBUTES
    assert why_disabled({name.lower(): (value.encode(),)}, NOW) == why


def test_nothing_known_is_no_reason() -> None:
    assert why_disabled({"uid": (b"ann",), "useraccountcontrol": ()}, NOW) == ""
