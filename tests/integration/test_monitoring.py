"""Rules and dashboard with real Prometheus: every expression is one it takes, every metric one that the daemon has."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.conftest import EstateMaker
from tests.integration.daemon_process import Daemon, serving
from tests.integration.estate_builder import ROOT, cluster, user
from tests.servers import wait_until
from tests.servers.postgres import PostgresServer
from tests.servers.prometheus import prometheus

RULES = ROOT / "examples" / "monitoring" / "pgvillage-rules.yml"
DASHBOARD = ROOT / "examples" / "monitoring" / "grafana-dashboard.json"
_NAME = re.compile(r"\bpgvillage_[a-z_]+")


def panels() -> list[dict[str, Any]]:
    return list(json.loads(DASHBOARD.read_text())["panels"])


def expressions() -> list[str]:
    shown = [target["expr"] for panel in panels() for target in panel["targets"]]
    shown = [text.replace("$target", ".*").replace("$__rate_interval", "1m") for text in shown]
    alerts = [rule["expr"] for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
    return shown + alerts


@pytest.mark.parametrize("arguments", [["check", "rules", RULES], ["test", "rules", "tests/monitoring/rules_test.yml"]])
def test_promtool_is_content(arguments: list[str | Path]) -> None:
    done = subprocess.run(["promtool", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_dashboard_fits_its_grid() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
    assert len({panel["id"] for panel in panels()}) == len(panels())


@pytest.fixture
def daemon(pg: PostgresServer, estate_of: EstateMaker) -> Iterator[Daemon]:
    estate = estate_of(pg)
    estate.documents["c"] = [cluster("c", pg.host), user("ann", connectionLimit=3)]
    estate.commit()
    with serving(estate) as found:
        found.wait_for("applied")
        yield found


def test_prometheus_scrapes_the_daemon(daemon: Daemon, tmp_path: Path) -> None:
    with prometheus(tmp_path / "prometheus", daemon.address, RULES) as server:
        assert_known(daemon)
        assert [rule["name"] for group in server.get("rules")["groups"] for rule in group["rules"]]
        wait_until(lambda: server.query("pgvillage_target_reachable == 1"), "a scraped target")
        assert [sample["metric"]["target"] for sample in server.query("pgvillage_target_info")] == ["c"]
        for text in expressions():
            server.query(text)
        wait_until(lambda: server.query("time() - pgvillage_last_observed_timestamp_seconds < 60"), "a fresh look")
        firing = server.query('ALERTS{alertstate="firing"}')
        assert not firing


def assert_known(daemon: Daemon) -> None:
    """Counters without a sample yet are known by their HELP line."""
    text = daemon.get("/metrics")[1]
    used = {name for expression in expressions() for name in _NAME.findall(expression)}
    missing = {name for name in used if f"# HELP {name} " not in text}
    assert not missing
