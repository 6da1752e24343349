"""Kinds of resources, one module each, found by scanning this folder. Pure: no client is imported here."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from pgvillage.core.plan import System
from pgvillage.engine.kind import Kind


@cache
def kinds(system: System) -> dict[str, Kind]:
    """Every kind of `system` by name, in the order that steps of one wave run in (a module's ORDER, then its name)."""
    package = importlib.import_module(f"pgvillage.resources.{system.value}")
    found: list[tuple[int, Kind]] = []
    for module_info in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        module = importlib.import_module(module_info.name)
        if (kind := getattr(module, "KIND", None)) is not None:
            found.append((module.ORDER, kind))
    return {kind.name: kind for _, kind in sorted(found, key=lambda pair: (pair[0], pair[1].name))}
