"""For all tests: in CI (PGVILLAGE_CI is set) a test that is skipped has failed, because a server is missing."""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest

Reports = Generator[None, pytest.TestReport, pytest.TestReport]
CollectReports = Generator[None, pytest.CollectReport, pytest.CollectReport]


def _refused(report: pytest.TestReport | pytest.CollectReport) -> bool:
    return report.outcome == "skipped" and not hasattr(report, "wasxfail") and bool(os.environ.get("PGVILLAGE_CI"))


def _fail(report: pytest.TestReport | pytest.CollectReport) -> None:
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
    report.outcome = "failed"
    report.longrepr = f"CI skips nothing, and this was skipped: {reason}"


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item) -> Reports:
    report = yield
    if _refused(report) and item.get_closest_marker("registry_free") is None:
        _fail(report)
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report() -> CollectReports:
    """A whole module that skips itself (importorskip) is no better."""
    report = yield
    if _refused(report):
        _fail(report)
    return report
