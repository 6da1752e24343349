"""The ledger in PostgreSQL: schema `pgvillage` in the maintenance database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pgvillage.core.address import Address, parse_address
from pgvillage.core.ledger import Ledger, LedgerEntry
from pgvillage.core.status import Suspension

FORMAT = 3
READABLE = (1, 2, 3)  # 1 has no column `secret`; 1 and 2 know no fence and no suspension

CREATE = """
CREATE SCHEMA IF NOT EXISTS pgvillage;
REVOKE ALL ON SCHEMA pgvillage FROM PUBLIC;
COMMENT ON SCHEMA pgvillage IS 'What PgVillage applied here. Dropping it loses the origin of changes, no data.';
CREATE TABLE IF NOT EXISTS pgvillage.target (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    format integer NOT NULL,
    system_identifier text NOT NULL,
    token bigint NOT NULL DEFAULT 0,
    holder text NOT NULL DEFAULT '',
    revision text NOT NULL DEFAULT '',
    applied_at timestamptz,
    fence bigint NOT NULL DEFAULT 0,
    fence_holder text NOT NULL DEFAULT '',
    suspended_by text,
    suspended_reason text,
    suspended_since timestamptz,
    suspended_until timestamptz
);
CREATE TABLE IF NOT EXISTS pgvillage.ledger (
    address text PRIMARY KEY,
    wish text NOT NULL,
    made boolean NOT NULL,
    revision text NOT NULL,
    directory text NOT NULL DEFAULT '',
    disabled_since timestamptz,
    drop_after_days integer,
    heir text,
    applied_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    secret text NOT NULL DEFAULT ''
);
"""
READ_FORMAT = "SELECT format FROM pgvillage.target"
MIGRATE = """
ALTER TABLE pgvillage.ledger ADD COLUMN IF NOT EXISTS secret text NOT NULL DEFAULT '';
ALTER TABLE pgvillage.target
    ADD COLUMN IF NOT EXISTS fence bigint NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS fence_holder text NOT NULL DEFAULT '',
    ADD COLUMN IF NOT EXISTS suspended_by text,
    ADD COLUMN IF NOT EXISTS suspended_reason text,
    ADD COLUMN IF NOT EXISTS suspended_since timestamptz,
    ADD COLUMN IF NOT EXISTS suspended_until timestamptz;
UPDATE pgvillage.target SET format = 3 WHERE format < 3;
"""
# Rows that came along with a copy of another system say nothing about this one.
FORGET = """
DELETE FROM pgvillage.ledger WHERE EXISTS (SELECT FROM pgvillage.target WHERE system_identifier <> %s)
"""
ADOPT = """
INSERT INTO pgvillage.target AS t (format, system_identifier) VALUES (%s, %s)
ON CONFLICT (only_row) DO UPDATE SET system_identifier = EXCLUDED.system_identifier, revision = '', fence = 0,
    fence_holder = '', suspended_by = NULL, suspended_reason = NULL, suspended_since = NULL, suspended_until = NULL
WHERE t.system_identifier <> EXCLUDED.system_identifier
"""

_ROWS = """
SELECT t.format, t.system_identifier, t.revision, {protection},
       pg_catalog.array_agg(l.address), l.wish, l.made, l.revision, l.directory, l.disabled_since, l.drop_after_days,
       l.heir, {secret}
FROM pgvillage.target t LEFT JOIN pgvillage.ledger l ON true
GROUP BY t.only_row, l.wish, l.made, l.revision, l.directory, l.disabled_since, l.drop_after_days, l.heir, {secret}
"""
_PROTECTION = (
    "t.fence, t.suspended_by, t.suspended_reason, t.suspended_since, NULLIF(t.suspended_until, 'infinity') AS until"
)
_NO_PROTECTION = "0, NULL::text, NULL::text, NULL::timestamptz, NULL::timestamptz"


def read_rows(found_format: int) -> str:
    """The question for the ledger of this format: thousands of addresses that say the same come as one row."""
    return _ROWS.format(
        protection=_PROTECTION if found_format >= 3 else _NO_PROTECTION,
        secret="l.secret" if found_format >= 2 else "''::text",
    )


UPSERT = """
INSERT INTO pgvillage.ledger (address, wish, made, revision, directory, disabled_since, drop_after_days, heir, secret)
SELECT * FROM unnest(%s::text[], %s::text[], %s::boolean[], %s::text[], %s::text[], %s::timestamptz[], %s::integer[],
                     %s::text[], %s::text[])
