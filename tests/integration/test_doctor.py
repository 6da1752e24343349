"""`pgvillage doctor`: one line a check, and what to do about each that failed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from pgvillage.clients.state.opening import open_state
from pgvillage.core.password_hash import hash_password
from pgvillage.settings import Settings
from pgvillage.wiring import RealWorld
from tests.integration.conftest import EstateMaker
from tests.integration.daemon_process import serving
from tests.integration.estate_builder import EXIT_DONE, EXIT_ERROR, EstateBuilder, cluster, free_policy, group, user
from tests.integration.test_explain import LDIF
from tests.integration.warm_command import run_here
from tests.servers import free_port
from tests.servers.etcd import EtcdServer, running_etcd
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
    made.settings["serve"] = {"listen": f"127.0.0.1:{free_port()}"}
    made.commit()
    made.settings_file.chmod(0o600)
    return made


@pytest.fixture
def etcd(tmp_path: Path) -> Iterator[EtcdServer]:
    with running_etcd(tmp_path / "etcd") as found:
        yield found


def examine(estate: EstateBuilder, code: int) -> dict[str, str]:
    """The failed lines by the check's name, or all when all is well."""
    out = run_here(estate, "doctor").done(code).out
    assert "planted" not in out
    lines = [line for line in out.splitlines() if line[0] in "✓✗!"]
    assert len(lines) == len(out.splitlines()) - 1, out
    return named(line for line in lines if line[0] in ("✗" if code else "✓!"))


def named(lines: Iterable[str]) -> dict[str, str]:
    return {line[2:].split(" ", 1)[0]: line[2:].split(" ", 1)[1].strip() for line in lines}


def test_all_is_well(estate: EstateBuilder) -> None:
    found = examine(estate, EXIT_DONE)
    of_run = ["python", "git", "settings", "secrets", "estate", "directory", "c"]
    assert list(found) == [*of_run, "state", "space", "listen"]
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


HOOK = {"forge": "gitea", "secret": {"env": "HOOK"}, "repository": "https://git.example/acme/estate.git"}


def test_what_the_daemon_needs(
    estate: EstateBuilder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, etcd: EtcdServer
) -> None:
    certificate(tmp_path, datetime.now(UTC) + timedelta(days=90))
    monkeypatch.setenv("HOOK", "planted-hook-secret-0123456789")
    monkeypatch.setenv("TOKEN", "planted-token-0123456789")
    monkeypatch.setenv("CHAT", "https://chat.example/planted-url")
    monkeypatch.setenv("HASH", hash_password("planted-password"))
    serve = {
        **estate.settings["serve"], "url": "https://village.example", "notify": ["dba"],
        "tls": {"cert": str(tmp_path / "cert.pem"), "key": str(tmp_path / "key.pem")},
        "replica": "one", "replicas": {"etcd": "own"},
    }  # fmt: skip
    _settings(
        estate, serve=serve, webhooks={"estate": HOOK}, etcd={"own": {"endpoints": [etcd.url]}},
        channels={"dba": {"service": "mattermost", "url": {"env": "CHAT"}}},
        api={"tokens": [{"name": "ci", "secret": {"env": "TOKEN"}, "scopes": ["read"]}]},
        forge={"token": {"env": "TOKEN"}},
        dashboard={"users": [{"name": "olga", "password": {"env": "HASH"}}]},
    )  # fmt: skip
    open_state(Settings.model_validate(estate.settings), estate.folder / "state").close()
    before = (estate.folder / "state" / "state.db").read_bytes()
    out = run_here(estate, "doctor").done().out
    assert (estate.folder / "state" / "state.db").read_bytes() == before
    assert "planted" not in out
    found = named(line for line in out.splitlines()[:-1])
    assert "MB, no event yet" in found["state"]
    assert found["tls"].startswith(f"{tmp_path}/cert.pem is good until")
    assert (found["replica"], found["url"]) == ("one, by leases in etcd own", "https://village.example")
    assert found["webhook"] == "estate   gitea, POST /hooks/estate, secret found"
    assert "mattermost at chat.example; `pgvillage notify test dba`" in found["channel"]
    assert found["api"].startswith("1 token,")
    assert (found["forge"], found["dashboard"]) == ("token found", "1 person")
    assert "1 member, quorum" in found["etcd"]


