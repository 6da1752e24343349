"""A stolon cluster that is not there yet: the document that `stolonctl init` would write, and what it would cost."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pgvillage.core.address import quote_part
from pgvillage.core.change import Risk
from pgvillage.core.state import State
from pgvillage.engine.kind import Judgement
from pgvillage.estate.manifest.ha import Init
from pgvillage.resources.stolon.clusterdata import FORMAT_VERSION
from pgvillage.resources.stolon.spec import nested
from pgvillage.resources.stolon.wishes import wishes_of_init

INIT = ("init", "cluster")
_NEVER = "0001-01-01T00:00:00Z"  # Go's zero time


@dataclass(frozen=True, slots=True)
class InitialState(State):
    """`specification` is the whole of what the cluster begins with, as JSON."""

    specification: str


def skeleton() -> bytes:
    """A cluster with a uid of its own and an empty specification, which a patch fills; stolon's sentinel does the
    rest. Every call has another uid.
    """
    now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    cluster: Mapping[str, Any] = {
        "uid": secrets.token_hex(4),
        "generation": 1,
        "changeTime": now,
        "spec": {},
        "status": {"phase": "initializing"},
    }
    proxy: Mapping[str, Any] = {"changeTime": _NEVER, "spec": {}, "status": {}}
    whole = {
        "formatVersion": FORMAT_VERSION,
        "changeTime": _NEVER,
        "cluster": cluster,
        "keepers": {},
        "dbs": {},
        "proxy": proxy,
    }
    return json.dumps(whole).encode()


def patch_of_init(init: Init) -> dict[str, Any]:
    return nested((name, value) for name, value in wishes_of_init(init) if value is not None)


def judge_init(init: Init, systems: Mapping[str, str]) -> Judgement:
    """`systems` are the keepers that wait for a cluster: uid, and the system identifier of the data they hold ("":
    none). stolon empties a keeper's data folder for mode new and mode pitr without asking.
    """
    holding = sorted(keeper for keeper, system in systems.items() if system)
    names = ", ".join(map(quote_part, holding))
    if init.mode == "existing":
        keeper = init.keeper or ""
        known = ", ".join(map(quote_part, sorted(systems))) or "none"
        if keeper not in systems:
            words = f"keeper {quote_part(keeper)} does not run (running: {known}): start it, or correct ha.init.keeper"
            return Judgement(Risk.CHANGE, refused=words)
        others = [each for each in holding if each != keeper]
        return Judgement(Risk.LOSS if others else Risk.CHANGE)
    if holding and init.mode == "new":
        words = (
            f"keepers that hold data wait for a cluster ({names}), and mode new would wipe it. Was clusterdata lost? "
            f"Take the data up with `init: {{mode: existing, keeper: {quote_part(holding[0])}}}`; else empty their "
            "data folders first"
        )
        return Judgement(Risk.LOSS, refused=words)
    return Judgement(Risk.LOSS if holding else Risk.CHANGE)
