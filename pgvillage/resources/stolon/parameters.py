"""PostgreSQL parameters in stolon's cluster spec: which ones stolon sets itself, and how the rest compare."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_$]*(\.[A-Za-z_][A-Za-z0-9_$]*)*\Z")

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
    "primary_conninfo": "stolon writes it on standbys; for role standby use standbyConfig.standbySettings",
    "primary_slot_name": "stolon writes it on standbys; for role standby use standbyConfig.standbySettings",
    "recovery_target_timeline": "stolon sets it to latest on standbys; for a restore use pitrConfig",
}


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


def comparable_parameters(live: Mapping[str, Any], desired: Mapping[str, Any]) -> dict[str, str]:
    """The live spec's pgParameters as far as the manifest has a say in them, both specs normalised.

    With mergePgParameters stolon itself wrote what initdb chose into the spec: what is not named is left alone.
    """
    found: dict[str, str] = dict(live["pgParameters"])
    if not desired["mergePgParameters"]:
        return found
    return {name: value for name, value in found.items() if name in desired["pgParameters"]}


def parameters_patch(live: Mapping[str, Any], desired: Mapping[str, Any]) -> dict[str, str | None]:
    """What to merge into the live pgParameters so that they become the desired ones; empty when they are."""
    found, named = comparable_parameters(live, desired), desired["pgParameters"]
    patch: dict[str, str | None] = {name: value for name, value in named.items() if found.get(name) != value}
    return patch | dict.fromkeys(found.keys() - named.keys())
