"""The daemon's parts without servers: metrics with hostile names, addresses."""

from __future__ import annotations

import asyncio

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pgvillage.core.errors import SettingsError
from pgvillage.core.plan import Gate
from pgvillage.daemon.listening import bound
from pgvillage.daemon.metrics import Metrics
from pgvillage.daemon.turns import Turns
from tests.unit.report_plans import HOSTILE, drifted, full_plan, full_run, plan, role, target


@pytest.mark.parametrize("name", HOSTILE)
def test_metrics_can_be_read_whatever_the_names(name: str) -> None:
    metrics = Metrics()
    metrics.planned(full_plan(name))
    metrics.planned(plan(target(drifted("x"), cluster=name, gates=(Gate(name, "no"),))))
    for ran in full_run(name).targets:
        metrics.ran(ran)
    metrics.delivered(name, "failed")
    families = list(text_string_to_metric_families(metrics.text().decode()))
    samples = [s for family in families for s in family.samples]
    drift = {s.labels["target"]: s.value for s in samples if s.name == "pgvillage_drift_changes"}
    assert drift == {"orders": 2, name: 1}
    assert [s.labels["channel"] for s in samples if s.name == "pgvillage_notify_deliveries_total"] == [name]


async def test_gauges_of_targets_that_are_gone_are_gone() -> None:
    metrics = Metrics()
    metrics.planned(plan(target(drifted("x"), cluster="old", gates=(Gate("no", "no"),)), target(cluster="kept")))
    metrics.planned(plan(target(cluster="kept"), target(role("x", None, None), cluster="new")))
    assert 'target="old"' in metrics.text().decode()
    await metrics.keep({"kept", "new"})
    text = metrics.text().decode()
    assert 'target="old"' not in text
    assert text.count('pgvillage_last_observed_timestamp_seconds{target="') == 2


@pytest.mark.parametrize(
    "listen", ["8432", "host:", ":8432", "127.0.0.1:99999", "127.0.0.1:x", "no.such.host.invalid:1"]
)
def test_an_address_that_can_not_be_is_a_clear_error(listen: str) -> None:
    with pytest.raises(SettingsError, match=r"^serve\.listen: "):
        bound(listen)


async def test_who_works_and_who_waits_is_counted_when_asked() -> None:
    metrics, turns = Metrics(), [Turns(1)]
    metrics.working_by(lambda: turns[0])

    def counted() -> tuple[float | None, float | None]:
        of = metrics.registry.get_sample_value
        return of("pgvillage_looks_working"), of("pgvillage_looks_waiting")

    async def work(may_end: asyncio.Event) -> None:
        async with turns[0].turn(failing=False):
            await may_end.wait()

    end = asyncio.Event()
    tasks = [asyncio.create_task(work(end)) for _ in range(3)]
    await asyncio.sleep(0)
    assert counted() == (1, 2)
    end.set()
    await asyncio.gather(*tasks)
    assert counted() == (0, 0)
    turns[0] = Turns(2)
    async with turns[0].turn(failing=False):
        assert counted() == (1, 0)
