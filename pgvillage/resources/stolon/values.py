"""The state of one value in stolon's specification."""

from __future__ import annotations

from dataclasses import dataclass

from pgvillage.core.state import State

Value = str | int | bool | tuple[str, ...] | None


@dataclass(frozen=True, slots=True, eq=False)
class ValueState(State):
    """Of equal values the types must be equal too: stolon tells true from 1."""

    value: Value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ValueState) and type(self.value) is type(other.value) and self.value == other.value

    def __hash__(self) -> int:
        return hash((type(self.value), self.value))
