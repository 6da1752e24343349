# ruff: noqa: E501 - a table reads better with a case on a line
"""A Job's texts in the estate: what is told, where, and with which hint."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgvillage.core.errors import Diagnostic, ManifestError
from pgvillage.estate.loader import load_manifests
from pgvillage.estate.references import SettingsNames
from pgvillage.settings import Jobs

HEAD = "apiVersion: pgvillage/v1\nkind: {}\nmetadata: {{name: {}}}\nspec:\n"
CLUSTER = HEAD.format("Cluster", "c1") + (
    "  connection: {hosts: [a], credential: admin}\n  databases: [{name: shop_a}, {name: shop_b}]\n"
)
ROLE = HEAD.format("User", "etl") + "  clusters: {all: true}\n  login: false\n"
ROOT = HEAD.format("User", "boss") + "  clusters: {all: true}\n  login: false\n  superuser: true\n"
BASE = ("clusters: {all: true}", "databases: [shop_a]", "role: etl")
STEP = "steps: [{name: a, sql: SELECT 1}]"


def told(root: Path, *lines: str, base: tuple[str, ...] = BASE, allowed: Jobs | None = None) -> list[Diagnostic]:
    job = HEAD.format("Job", "j") + "".join(f"  {line}\n" for line in (*base, *lines))
    for name, text in (("c", CLUSTER), ("r", ROLE), ("s", ROOT), ("j", job)):
        (root / f"{name}.yaml").write_text(text)
    (root / "used.sql").write_text("SELECT :used;\nSELECT :lacking")
    (root / "latin.sql").write_bytes(b"SELECT '\xe9'")
    names = SettingsNames(frozenset({"admin"}), channels=frozenset({"dba"}), jobs=allowed or Jobs())
    try:
        return list(load_manifests(root, names).warnings)
    except ManifestError as error:
        return [each for each in error.diagnostics if each.severity == "error"]


@pytest.mark.parametrize(
    ("lines", "path", "message", "hint"),
    [
        ([STEP, "schedule: {cron: '0 0 31 2 *'}"], "spec.schedule.cron", "this day never comes", ""),
        ([STEP, "schedules: [{every: 5m}, {cron: '@dayly'}]"], "spec.schedules[1].cron", "unknown word @dayly", "@daily"),
        ([STEP, "schedule: {calendar: {at: ['02:00'], months: [feb], days: [30]}}"], "spec.schedule.calendar", "this day never comes", ""),
        ([STEP, "schedule: {calendar: {at: ['02:00'], nth: [1]}}"], "spec.schedule.calendar", "`nth` says which of the `weekdays`", ""),
        (["steps: [{name: a, sql: 'SELECT :x'}]"], "spec.steps[0].sql", "nothing gives the parameter x", "parameters"),
        (["parameters: {days: 1}", "steps: [{name: a, sql: 'SELECT :dais'}]"], "spec.steps[0].sql", "nothing gives the parameter dais", "did you mean days?"),
        (["parameters: {used: 1}", "steps: [{name: a, file: used.sql}]"], "spec.steps[0].file", "used.sql:2:8: nothing gives the parameter lacking", ""),
        (["steps: [{name: a, file: latin.sql}]"], "spec.steps[0].file", "latin.sql is not UTF-8 (byte 8)", ""),
        (["steps: [{name: a, sql: '-- no'}]"], "spec.steps[0].sql", "there is no statement in it", ""),
        (["steps: [{name: a, sql: VACUUM}]"], "spec.steps[0].sql", "VACUUM can't run in a transaction", "transaction: false"),
        (["steps: [{name: a, sql: 'SELECT 1; COMMIT'}]"], "spec.steps[0].sql", "line 1, column 11: COMMIT inside the step's transaction", ""),
        (["steps: [{name: a, sql: 'COPY t FROM STDIN'}]"], "spec.steps[0].sql", "line 1, column 13: COPY FROM STDIN", "INSERT"),
        (["steps: [{name: a, sql: SELECT 1, when: 'steps.b.rc == 0'}, {name: b, sql: SELECT 1}]"], "spec.steps[0].when", "step b may not have run yet", "needs: [b]"),
        (["steps: [{name: a, sql: SELECT 1, when: 'steps.bb.rc == 0'}, {name: b, sql: SELECT 1}]"], "spec.steps[0].when", "unknown step bb", "did you mean b?"),
        (["steps: [{name: b, sql: SELECT 1}, {name: a, sql: SELECT 1, needs: [b], when: \"steps.b.rows == 'x'\"}]"], "spec.steps[1].when", "a number is compared with text", "^"),
        (["steps: [{name: b, sql: SELECT 1}, {name: a, sql: SELECT 1, needs: [b], when: 'steps.b.row == 1'}]"], "spec.steps[1].when", "step b has no row", "did you mean rows?"),
        (["steps: [{name: a, sql: SELECT 1, when: 'matrix.x == 1'}]"], "spec.steps[0].when", "unknown name matrix.x", ""),
        ([STEP, "checks: [{name: c, sql: SELECT 1, expect: {matches: '(a'}}]"], "spec.checks[0].expect.matches", "this `(` is not closed", ""),
        ([STEP, "checks: [{name: c, expect: {that: 'rows > 1'}}]"], "spec.checks[0].expect.that", "unknown name rows", ""),
        (["parameters: {x: 1}", "steps: [{name: a, sql: 'SELECT :x', matrix: {x: [1]}}]"], "spec.steps[0].matrix.x", "x is a parameter of the Job already", ""),
        (["steps: [{name: a, shell: {command: [ls]}, transaction: true}]"], "spec.steps[0].transaction", "`transaction` is about SQL", ""),
        (["steps: [{name: a, shell: {command: [ls], on: local}}]"], "spec.steps[0].shell.on", "the settings allow no programs", "localShell"),
        (["steps: [{name: a, http: {url: 'https://x.example/a'}}]"], "spec.steps[0].http.url", "the settings allow no calls to x.example:443", "jobs.http"),
        (["steps: [{name: a, sql: SELECT 1, role: boss}]"], "spec.steps[0].role", "role boss is a superuser", "jobs.superuser"),
        (["steps: [{name: a, sql: SELECT 1, role: etll}]"], "spec.steps[0].role", "unknown role etll", "did you mean etl?"),
        ([STEP, "parameters: {k: {secret: nope}}"], "spec.parameters.k.secret", "no secret of the settings has this name", ""),
        ([STEP, "alerts: [{on: [failure], channel: dbb}]"], "spec.alerts[0].channel", "unknown channel dbb", "dba"),
    ],
)  # fmt: skip
def test_faults(tmp_path: Path, lines: list[str], path: str, message: str, hint: str) -> None:
    faults = told(tmp_path, *lines)
    assert [(f.path, message in f.message, hint in f.hint) for f in faults] == [(path, True, True)], faults


@pytest.mark.parametrize(
    ("base", "path", "message"),
    [
        (("clusters: {labels: {env: nowhere}}", *BASE[1:]), "spec.clusters", "this Job reaches no cluster: no cluster has the labels env=nowhere"),
        ((BASE[0], "databases: [{pattern: 'shop_x*'}]", BASE[2]), "spec.databases[0].pattern", "no database of cluster c1 fits shop_x*"),
        ((BASE[0], BASE[2]), "spec", "SQL needs `databases`"),
        (BASE[:2], "spec.steps[0]", "SQL without a `role` runs as the credential's own user"),
    ],
)  # fmt: skip
def test_reach(tmp_path: Path, base: tuple[str, ...], path: str, message: str) -> None:
    faults = told(tmp_path, STEP, base=base)
    assert [(f.path, message in f.message) for f in faults] == [(path, True)], faults


@pytest.mark.parametrize(
    ("lines", "base", "allowed"),
    [
        ([STEP, "schedule: {calendar: {at: ['02:00'], weekdays: [sun], nth: [1]}, timeZone: Europe/Amsterdam}"], BASE, Jobs()),
        ([STEP], (BASE[0], "databases: [{pattern: 'shop_*'}]"), Jobs(superuser=["j*"])),
        (["steps: [{name: a, http: {url: 'http://x.example:8080/a'}}]"], BASE[:1], Jobs(http=["*.example:8080"])),
        (["steps: [{name: a, shell: {script: ls, on: local}}]"], BASE[:1], Jobs(localShell=True)),
        (["parameters: {a: 1}", "steps: [{name: a, sql: 'SELECT :a, :b::text', matrix: {b: [1, x]}}]"], BASE, Jobs()),
    ],
)  # fmt: skip
def test_what_is_right(tmp_path: Path, lines: list[str], base: tuple[str, ...], allowed: Jobs) -> None:
    assert told(tmp_path, *lines, base=base, allowed=allowed) == []


def test_what_nothing_uses_is_a_warning(tmp_path: Path) -> None:
    faults = told(tmp_path, "parameters: {x: 1}", "steps: [{name: a, sql: SELECT 1, matrix: {y: [1]}}]")
    assert {(f.path, f.severity) for f in faults} == {
        ("spec.parameters.x", "warning"),
        ("spec.steps[0].matrix.y", "warning"),
    }
