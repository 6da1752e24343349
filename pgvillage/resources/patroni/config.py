"""Patroni's dynamic configuration as a document: reading it, and merging a patch into it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pgvillage.resources.patroni.wishes import faults_of


def merged(config: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """As Patroni's own PATCH /config: null takes away, mappings merge, all else replaces; neither is changed."""
    found = dict(config)
    for name, value in patch.items():
        if value is None:
            found.pop(name, None)
        elif isinstance(value, Mapping):
            below = found.get(name)
            found[name] = merged(below if isinstance(below, Mapping) else {}, value)
        else:
            found[name] = list(value) if isinstance(value, tuple) else value
    return found


def patched(document: bytes, patch: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The whole configuration with the patch merged, and every reason why Patroni would not take it as it is."""
    try:
        config = json.loads(document)
    except (ValueError, RecursionError):
        config = None
    if not isinstance(config, dict):
        return {}, ["the configuration in etcd is not a JSON object"]
    whole = merged(config, patch)
    return whole, list(faults_of(whole))


def at(config: Mapping[str, Any], path: Sequence[str]) -> Any:
    """What stands at this path, None where nothing does."""
    found: Any = config
    for part in path:
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def patch_at(path: Sequence[str], value: Any) -> dict[str, Any]:
    """The merge patch that sets what stands at this path."""
    found: Any = value
    for part in reversed(path):
        found = {part: found}
    return dict(found)