ON CONFLICT (address) DO UPDATE SET
    wish = EXCLUDED.wish, made = EXCLUDED.made, revision = EXCLUDED.revision, directory = EXCLUDED.directory,
    disabled_since = EXCLUDED.disabled_since, drop_after_days = EXCLUDED.drop_after_days, heir = EXCLUDED.heir,
    secret = EXCLUDED.secret,
    applied_at = pg_catalog.now()
"""
DELETE = "DELETE FROM pgvillage.ledger WHERE address = ANY(%s)"
SET_REVISION = "UPDATE pgvillage.target SET revision = %s, applied_at = pg_catalog.now()"
FIND = """
SELECT r.rolname = current_user OR r.rolsuper
FROM pg_catalog.pg_namespace n JOIN pg_catalog.pg_roles r ON r.oid = n.nspowner WHERE n.nspname = 'pgvillage'
"""
TAKE_TOKEN = "UPDATE pgvillage.target SET token = token + 1, holder = %s RETURNING token"  # noqa: S105
# A replica says that the target is its own before it has the lock: the one before it stops at its next transaction.
CLAIM = """
UPDATE pgvillage.target SET fence = %s, fence_holder = %s WHERE fence < %s AND system_identifier = %s
"""
READ_FENCE = "SELECT fence, fence_holder FROM pgvillage.target WHERE system_identifier = %s"
# What says that this is still the primary we came to. Not by pg_control_checkpoint(), which is behind for a while after
# a promotion.
PRIMARY = """pg_catalog.pg_is_in_recovery(), CASE WHEN pg_catalog.pg_is_in_recovery() THEN 0 ELSE
    ('x' || pg_catalog.substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 1, 8))::bit(32)::integer END
"""
CHECK_TOKEN = f"SELECT token, fence, fence_holder, {PRIMARY} FROM pgvillage.target FOR UPDATE"  # noqa: S608
SUSPEND = """
UPDATE pgvillage.target
SET suspended_by = %s, suspended_reason = %s, suspended_since = %s, suspended_until = %s
"""


def parse_ledger(cluster: str, system: str, rows: Sequence[Sequence[Any]]) -> Ledger:
    """The ledger as read, or why it does not count: another format, or it came with a restore from another system."""
    if not rows:
        return Ledger(why_not="the ledger is empty")
    found_format, found_system, revision, fence = rows[0][:4]
    suspension = _suspension(*rows[0][4:8])
    groups = [row[8:] for row in rows if row[9] is not None]  # the target's row stands alone where nothing is noted
    if found_system != system:
        return Ledger(why_not="the ledger was written on another system (a restore or a copy)")
    if found_format not in READABLE:
        # What protects the target counts all the same: a later PgVillage that suspended it meant us too.
        return Ledger(why_not=unknown_format(found_format), renewable=False, fence=fence, suspension=suspension)
    if not groups and not revision:
        return Ledger(fence=fence, suspension=suspension)  # made, and nothing applied yet
    entries: dict[Address, LedgerEntry] = {}
    for addresses, *values in groups:
        entry = LedgerEntry(*values)
        entries.update((parse_address(f"{cluster}/{address}"), entry) for address in addresses)
    return Ledger(usable=True, why_not="", revision=revision, entries=entries, fence=fence, suspension=suspension)


def _suspension(
    by: str | None, reason: str | None, since: datetime | None, until: datetime | None
) -> Suspension | None:
    if by is None or since is None:
        return None
    return Suspension(by, reason or "", since.astimezone(UTC), until.astimezone(UTC) if until else None)


def suspension_parameters(found: Suspension | None) -> tuple[Any, ...]:
    return (found.by, found.reason, found.since, found.until) if found else (None, None, None, None)


def unknown_format(found: object) -> str:
    return f"the ledger has format {found}; this PgVillage knows {FORMAT}"


def ledger_key(address: Address) -> str:
    """An address without its cluster's name, which may change while the system stays."""
    return f"{address.kind}/{address.label}"


def upsert_parameters(rows: Mapping[Address, LedgerEntry]) -> tuple[list[Any], ...]:
    entries = list(rows.values())
    return (
        [ledger_key(address) for address in rows],
        [e.wish for e in entries],
        [e.made for e in entries],
        [e.revision for e in entries],
        [e.directory for e in entries],
        [e.disabled_since for e in entries],
        [e.drop_after_days for e in entries],
        [e.heir for e in entries],
        [e.secret for e in entries],
    )
