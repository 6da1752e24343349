"""`pgvillage doctor`: one line a check, and what to do about each that failed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.conftest import EstateMaker
from tests.integration.estate_builder import EXIT_DONE, EXIT_ERROR, EstateBuilder, cluster, free_policy, group, user
from tests.integration.test_explain import LDIF
from tests.integration.warm_command import run_here
from tests.servers import free_port
from tests.servers.postgres import PostgresServer


@pytest.fixture
def estate(pg: PostgresServer, estate_of: EstateMaker, tmp_path: Path) -> EstateBuilder:
    (tmp_path / "people.ldif").write_text(LDIF)
    (tmp_path / "secret").write_text("planted-app-password")
    made = estate_of(pg)
    made.settings["directories"] = {"corp": {"ldif": str(tmp_path / "people.ldif"), "base": "dc=example,dc=test"}}
    made.settings["secrets"] = {"app": {"file": str(tmp_path / "secret")}}
    members = {"directory": "corp", "group": "cn=dba,dc=example,dc=test"}
    made.documents["all"] = [
        free_policy(), cluster("c", pg.host), group("dbas", members=members),
        user("app", auth={"method": "scram", "password": {"secret": "app"}}),
    ]  # fmt: skip
    made.commit()
    made.settings_file.chmod(0o600)
    return made


def examine(estate: EstateBuilder, code: int) -> dict[str, str]:
    """The failed lines by the check's name, or all when all is well."""
    out = run_here(estate, "doctor").done(code).out
    assert "planted" not in out
    lines = [line for line in out.splitlines() if line[0] in "✓✗"]
    assert len(lines) == len(out.splitlines()) - 1, out
    marked = [line for line in lines if line[0] == ("✗" if code else "✓")]
    return {line[2:].split(" ", 1)[0]: line[2:].split(" ", 1)[1].strip() for line in marked}


def test_all_is_well(estate: EstateBuilder) -> None:
    found = examine(estate, EXIT_DONE)
    assert list(found) == ["python", "git", "settings", "secrets", "estate", "directory", "c"]
    assert found["directory"] == "1 person found"
    assert found["c"].startswith("PostgreSQL ")
    assert "1 cluster, all manifests valid" in found["estate"]


def _no_git(estate: EstateBuilder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")


def _writable(estate: EstateBuilder, monkeypatch: pytest.MonkeyPatch) -> None:
    estate.settings_file.chmod(0o666)


def _no_secret(estate: EstateBuilder, monkeypatch: pytest.MonkeyPatch) -> None:
    (estate.folder.parent / "secret").unlink()


def _broken(estate: EstateBuilder, monkeypatch: pytest.MonkeyPatch) -> None:
    estate.documents["all"].append(user("b", lgin=True))
    estate.commit()
    estate.settings_file.chmod(0o600)


def _settings(estate: EstateBuilder, **more: object) -> None:
    estate.settings.update(more)
    estate.settings_file.write_text(json.dumps(estate.settings))


def _no_directory(estate: EstateBuilder, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = f"ldap://127.0.0.1:{free_port()}"
    _settings(estate, directories={"corp": {"uris": [uri], "base": "dc=example,dc=test", "timeout": 2}})


def _postgres_down(estate: EstateBuilder, monkeypatch: pytest.MonkeyPatch) -> None:
    estate.documents["all"][1] = cluster("c", f"127.0.0.1:{free_port()}")
    estate.commit()
    estate.settings_file.chmod(0o600)


def _wrong_password(estate: EstateBuilder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WRONG", "planted-wrong-password")
    credential = {**estate.settings["credentials"]["admin"], "password": {"env": "WRONG"}}
    _settings(estate, credentials={"admin": credential})


def _no_password(estate: EstateBuilder, monkeypatch: pytest.MonkeyPatch) -> None:
    credential = {**estate.settings["credentials"]["admin"], "password": {"env": "PGVILLAGE_TEST_UNSET"}}
    _settings(estate, credentials={"admin": credential})


def _no_repository(estate: EstateBuilder, monkeypatch: pytest.MonkeyPatch) -> None:
    _settings(estate, repository={"url": "/nowhere/at/all"})


@pytest.mark.parametrize(
    ("trouble", "check", "words"),
    [
        (_no_git, "git", ["apt-get install git"]),
        (_writable, "settings", ["can be written by others", "chmod go-w"]),
        (_no_secret, "secrets", ["app (look at the file"]),
        (_broken, "estate", ["1 error in the estate", "all.yaml:", "lgin", "`pgvillage validate`"]),
        (_no_directory, "directory", ["corp", "127.0.0.1"]),
        (_postgres_down, "c", ["refused"]),
        (_wrong_password, "c", ["password authentication failed"]),
        (_no_password, "c", ["PGVILLAGE_TEST_UNSET"]),
        (_no_repository, "estate", ["there is no folder /nowhere/at/all"]),
    ],
)
def test_every_failure_is_one_line(
    estate: EstateBuilder,
    monkeypatch: pytest.MonkeyPatch,
    trouble: Callable[[EstateBuilder, pytest.MonkeyPatch], None],
    check: str,
    words: list[str],
) -> None:
    trouble(estate, monkeypatch)
    failed = examine(estate, EXIT_ERROR)
    assert list(failed) == [check]
    assert [word for word in words if word not in failed[check]] == [], failed
