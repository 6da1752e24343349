"""PostgreSQL parameters in stolon's cluster spec: which ones stolon sets itself, and how the rest stand there."""

from __future__ import annotations

import re
from collections.abc import Mapping

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_$]*(\.[A-Za-z_][A-Za-z0-9_$]*)*\Z")

_RECOVERY = "every standby would stop there; for a restore use ha.init"
_KEEPER = "the keeper lays out its data folder itself, and would not start PostgreSQL with another"

OVERRIDDEN_PARAMETERS: Mapping[str, str] = {
    "unix_socket_directories": "stolon sets it to /tmp",
    "listen_addresses": "stolon takes it from the keeper's --pg-listen-address",
    "port": "stolon takes it from the keeper's --pg-port",
    "hot_standby": "stolon keeps it on",
    "wal_level": "stolon sets it to replica; only the value logical is taken from the spec",
    "max_replication_slots": "stolon sets it to maxStandbys of the cluster spec",
    "max_wal_senders": "stolon computes it from maxStandbys and additionalWalSenders of the cluster spec",
    "synchronous_standby_names": "stolon sets it from synchronousReplication and min/maxSynchronousStandbys",
    "wal_log_hints": "stolon turns it on because usePgrewind is true",
    "wal_keep_segments": "stolon raises it to 8 at least, and PostgreSQL 13 dropped it: use wal_keep_size",
    "primary_conninfo": "stolon writes it on standbys; for a standby cluster use ha.standbyOf",
    "primary_slot_name": "stolon writes it on standbys; for a standby cluster use ha.standbyOf",
    "recovery_target_timeline": "stolon sets it to latest on standbys; for a restore use ha.init",
    "recovery_target": _RECOVERY,
    "recovery_target_action": _RECOVERY,
    "recovery_target_inclusive": _RECOVERY,
    "recovery_target_lsn": _RECOVERY,
    "recovery_target_name": _RECOVERY,
    "recovery_target_time": _RECOVERY,
    "recovery_target_xid": _RECOVERY,
    "data_directory": _KEEPER,
    "config_file": _KEEPER,
    "hba_file": _KEEPER,
    "ident_file": _KEEPER,
    "external_pid_file": _KEEPER,
}


def stored(value: str) -> str:
    """A value as it must stand in stolon's specification: stolon doubles its single quotes on the way into
    postgresql.conf and nothing else, where PostgreSQL takes a backslash for an escape and a line break for the end.
    """
    return value.replace("\\", "\\\\").replace("\n", "\\n")


def refuse_parameters(parameters: Mapping[str, str], *, use_pgrewind: bool) -> dict[str, str]:
    """The parameters that must not stand in a manifest, with the reason.

    Compared without case: PostgreSQL reads `Port` as `port`, and which of two lines wins is then chance.
    """
    refused = {name: _reason(name, value, use_pgrewind=use_pgrewind) for name, value in parameters.items()}
    return {name: reason for name, reason in refused.items() if reason}


def _reason(name: str, value: str, *, use_pgrewind: bool) -> str:
    # stolon writes the name into postgresql.conf as it is: a line break in it would be a line of its own
    if not _NAME.match(name):
        return "it is not the name of a parameter"
    key = name.lower()
    if (key == "wal_log_hints" and not use_pgrewind) or (name == "wal_level" and value == "logical"):
        return ""
    return OVERRIDDEN_PARAMETERS.get(key, "")
