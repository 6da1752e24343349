"""The state of one value in stolon's specification."""

from __future__ import annotations

from dataclasses import dataclass

from pgvillage.core.state import State


@dataclass(frozen=True, slots=True)
class ValueState(State):
    value: str | int | bool | None
