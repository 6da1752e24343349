"""stolon's cluster spec: its fields with their defaults, how a patch changes it, and what stolon accepts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from pgvillage.resources.stolon.durations import HOUR, SECOND, format_go_duration, parse_go_duration

_RESERVED_SLOT_PREFIX = "stolon_"
_SLOT_NAME = re.compile(r"[a-z0-9_]+\Z")


class FieldType(Enum):
    """How a field stands in the JSON."""

    DURATION = "a duration such as 30s"
    INTEGER = "a whole number"
    BOOLEAN = "true or false"
    ENUM = "a word"
    TEXT = "a text"
    TEXTS = "a list of texts"
    PARAMETERS = "a mapping of texts to texts"
    STRUCT = "a mapping"


@dataclass(frozen=True, slots=True)
class SpecField:
    """One field. Ranges hold for numbers and, in nanoseconds, for durations; `parts` are the fields of a STRUCT.

    `default` is the normalised value of a field that is absent or null.
    """

    name: str
    type: FieldType
    default: Any = None
    lowest: int = 0
    highest: int = (1 << 63) - 1
    choices: tuple[str, ...] = ()
    parts: Mapping[str, SpecField] = field(default_factory=dict)
    immutable: bool = False


def _table(*fields: SpecField) -> dict[str, SpecField]:
    return {each.name: each for each in fields}


def _duration(name: str, seconds: int) -> SpecField:
    return SpecField(name, FieldType.DURATION, format_go_duration(seconds * SECOND))


def _count(name: str, default: int, lowest: int, bits: int = 16) -> SpecField:
    return SpecField(name, FieldType.INTEGER, default, lowest, (1 << bits) - 1)


def _switch(name: str, default: bool) -> SpecField:
    return SpecField(name, FieldType.BOOLEAN, default)


def _texts_of(name: str, *names: str) -> SpecField:
    return _struct(name, *(SpecField(each, FieldType.TEXT, "") for each in names))


def _struct(name: str, *parts: SpecField) -> SpecField:
    return SpecField(name, FieldType.STRUCT, parts=_table(*parts))


_ARCHIVE = _texts_of("archiveRecoverySettings", "restoreCommand")

SPEC_FIELDS: Mapping[str, SpecField] = _table(
    _duration("sleepInterval", 5),
    _duration("requestTimeout", 10),
    _duration("convergenceTimeout", 30),
    _duration("initTimeout", 300),
    _duration("syncTimeout", 0),
    _duration("dbWaitReadyTimeout", 60),
    _duration("failInterval", 20),
    _duration("deadKeeperRemovalInterval", 48 * HOUR // SECOND),
    _duration("proxyCheckInterval", 5),
    _duration("proxyTimeout", 15),
    _count("maxStandbys", 20, lowest=1),
    _count("maxStandbysPerSender", 3, lowest=1),
    _count("maxStandbyLag", 1024 * 1204, lowest=0, bits=32),
    _switch("synchronousReplication", default=False),
    _count("minSynchronousStandbys", 1, lowest=0),
    _count("maxSynchronousStandbys", 1, lowest=1),
    _count("additionalWalSenders", 5, lowest=0),
    SpecField("additionalMasterReplicationSlots", FieldType.TEXTS, []),
    _switch("usePgrewind", default=False),
    SpecField("initMode", FieldType.ENUM, choices=("new", "existing", "pitr"), immutable=True),
    _switch("mergePgParameters", default=True),
    SpecField("role", FieldType.ENUM, "master", choices=("master", "standby")),
    _struct(
        "newConfig",
        SpecField("locale", FieldType.TEXT, ""),
        SpecField("encoding", FieldType.TEXT, ""),
        _switch("dataChecksums", default=False),
    ),
    _struct(
        "pitrConfig",
        SpecField("dataRestoreCommand", FieldType.TEXT, ""),
        _ARCHIVE,
        _texts_of(
            "recoveryTargetSettings",
            "recoveryTarget",
            "recoveryTargetLsn",
            "recoveryTargetName",
            "recoveryTargetTime",
            "recoveryTargetXid",
            "recoveryTargetTimeline",
        ),
    ),
    _texts_of("existingConfig", "keeperUID"),
    _struct(
        "standbyConfig",
        _texts_of("standbySettings", "primaryConninfo", "primarySlotName", "recoveryMinApplyDelay"),
        _ARCHIVE,
    ),
    SpecField("defaultSUReplAccessMode", FieldType.ENUM, "all", choices=("all", "strict")),
    SpecField("pgParameters", FieldType.PARAMETERS, {}),
    # null is not the empty list: with null stolon lets everybody in by password
    SpecField("pgHBA", FieldType.TEXTS),
    _switch("automaticPgRestart", default=False),
)


def normalise(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Every field of stolon's, absent and null ones with their defaults, durations in Go's spelling; the rest dropped.

    Two specs mean the same exactly when this is equal. Raises ValueError for values that stolon could not read.
    """
    faults = list(_faults_of_fields(spec))
    if faults:
        raise ValueError("; ".join(faults))
    return {name: _normal(each, spec.get(name)) for name, each in SPEC_FIELDS.items()}


