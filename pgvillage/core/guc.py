"""A server parameter, as pg_settings has it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Guc:
    """One row of pg_settings."""

    name: str
    vartype: str
    unit: str | None
    context: str
    enumvals: tuple[str, ...]
    boot: str | None
    reset: str | None
    configured: bool
    pending_restart: bool
    minimum: str | None = None
    maximum: str | None = None
