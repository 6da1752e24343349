"""PostgreSQL parameters under Patroni: which it sets itself, what it would silently replace, which need a restart."""

from __future__ import annotations

import re
from collections.abc import Mapping

from pgvillage.core.guc import Guc

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_$]*(\.[A-Za-z_][A-Za-z0-9_$]*)*\Z")
_RECOVERY = "Patroni writes it on standbys itself"

# From Patroni's own source: postgresql/config.py (CMDLINE_OPTIONS, recovery parameters), config.py.
_OVERRIDDEN: Mapping[str, str] = {
    "listen_addresses": "Patroni takes it from postgresql.listen of each node's own configuration",
    "port": "Patroni takes it from postgresql.listen of each node's own configuration",
    "cluster_name": "Patroni sets it to the cluster's scope",
    "hot_standby": "Patroni keeps it on",
    "data_directory": "Patroni takes it from postgresql.data_dir of each node's own configuration",
    "config_file": "Patroni writes this file itself, in each node's own folder",
    "hba_file": "with it Patroni would no longer write pg_hba.conf; use postgres.hba",
    "ident_file": "with it Patroni would no longer write pg_ident.conf",
    "synchronous_standby_names": "Patroni sets it; use ha.synchronous",
    "wal_keep_segments": "PostgreSQL 13 dropped it: use wal_keep_size",
    "primary_conninfo": _RECOVERY,
    "primary_slot_name": f"{_RECOVERY}; for a standby cluster use ha.standbyOf.slot",
    "recovery_min_apply_delay": "Patroni takes it from standby_cluster; use ha.standbyOf.applyDelay",
    "promote_trigger_file": "Patroni promotes by itself",
    "trigger_file": "Patroni promotes by itself",
    "standby_mode": _RECOVERY,
    "pause_at_recovery_target": "a recovery target would stop a standby that has to follow its primary",
    "recovery_target": "a recovery target would stop a standby that has to follow its primary",
    "recovery_target_action": "a recovery target would stop a standby that has to follow its primary",
    "recovery_target_inclusive": "a recovery target would stop a standby that has to follow its primary",
    "recovery_target_lsn": "a recovery target would stop a standby that has to follow its primary",
    "recovery_target_name": "a recovery target would stop a standby that has to follow its primary",
    "recovery_target_time": "a recovery target would stop a standby that has to follow its primary",
    "recovery_target_xid": "a recovery target would stop a standby that has to follow its primary",
    "recovery_target_timeline": "Patroni sets it to latest",
}  # fmt: skip
# name -> least value, and what Patroni takes when a value is less.
_LEAST: Mapping[str, tuple[int, str]] = {
    "max_connections": (25, "100"),
    "max_wal_senders": (3, "10"),
    "max_prepared_transactions": (0, "0"),
    "max_locks_per_transaction": (32, "64"),
    "max_replication_slots": (4, "10"),
    "max_worker_processes": (2, "8"),
}
_SWITCHES = ("track_commit_timestamp", "wal_log_hints")
_SIZES = {"": 1, "MB": 1, "GB": 1 << 10, "TB": 1 << 20}

# What PostgreSQL 13 to 18 take at a restart alone, for as long as no node could be asked.
RESTARTS = frozenset({
    "archive_mode", "autovacuum_freeze_max_age", "autovacuum_multixact_freeze_max_age", "autovacuum_worker_slots",
    "bonjour", "bonjour_name", "commit_timestamp_buffers", "data_sync_retry", "dynamic_shared_memory_type",
    "event_source", "external_pid_file", "huge_page_size", "huge_pages", "ignore_invalid_pages",
    "io_max_combine_limit", "io_max_concurrency", "io_method", "jit_provider", "logging_collector",
    "max_active_replication_origins", "max_connections", "max_files_per_process", "max_locks_per_transaction",
    "max_logical_replication_workers", "max_notify_queue_pages", "max_pred_locks_per_transaction",
    "max_prepared_transactions", "max_replication_slots", "max_wal_senders", "max_worker_processes",
    "min_dynamic_shared_memory", "multixact_member_buffers", "multixact_offset_buffers", "notify_buffers",
    "old_snapshot_threshold", "reserved_connections", "serializable_buffers", "shared_buffers", "shared_memory_type",
    "shared_preload_libraries", "subtransaction_buffers", "superuser_reserved_connections",
    "track_activity_query_size", "track_commit_timestamp", "transaction_buffers", "unix_socket_directories",
    "unix_socket_group", "unix_socket_permissions", "wal_buffers", "wal_decode_buffer_size", "wal_level",
    "wal_log_hints",
})  # fmt: skip


def needs_restart(name: str, guc: Guc | None) -> bool:
    """By PostgreSQL's own word where a node said it."""
    return guc.context == "postmaster" if guc is not None else name.lower() in RESTARTS


def refuse_parameter(name: str, value: str) -> str:
    """Why it must not stand in a manifest, "" when it may. Compared without case, as PostgreSQL and Patroni do."""
    if not _NAME.match(name):
        return "it is not the name of a parameter"
    if any(not char.isprintable() for char in value):
        return "its value holds a line break or another control character"
    key = name.lower()
    if key in _OVERRIDDEN:
        return _OVERRIDDEN[key]
    if key == "wal_level" and value.lower() not in ("hot_standby", "replica", "logical"):
        return f"Patroni needs replica or logical, and would silently take replica instead of {value!r}"
    if key in _SWITCHES and not (truth(value) or value.lower() in ("off", "false", "no", "0")):
        return f"expected on or off, found {value!r}: Patroni would silently take its default"
    return _too_little(key, value)


def _too_little(key: str, value: str) -> str:
    if key in _LEAST:
        least, default = _LEAST[key]
        if not re.fullmatch(r"[0-9]{1,9}", value) or int(value) < least:
            return f"Patroni needs {least} at least, and would silently take {default} instead of {value!r}"
    match = re.fullmatch(r"([0-9]{1,9})\s*(MB|GB|TB|)", value) if key == "wal_keep_size" else None
    if key == "wal_keep_size" and (match is None or int(match[1]) * _SIZES[match[2]] < 16):
        return f"Patroni needs 16MB at least, and would silently take 128MB instead of {value!r}"
    return ""


def truth(value: object) -> bool:
    """As Patroni reads what people write for true."""
    return value is True or (isinstance(value, str) and value.strip().lower() in ("on", "true", "yes", "1"))
