"""What part `ha` of a Cluster asks of Patroni's dynamic configuration, and what Patroni would not take of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pgvillage.estate.manifest.common import text_of
from pgvillage.estate.manifest.ha import PATRONI_TIMINGS, HighAvailability, StandbyOf, Synchronous
from pgvillage.estate.manifest.storage import ReplicationSlotSpec
from pgvillage.resources.patroni.members import number

Value = str | int
Path = tuple[str, ...]

# Patroni's defaults, and the shortest that it takes: ttl has to hold loop_wait + 2 * retry_timeout.
DEFAULTS: Mapping[str, int] = {"ttl": 30, "loop_wait": 10, "retry_timeout": 10, "primary_start_timeout": 300}
FAST: Mapping[str, int] = {"ttl": 20, "loop_wait": 5, "retry_timeout": 5}
_LEAST = {"ttl": 20, "loop_wait": 1, "retry_timeout": 3}


def fields_of(ha: HighAvailability) -> dict[str, Value]:
    """Dotted path in the configuration -> value; switches are on or off, as 1 would be the same as true."""
    found: dict[str, Value] = dict(_timings(ha))
    if ha.max_lag is not None:
        found["maximum_lag_on_failover"] = ha.max_lag
    if ha.rewind is not None:
        found["postgresql.use_pg_rewind"] = text_of(ha.rewind)
    if isinstance(ha.synchronous, Synchronous):
        found["synchronous_mode"] = "quorum" if ha.synchronous.quorum else "on"
        found["synchronous_mode_strict"] = text_of(ha.synchronous.min >= 1)
        found["synchronous_node_count"] = ha.synchronous.max
    elif ha.synchronous is False:
        found["synchronous_mode"] = "off"
    return found


def _timings(ha: HighAvailability) -> dict[str, int]:
    if ha.timings is None:
        return {}
    if isinstance(ha.timings, str):
        return dict(FAST if ha.timings == "fast" else DEFAULTS)
    given = ((name, getattr(ha.timings, name)) for name in PATRONI_TIMINGS)
    return {name: value for name, value in given if value is not None}


def standby_of(ha: HighAvailability) -> dict[str, Value]:
    """The entry `standby_cluster`, as far as the manifest has a say in it."""
    if not isinstance(ha.standby_of, StandbyOf):
        return {}
    wish = ha.standby_of
    found: dict[str, Value | None] = {
        "host": wish.host,
        "port": wish.port,
        "primary_slot_name": wish.slot,
        "restore_command": wish.restore_command,
        "recovery_min_apply_delay": wish.apply_delay,
    }
    return {name: value for name, value in found.items() if value is not None}


def slot_of(spec: ReplicationSlotSpec) -> dict[str, Value]:
    if spec.plugin is None:
        return {"type": "physical"}
    return {"type": "logical", "database": str(spec.database), "plugin": spec.plugin}


def faults_of(config: Mapping[str, Any]) -> Iterator[str]:
    """Every reason why Patroni would not work with this configuration as it is written."""
    found = {name: number(config.get(name), DEFAULTS[name]) for name in _LEAST}
    for name, least in _LEAST.items():
        if found[name] < least:
            yield f"{name}: expected {least} at least, found {found[name]}"
    ttl, wait, retry = found["ttl"], found["loop_wait"], found["retry_timeout"]
    if wait + 2 * retry > ttl:
        yield (
            f"loop_wait ({wait}) + 2 * retry_timeout ({retry}) must be at most ttl ({ttl}): Patroni would silently "
            "take other values"
        )


def version_of(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:2] if part.isascii() and part.isdigit())
