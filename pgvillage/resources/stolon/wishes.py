"""What part `ha` and `postgres.hba` of a Cluster ask of stolon's specification, field by field."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from pgvillage.estate.hba_text import hba_line
from pgvillage.estate.manifest.cluster import HbaRule
from pgvillage.estate.manifest.ha import HighAvailability, Init, StandbyOf, Synchronous
from pgvillage.estate.manifest.storage import ReplicationSlotSpec
from pgvillage.estate.stolon_parameters import stored
from pgvillage.resources.stolon.values import Value

Path = tuple[str | int, ...]

SLOT_PREFIX = "stolon_"
# The two profiles of timings; `fast` is what made the outage after kill -9 seven seconds instead of 34 in trials.
_TIMINGS: Mapping[str, Mapping[str, str]] = {
    "default": {"sleepInterval": "5s", "failInterval": "20s", "proxyCheckInterval": "5s", "proxyTimeout": "15s"},
    "fast": {"sleepInterval": "1s", "failInterval": "5s", "proxyCheckInterval": "1s", "proxyTimeout": "4s"},
}
_SETTINGS = "standbyConfig.standbySettings"
_RESTORE = "archiveRecoverySettings.restoreCommand"


class Wish(NamedTuple):
    """A field by its name, dotted where it stands inside another; None takes it away. `path` is where it is asked."""

    field: str
    value: Value
    path: Path


def wishes_of(ha: HighAvailability, hba: list[HbaRule] | None) -> Iterable[Wish]:
    yield from _synchronous(ha)
    yield from _timings(ha)
    if ha.max_lag is not None:
        yield Wish("maxStandbyLag", ha.max_lag, ("spec", "ha", "maxLag"))
    if ha.rewind is not None:
        yield Wish("usePgrewind", ha.rewind, ("spec", "ha", "rewind"))
    if hba is not None:
        path = ("spec", "postgres", "hba")
        yield Wish("pgHBA", tuple(map(hba_line, hba)), path)
        yield Wish("defaultSUReplAccessMode", "strict", path)
    yield from _standby(ha.standby_of)
    # It restarts every node within a second of each other, the primary too.
    yield Wish("automaticPgRestart", False, ("spec", "ha"))


def _synchronous(ha: HighAvailability) -> Iterable[Wish]:
    path = ("spec", "ha", "synchronous")
    if isinstance(ha.synchronous, Synchronous):
        yield Wish("synchronousReplication", True, path)
        yield Wish("minSynchronousStandbys", ha.synchronous.min, path)
        yield Wish("maxSynchronousStandbys", ha.synchronous.max, path)
    elif ha.synchronous is False:
        yield Wish("synchronousReplication", False, path)


def _timings(ha: HighAvailability) -> Iterable[Wish]:
    if ha.timings is None:
        return
    profile = isinstance(ha.timings, str)
    values = _TIMINGS[ha.timings] if isinstance(ha.timings, str) else _single(ha)
    for name, value in values.items():
        yield Wish(name, value, ("spec", "ha", "timings") if profile else ("spec", "ha", "timings", name))


def _single(ha: HighAvailability) -> Mapping[str, str]:
    assert ha.timings is not None
    assert not isinstance(ha.timings, str)
    found: dict[str, str] = ha.timings.model_dump(by_alias=True, exclude_none=True)
    return found


def _standby(standby: StandbyOf | bool | None) -> Iterable[Wish]:
    path = ("spec", "ha", "standbyOf")
    if isinstance(standby, StandbyOf):
        user = f" user={standby.user}" if standby.user else ""
        restore = None if standby.restore_command is None else stored(standby.restore_command)
        yield Wish("role", "standby", path)
        yield Wish(f"{_SETTINGS}.primaryConninfo", f"host={standby.host} port={standby.port}{user}", path)
        yield Wish(f"{_SETTINGS}.primarySlotName", standby.slot, path)
        yield Wish(f"{_SETTINGS}.recoveryMinApplyDelay", standby.apply_delay, path)
        yield Wish(f"standbyConfig.{_RESTORE}", restore and _quoted(restore), path)
    elif standby is False:
        # standbyConfig stays: a sentinel that finds none beside a primary that still follows another cluster crashes
        yield Wish("role", "master", path)


def wishes_of_init(init: Init) -> Iterable[tuple[str, Value]]:
    """The fields that count only while a cluster is made."""
    yield "initMode", init.mode
    if init.mode == "new":
        yield "newConfig.locale", init.locale
        yield "newConfig.encoding", init.encoding
        yield "newConfig.dataChecksums", init.data_checksums
    elif init.mode == "existing":
        yield "existingConfig.keeperUID", init.keeper
    else:
        yield "pitrConfig.dataRestoreCommand", init.data_restore_command
        if init.restore_command is not None:
            yield f"pitrConfig.{_RESTORE}", _quoted(stored(init.restore_command))
        if init.target is not None:
            for name, value in init.target.model_dump(exclude_none=True).items():
                yield f"pitrConfig.recoveryTargetSettings.recoveryTarget{name.capitalize()}", _quoted(stored(value))


def slots_wished(declared: list[ReplicationSlotSpec], live: Iterable[str]) -> tuple[str, ...]:
    """The live additionalMasterReplicationSlots with the manifest's; stolon puts `stolon_` before each of them."""
    slots = {slot.name.removeprefix(SLOT_PREFIX): slot.ensure == "present" for slot in declared if kept_by_stolon(slot)}
    kept = [name for name in live if slots.get(name, True)]
    return (*kept, *(name for name, present in slots.items() if present and name not in kept))


def kept_by_stolon(slot: ReplicationSlotSpec) -> bool:
    """A physical slot named stolon_NAME: stolon makes it on every new primary, and alone takes it away."""
    return slot.plugin is None and slot.name.startswith(SLOT_PREFIX)


def _quoted(text: str) -> str:
    """As stolon writes recovery settings between single quotes without doubling those inside."""
    return text.replace("'", "''")