def _normal(each: SpecField, value: Any) -> Any:
    if value is None:
        return each.default.copy() if isinstance(each.default, dict | list) else each.default
    if each.type is FieldType.DURATION:
        return format_go_duration(parse_go_duration(str(value)))
    if each.type is FieldType.STRUCT:
        parts = {name: _normal(part, value.get(name)) for name, part in each.parts.items()}
        return {name: part for name, part in parts.items() if part not in (None, "", False)}
    # Go reads a null inside a list or mapping of texts as the empty text
    if each.type is FieldType.TEXTS:
        return [text or "" for text in value]
    if each.type is FieldType.PARAMETERS:
        return {name: text or "" for name, text in value.items()}
    return value


def merge_patch(spec: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON merge patch (RFC 7386): null deletes, mappings merge, everything else replaces; neither is changed."""
    merged = dict(spec)
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, Mapping):
            below = merged.get(name)
            merged[name] = merge_patch(below if isinstance(below, Mapping) else {}, value)
        else:
            merged[name] = value
    return merged


def nested(values: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """A patch of fields named with dots where they stand inside others; unlike in a merge null stays, as it deletes."""
    patch: dict[str, Any] = {}
    for name, value in values:
        *above, last = name.split(".")
        holder = patch
        for part in above:
            holder = holder.setdefault(part, {})
        holder[last] = list(value) if isinstance(value, tuple) else value
    return patch


def spec_field(name: str) -> SpecField | None:
    """The field of this dotted name; None where stolon knows none."""
    first, *below = name.split(".")
    found = SPEC_FIELDS.get(first)
    for part in below:
        found = found.parts.get(part) if found else None
    return found


def unknown_fields(spec: Mapping[str, Any]) -> list[str]:
    """Paths of fields that stolon does not know and would drop without a word."""
    return list(_unknown(spec, SPEC_FIELDS, ""))


def _unknown(spec: Mapping[str, Any], fields: Mapping[str, SpecField], above: str) -> Iterator[str]:
    for name, value in spec.items():
        each = fields.get(name)
        if each is None:
            yield above + name
        elif each.parts and isinstance(value, Mapping):
            yield from _unknown(value, each.parts, f"{above}{name}.")


def validate_spec(spec: Mapping[str, Any]) -> list[str]:
    """Every reason why stolon would not take this spec; empty when it would."""
    return list(_faults_of_fields(spec)) or list(_faults_between_fields(normalise(spec)))


def validate_change(live: Mapping[str, Any], desired: Mapping[str, Any]) -> list[str]:
    """Every reason why stolon would not change its spec from `live` to `desired`."""
    faults = validate_spec(desired)
    if faults:
        return faults
    if not live:  # a cluster that is to be made
        return faults
    for name, each in SPEC_FIELDS.items():
        if each.immutable and live.get(name) != desired.get(name):
            faults.append(f"{name} cannot be changed: it is {live.get(name)!r} since the cluster was initialised")
    if (live.get("role") or "master") == "master" and desired.get("role") == "standby":
        faults.append("role cannot be changed from master to standby; initialise a new cluster as standby")
    return faults


def _faults_of_fields(spec: Mapping[str, Any]) -> Iterator[str]:
    for name, each in SPEC_FIELDS.items():
        yield from _faults(each, name, spec.get(name))


def _faults(each: SpecField, path: str, value: Any) -> Iterator[str]:
    if value is None:
        return
    if not _has_type(each.type, value):
        # texts are not shown: a connection string may hold a password
        yield f"{path}: expected {each.type.value}, found {_kind(value)}"
    elif each.type is FieldType.DURATION:
        yield from _faults_of_duration(path, str(value))
    elif each.type is FieldType.INTEGER and not each.lowest <= value <= each.highest:
        yield f"{path}: expected a whole number from {each.lowest} to {each.highest}, found {value}"
    elif each.type is FieldType.ENUM and value not in each.choices:
        yield f"{path}: expected one of {', '.join(each.choices)}, found {value!r}"
    elif each.type is FieldType.STRUCT:
        for name, part in each.parts.items():
            yield from _faults(part, f"{path}.{name}", value.get(name))


def _has_type(kind: FieldType, value: Any) -> bool:
    if kind is FieldType.DURATION:  # stolon takes a bare zero, and no other bare number
        return isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool) and value == 0)
    if kind is FieldType.INTEGER:
        return isinstance(value, int) and not isinstance(value, bool)
    if kind is FieldType.TEXTS:
        return isinstance(value, list) and _are_texts(value)
    if kind is FieldType.PARAMETERS:
        return isinstance(value, Mapping) and _are_texts(value.values())
    return isinstance(value, {FieldType.BOOLEAN: bool, FieldType.STRUCT: Mapping}.get(kind, str))


def _are_texts(values: Iterable[object]) -> bool:
    return all(value is None or isinstance(value, str) for value in values)


def _kind(value: Any) -> str:
    names = {bool: "true or false", int: "a number", float: "a number", str: "a text", list: "a list"}
    inside = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    mixed = " that holds other things" if any(not isinstance(each, str) for each in inside) else ""
    return names.get(type(value), "a mapping") + mixed


def _faults_of_duration(path: str, value: str) -> Iterator[str]:
    try:
        if parse_go_duration(value) < 0:
            yield f"{path}: expected a duration of zero or more, found {value}"
    except ValueError as error:
        yield f"{path}: {error}"


def _faults_between_fields(spec: Mapping[str, Any]) -> Iterator[str]:
    """Of a normalised spec."""
    interval, limit = spec["proxyCheckInterval"], spec["proxyTimeout"]
    if parse_go_duration(interval) >= parse_go_duration(limit):
        yield f"proxyCheckInterval ({interval}) must be less than proxyTimeout ({limit})"
    least, most = spec["minSynchronousStandbys"], spec["maxSynchronousStandbys"]
    if most < least:
        yield f"maxSynchronousStandbys ({most}) must be at least minSynchronousStandbys ({least})"
    for slot in spec["additionalMasterReplicationSlots"]:
        if not _SLOT_NAME.match(slot):
            yield f"additionalMasterReplicationSlots: {slot!r} is no slot name: use a-z, 0-9 and _"
        elif slot.startswith(_RESERVED_SLOT_PREFIX):
            yield f"additionalMasterReplicationSlots: {slot!r} is reserved: stolon's own slots begin with stolon_"
    for number, line in enumerate(spec["pgHBA"] or ()):
        if "\n" in line:
            yield f"pgHBA[{number}]: an entry is one line; it holds a line break"
    yield from _faults_of_init(spec)


def _faults_of_init(spec: Mapping[str, Any]) -> Iterator[str]:
    standby = spec["role"] == "standby"
    mode, restore = spec["initMode"], spec["pitrConfig"] or {}
    if mode is None:
        yield "initMode is missing: expected one of new, existing, pitr"
    elif mode == "new" and standby:
        yield "role standby needs initMode existing or pitr, not new"
    elif mode == "existing" and not (spec["existingConfig"] or {}).get("keeperUID"):
        yield "existingConfig.keeperUID is missing: initMode existing needs it"
    elif mode == "pitr" and not restore.get("dataRestoreCommand"):
        yield "pitrConfig.dataRestoreCommand is missing: initMode pitr needs it"
    elif mode == "pitr" and standby and "recoveryTargetSettings" in restore:
        yield "pitrConfig.recoveryTargetSettings makes no sense for role standby, which never stops recovering"
    if standby and spec["standbyConfig"] is None:
        yield "standbyConfig is missing: role standby needs it"
