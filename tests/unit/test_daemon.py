"""The daemon's parts without servers: notices, metrics with hostile names, and a loop that nothing ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection
from typing import Any

import pytest
import structlog
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from pgvillage.core.errors import PgVillageError, SettingsError
from pgvillage.core.plan import Gate
from pgvillage.daemon.http import http_app
from pgvillage.daemon.look import Look
from pgvillage.daemon.metrics import Metrics
from pgvillage.daemon.notices import Notices
from pgvillage.daemon.reconciler import Reconciler
from pgvillage.daemon.service import _socket
from pgvillage.settings import Serve
from tests.unit.report_plans import HOSTILE, drifted, full_plan, full_run, plan, role, target


class Nobody:
    """Chat that hears nothing."""

    async def looked(self, _: Look) -> None: ...
    async def keep(self, _: Collection[str]) -> None: ...
    async def estate_read(self, _: str, problem: str = "") -> None: ...


def notices() -> Notices:
    return Notices(Nobody())  # type: ignore[arg-type]


@pytest.mark.parametrize("name", HOSTILE)
def test_metrics_can_be_read_whatever_the_names(name: str) -> None:
    metrics = Metrics()
    metrics.planned(full_plan(name))
    metrics.planned(plan(target(drifted("x"), cluster=name, gates=(Gate(name, "no"),))))
    metrics.ran(full_run(name))
    metrics.delivered(name, "failed")
    families = list(text_string_to_metric_families(metrics.text().decode()))
    samples = [s for family in families for s in family.samples]
    drift = [s for s in samples if s.name == "pgvillage_drift_changes"]
    assert [(s.labels["target"], s.value) for s in drift] == [(name, 1)]
    assert [s.labels["channel"] for s in samples if s.name == "pgvillage_notify_deliveries_total"] == [name]


def test_gauges_of_targets_that_are_gone_are_gone() -> None:
    metrics = Metrics()
    metrics.planned(plan(target(cluster="old"), target(cluster="kept")))
    metrics.planned(plan(target(cluster="kept"), target(role("x", None, None), cluster="new")))
    text = metrics.text().decode()
    assert 'target="old"' not in text
    assert text.count('pgvillage_last_observed_timestamp_seconds{target="') == 2


class Broken:
    """A World in which nothing works, in one way after the other."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.asked = 0

    def checkout(self, revision: str | None = None) -> Any:
        self.asked += 1
        raise self.errors[min(self.asked, len(self.errors)) - 1]


async def test_no_exception_ends_the_loop() -> None:
    def head() -> str:
        raise RuntimeError("planted")

    planted = ZeroDivisionError("planted-secret")
    group = ExceptionGroup("several", [KeyError("planted-secret"), PgVillageError("known")])
    world = Broken(PgVillageError("first"), planted, group, planted)
    metrics = Metrics()
    serve = Serve(poll=0.01, observe=0.01)
    loop = Reconciler(world, serve, head, notices(), metrics)  # type: ignore[arg-type]
    stop = asyncio.Event()
    with structlog.testing.capture_logs() as logs:
        running = asyncio.create_task(loop.run(stop))
        async with asyncio.timeout(10):
            while world.asked < 5:
                await asyncio.sleep(0.01)
        assert loop.alive
        assert not loop.ready
        stop.set()
        await asyncio.wait_for(running, 5)
    rounds = [entry for entry in logs if entry["event"] == "round failed"]
    assert [entry.get("type", entry["error"]) for entry in rounds[:4]] == [
        "first", "ZeroDivisionError", "KeyError", "known",
    ]  # fmt: skip
    assert rounds[1]["where"].startswith("test_daemon.py:")
    assert {entry["type"] for entry in logs if entry["event"] == "repository not read"} == {"RuntimeError"}
    assert "planted" not in str(logs)
    assert f'pgvillage_cycle_total{{result="failed"}} {world.asked}.0' in metrics.text().decode()


async def test_alive_is_not_said_of_a_loop_that_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = Reconciler(Broken(), Serve(observe=300), str, notices(), Metrics())  # type: ignore[arg-type]
    client = TestClient(http_app(loop, Metrics()))
    assert client.get("/healthz").status_code == 200
    assert client.get("/readyz").status_code == 503
    later = time.monotonic() + 4000
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert client.get("/healthz").status_code == 503


@pytest.mark.parametrize(
    "listen", ["8432", "host:", ":8432", "127.0.0.1:99999", "127.0.0.1:x", "no.such.host.invalid:1"]
)
def test_an_address_that_can_not_be_is_a_clear_error(listen: str) -> None:
    with pytest.raises(SettingsError, match=r"^serve\.listen: "):
        _socket(listen)
