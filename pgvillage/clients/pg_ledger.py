"""The ledger in PostgreSQL: schema `pgvillage` in the maintenance database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pgvillage.core.address import Address, parse_address
from pgvillage.core.ledger import Ledger, LedgerEntry

FORMAT = 2
_READABLE = (1, 2)  # 1 has no column `secret`

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
    applied_at timestamptz
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
UPDATE pgvillage.target SET format = 2 WHERE format = 1;
"""
# Rows that came along with a copy of another system say nothing about this one.
FORGET = """
DELETE FROM pgvillage.ledger WHERE EXISTS (SELECT FROM pgvillage.target WHERE system_identifier <> %s)
"""
ADOPT = """
INSERT INTO pgvillage.target AS t (format, system_identifier) VALUES (%s, %s)
ON CONFLICT (only_row) DO UPDATE SET system_identifier = EXCLUDED.system_identifier,
    revision = CASE WHEN t.system_identifier = EXCLUDED.system_identifier THEN t.revision ELSE '' END
"""

# Thousands of addresses say the same: they come as one row.
READ_ROWS = """
SELECT t.format, t.system_identifier, t.revision, pg_catalog.array_agg(l.address),
       l.wish, l.made, l.revision, l.directory, l.disabled_since, l.drop_after_days, l.heir, l.secret
FROM pgvillage.target t LEFT JOIN pgvillage.ledger l ON true
GROUP BY t.format, t.system_identifier, t.revision,
         l.wish, l.made, l.revision, l.directory, l.disabled_since, l.drop_after_days, l.heir, l.secret
"""
READ_ROWS_OF_FORMAT_1 = READ_ROWS.replace(", l.secret", "")
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
CHECK_TOKEN = "SELECT token FROM pgvillage.target FOR UPDATE"  # noqa: S105


def parse_ledger(cluster: str, system: str, rows: Sequence[Sequence[Any]]) -> Ledger:
    """The ledger as read, or why it does not count: another format, or it came with a restore from another system."""
    if not rows:
        return Ledger(why_not="the ledger is empty")
    found_format, found_system, revision = rows[0][:3]
    groups = [row[3:] for row in rows if row[4] is not None]  # the target's row stands alone where nothing is noted
    if found_format not in _READABLE:
        return Ledger(why_not=unknown_format(found_format), renewable=False)
    if found_system != system:
        return Ledger(why_not="the ledger was written on another system (a restore or a copy)")
    if not groups and not revision:
        return Ledger()  # made, and nothing applied yet
    entries: dict[Address, LedgerEntry] = {}
    for addresses, *values in groups:
        entry = LedgerEntry(*values)
        entries.update((parse_address(f"{cluster}/{address}"), entry) for address in addresses)
    return Ledger(usable=True, why_not="", revision=revision, entries=entries)


def unknown_format(found: int) -> str:
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
