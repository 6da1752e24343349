"""The states of what Patroni's configuration holds, and of what a node runs with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pgvillage.core.state import State


@dataclass(frozen=True, slots=True)
class ValueState(State):
    """A value, lines, or the pairs of an entry."""

    value: str | int | tuple[str, ...] | tuple[tuple[str, Any], ...] | None


@dataclass(frozen=True, slots=True)
class RunningState(State):
    """Values in force on one node of parameters that need a restart, by name in order."""

    values: tuple[tuple[str, str], ...]

    def as_fields(self) -> Mapping[str, Any]:
        return dict(self.values)


def running_of(values: Mapping[str, str]) -> RunningState:
    return RunningState(tuple(sorted(values.items())))