def _broken_state(estate: EstateBuilder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = estate.folder / "state"
    folder.mkdir(exist_ok=True)
    (folder / "state.db").write_bytes(b"no database " * 1000)


def _taken_port(estate: EstateBuilder, monkeypatch: pytest.MonkeyPatch) -> None:
    host = estate.documents["all"][1]["spec"]["connection"]["hosts"][0]  # PostgreSQL listens there
    _settings(estate, serve={"listen": host})


def _old_certificate(estate: EstateBuilder, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate(estate.folder, datetime.now(UTC) - timedelta(days=1))
    files = {"cert": str(estate.folder / "cert.pem"), "key": str(estate.folder / "key.pem")}
    _settings(estate, serve={**estate.settings["serve"], "tls": files})


def _other_key(estate: EstateBuilder, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate(estate.folder, datetime.now(UTC) + timedelta(days=90))
    (estate.folder / "old").mkdir()
    certificate(estate.folder / "old", datetime.now(UTC) + timedelta(days=90))
    files = {"cert": str(estate.folder / "cert.pem"), "key": str(estate.folder / "old" / "key.pem")}
    _settings(estate, serve={**estate.settings["serve"], "tls": files})


def _short_token(estate: EstateBuilder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "planted")
    _settings(estate, api={"tokens": [{"name": "ci", "secret": {"env": "TOKEN"}, "scopes": ["read"]}]})


def _plain_password(estate: EstateBuilder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HASH", "planted-password")
    _settings(estate, dashboard={"users": [{"name": "olga", "password": {"env": "HASH"}}]})


def _insecure_chat(estate: EstateBuilder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAT", "http://chat.example/planted-url")
    channels = {"dba": {"service": "slack", "url": {"env": "CHAT"}}}
    _settings(estate, channels=channels, serve={**estate.settings["serve"], "url": "https://village.example"})


def _no_hook_secret(estate: EstateBuilder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOOK", raising=False)
    _settings(estate, webhooks={"estate": HOOK})


def _dead_etcd(estate: EstateBuilder, monkeypatch: pytest.MonkeyPatch) -> None:
    _settings(estate, etcd={"own": {"endpoints": [f"http://127.0.0.1:{free_port()}"], "timeout": 2}})


def _dead_provider(estate: EstateBuilder, monkeypatch: pytest.MonkeyPatch) -> None:
    oidc = {"issuer": f"http://127.0.0.1:{free_port()}", "clientId": "village", "roles": {"viewer": ["*"]}}
    serve = {**estate.settings["serve"], "url": "https://village.example"}
    _settings(estate, dashboard={"oidc": oidc}, serve=serve)


def _no_signers(estate: EstateBuilder, monkeypatch: pytest.MonkeyPatch) -> None:
    _settings(
        estate, repository={**estate.settings["repository"], "signatures": {"required": False, "keyring": "/no/keys"}}
    )


def _misspelt(estate: EstateBuilder, monkeypatch: pytest.MonkeyPatch) -> None:
    etcd = {"own": {"endpoints": ["http://127.0.0.1:1"], "timeout": 2}}
    _settings(estate, etcd=etcd, serve={**estate.settings["serve"], "replicas": {"etcd": "onw"}, "notify": ["dba"]})


@pytest.mark.parametrize(
    ("trouble", "check", "words"),
    [
        (_broken_state, "state", ["no database", "puts it aside"]),
        (_taken_port, "listen", ["Address already in use", "stop what listens there"]),
        (_old_certificate, "tls", ["ended at", "renew it"]),
        (_other_key, "tls", ["can't be used together"]),
        (_short_token, "api", ["'ci' has fewer than 20 characters"]),
        (_plain_password, "dashboard", ["olga: no hash", "pgvillage password-hash"]),
        (_insecure_chat, "channel", ["the URL must be https://"]),
        (_no_hook_secret, "webhook", ["environment variable HOOK is not set"]),
        (_dead_etcd, "etcd", ["does not answer"]),
        (_dead_provider, "oidc", ["can't be reached"]),
        (_no_signers, "signatures", ["keyring: there is no file /no/keys"]),
    ],
)
def test_a_daemon_that_could_not_begin(
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


def test_names_that_the_settings_do_not_have(estate: EstateBuilder, monkeypatch: pytest.MonkeyPatch) -> None:
    _misspelt(estate, monkeypatch)
    failed = examine(estate, EXIT_ERROR)
    assert list(failed) == ["replica", "channels", "etcd"]
    assert "did you mean 'own'?" in failed["replica"]
    assert failed["channels"].endswith("do not have: dba")


def test_a_clock_that_differs_is_a_warning(estate: EstateBuilder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RealWorld, "now", lambda _: datetime.now(UTC) + timedelta(minutes=3))
    out = run_here(estate, "doctor").done().out
    [line] = [line for line in out.splitlines() if line.startswith("! c clock")]
    assert "the server's clock is 180 s behind ours" in line or "179 s behind" in line


def test_our_own_daemon_is_no_stranger_on_the_port(estate: EstateBuilder) -> None:
    with serving(estate) as daemon:
        daemon.rounds(1)
        estate.settings_file.chmod(0o600)
        assert examine(estate, EXIT_DONE)["listen"] == f"{daemon.address}, in use by our own daemon"
        assert daemon.stop() == 0


def certificate(folder: Path, ends: datetime) -> None:
    issued = trustme.CA().issue_cert("127.0.0.1", not_before=ends - timedelta(days=90), not_after=ends)
    issued.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    issued.private_key_pem.write_to_path(folder / "key.pem")
