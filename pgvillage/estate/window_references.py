"""What a window of the Estate's policy names: a time zone, labels of clusters."""

from __future__ import annotations

import zoneinfo
from collections.abc import Iterator

from pgvillage.core.errors import Diagnostic
from pgvillage.estate.explain_errors import suggestion
from pgvillage.estate.located import Manifests


def window_faults(manifests: Manifests) -> Iterator[Diagnostic]:
    """Time zones that are none; a window that can't be told would keep a restart waiting for ever."""
    estate = manifests.estate
    for index, window in enumerate(estate.document.spec.policy.windows if estate else ()):
        name = window.time_zone
        if estate is None or name == "UTC" or _is_known(name):
            continue
        known = zoneinfo.available_timezones()
        hint = suggestion(name, known) if known else "this machine has no time zone database: install tzdata"
        yield estate.fault(f"unknown time zone {name}", "spec", "policy", "windows", index, "timeZone", hint=hint)


def _is_known(name: str) -> bool:
    try:
        zoneinfo.ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return False
    return True
