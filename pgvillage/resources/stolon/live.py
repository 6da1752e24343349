"""What was read of a stolon cluster, as states: its specification without what nobody may see."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pgvillage.core.address import Address
from pgvillage.core.live import Live
from pgvillage.core.state import State
from pgvillage.core.topology import Topology
from pgvillage.estate.hba_text import masked_line
from pgvillage.resources.stolon.clusterdata import ClusterData, parse_clusterdata
from pgvillage.resources.stolon.initial import INIT
from pgvillage.resources.stolon.nodes import Presence, parse_presence
from pgvillage.resources.stolon.spec import normalise
from pgvillage.resources.stolon.values import ValueState

_CONNINFO_SECRET = re.compile(r"(password\s*=\s*)('(?:[^'\\]|\\.)*'|\S+)", re.IGNORECASE)
_ONCE = frozenset({"newConfig", "pitrConfig", "existingConfig"})  # they count only while a cluster is made
_KEEPER = "keepers/info/"


@dataclass(frozen=True, slots=True)
class Found:
    """`data` is None where there is no cluster yet; `spec` is normalised. `systems` are the keepers with a lease and
    the system identifier of the data that each holds, "" for none.
    """

    data: ClusterData | None
    spec: Mapping[str, Any] = field(default_factory=dict)
    presence: Presence | None = None
    systems: Mapping[str, str] = field(default_factory=dict)
    topology: Topology | None = None
    login: str = ""  # the role that PgVillage logs in as, over the network

    @classmethod
    def of(cls, live: Live) -> Found:
        """Raises NotClusterData or ValueError for what stolon could not read either."""
        keys = live.rows.get("keys")
        presence = parse_presence(keys) if keys is not None else None
        systems = dict(_systems(keys or ()))
        rows = live.rows["clusterdata"]
        login = next((str(name) for (name,) in live.rows.get("login", ())), "")
        if not rows:
            return cls(None, {}, presence, systems, live.topology, login)
        data = parse_clusterdata(rows[0][0])
        return cls(data, normalise(data.spec), presence, systems, live.topology, login)


def _systems(keys: Iterable[Sequence[Any]]) -> Iterator[tuple[str, str]]:
    for name, value, leased, _ in keys:
        if isinstance(name, str) and name.startswith(_KEEPER) and leased:
            yield name.removeprefix(_KEEPER), _system_of(value)


def _system_of(value: bytes) -> str:
    try:
        system = json.loads(value)["postgresState"]["systemID"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
    return system if isinstance(system, str) else ""


def states_of(target: str, kind: str, found: Found) -> dict[Address, State]:
    if found.data is None:
        return {}
    states: dict[Address, State] = {Address(target, kind, INIT): ValueState(str(found.spec["initMode"]))}
    for name, value in found.spec["pgParameters"].items():
        states[Address(target, kind, ("parameter", name))] = ValueState(value)
    for name, value in _leaves(found.spec):
        states[Address(target, kind, ("field", name))] = ValueState(value)
    return states


def _leaves(spec: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str | int | bool | tuple[str, ...]]]:
    for name, value in spec.items():
        if name == "pgParameters" or name in _ONCE or value is None:
            continue
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{above}{name}.")
        elif isinstance(value, list):
            yield above + name, tuple(map(masked_line, value))
        elif name == "primaryConninfo":
            yield above + name, _CONNINFO_SECRET.sub(r"\1…", value)
        else:
            yield above + name, value
