"""Planted secrets: looked for in every place where one could turn up."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pgvillage.clients.pg_connect import Endpoint
from pgvillage.settings import Credential, Timeouts
from tests.integration.conftest import EstateMaker
from tests.integration.estate_builder import EstateBuilder, cluster, free_policy, group, user
from tests.integration.follow_estate import belonging_to
from tests.servers.etcd import EtcdServer, running_etcd
from tests.servers.postgres import PostgresServer
from tests.servers.slapd import ADMIN, SUFFIX, folders, group_dn, person, person_dn, record, slapd
from tests.servers.slapd import PASSWORD as BIND
from tests.servers.vault import fake_vault

SUPERUSER, APP, OTHER, ETCD = "planted-superuser-password", "planted-App-pässword", "planted-other", "planted-etcd-word"
TOKEN, IN_VAULT, IN_SOPS = "hvs.planted-token", "planted-in-vault", "fixture-etl-json"
FIXTURES = Path(__file__).parents[1] / "fixtures"
FIXTURE = FIXTURES / "stolon" / "clusterdata-demo.json"
AGE = (FIXTURES / "sops" / "age-key.txt").read_text().splitlines()[-1]
SECRETS = [SUPERUSER, APP, OTHER, ETCD, BIND, TOKEN, IN_VAULT, IN_SOPS, AGE]


@pytest.fixture(scope="module")
def etcd(shared_postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdServer]:
    whole = belonging_to(json.loads(FIXTURE.read_text()), shared_postgres)
    with running_etcd(tmp_path_factory.mktemp("etcd")) as server:
        server.ctl("put", "stolon/cluster/demo/clusterdata", json.dumps(whole))
        server.enable_auth("reconciler", ETCD, "readwrite", "--prefix=true", "")
        yield server


@pytest.fixture
def estate(pg: PostgresServer, etcd: EtcdServer, estate_of: EstateMaker, tmp_path: Path) -> Iterator[EstateBuilder]:
    ldif = folders("people", "groups") + person("p", uid="p")
    ldif += record(group_dn("team"), {"objectClass": "groupOfNames", "cn": "team", "member": [person_dn("p")]})
    with slapd(tmp_path / "ldap", ldif) as directory, fake_vault() as vault:
        vault.tokens[TOKEN] = ()
        vault.put("pg/vaulted", password=IN_VAULT)
        found = estate_of(pg)
        found.environment = {"BIND_WORD": BIND, "ETCD_WORD": ETCD, "VAULT_WORD": TOKEN}
        bind = {"dn": ADMIN, "password": {"env": "BIND_WORD"}}
        found.settings |= {
            "secrets": {
                "app": {"command": ["printf", "%s", APP]},
                "other": {"command": ["echo", OTHER]},
                "vaulted": {"vault": "pg/{name}#password"},
                "sealed": {"sops": f"{FIXTURES}/sops/secrets.json#db/etl"},
                "made": {"file": str(tmp_path / "made"), "generate": {}},
            },
            "vaults": {"main": {"address": vault.url, "token": {"env": "VAULT_WORD"}}},
            "sops": {"identity": {"file": str(FIXTURES / "sops" / "age-key.txt")}},
            "directories": {"corp": {"uris": [directory.uri], "base": SUFFIX, "bind": bind, "startTls": False}},
            "etcd": {
                "store": {"endpoints": [etcd.url], "user": "reconciler", "password": {"env": "ETCD_WORD"}, "timeout": 3}
            },
        }
        ha = {"engine": "stolon", "etcd": "store", "cluster": "demo", "timings": "fast"}
        found.documents = {
            "a": [
                free_policy(),
                cluster("c", pg.host, ha=ha),
                group("team", members={"directory": "corp", "group": group_dn("team")}),
                user("app", auth={"method": "scram", "password": {"secret": "app"}}),
                *(
                    user(name, auth={"method": "scram", "password": {"secret": name}})
                    for name in ("other", "vaulted", "sealed", "made")
                ),
            ]
        }
        found.commit()
        yield found


def forms(secret: str) -> list[bytes]:
    return [secret.encode(), json.dumps(secret)[1:-1].encode()]


def clean(what: str, data: bytes | str) -> None:
    data = data if isinstance(data, bytes) else data.encode()
    for secret in SECRETS:
        for form in forms(secret):
            assert form not in data, f"{secret} in {what}"
    verifiers = [line for line in data.splitlines() if re.search(rb"SCRAM-SHA-256\$[0-9]+:", line)]
    assert verifiers == [], f"a verifier in {what}"


def test_no_secret_turns_up_anywhere(
    pg: PostgresServer, estate: EstateBuilder, etcd: EtcdServer, tmp_path: Path
) -> None:
    start = pg.log.stat().st_size
    saved = estate.folder / "plan.json"
    seen: list[bytes] = []
    activity: list[str] = []
    stop = threading.Event()
    watcher = threading.Thread(target=_watch, args=(pg, seen, activity, stop))
    watcher.start()
    try:
        for how in ("text", "json", "markdown"):
            clean(f"plan {how}", estate.run("plan", "--sql", "-o", how).done().text)
        clean("validate", estate.run("validate").done().text)
        estate.run("plan", "--out", str(saved)).done()
        clean("the plan's file", saved.read_bytes())
        clean("apply", estate.apply("--sql").done().text)
        SECRETS.append((tmp_path / "made").read_text().strip())
        pg.sql("ALTER ROLE app SUPERUSER", "ALTER ROLE other PASSWORD NULL")
        for how in ("text", "json", "markdown"):
            clean(f"drift {how}", estate.run("drift", "-o", how).done(2).text)
        clean("apply json", estate.apply("-o", "json").done().text)
        estate.settled()
    finally:
        stop.set()
        watcher.join()
    for role, password in (("app", APP), ("vaulted", IN_VAULT), ("sealed", IN_SOPS), ("made", SECRETS[-1])):
        pg.connect("postgres", role, password=password).close()
    assert seen
    clean("a process list", b"\n".join(seen))
    clean("pg_stat_activity", "\n".join(activity))
    clean("PostgreSQL's log", pg.log.read_bytes()[start:])
    clean("the ledger", repr(pg.sql("SELECT l.*, t.* FROM pgvillage.ledger l, pgvillage.target t")))
    clean("git", estate.git("log", "-p", "--all"))
    for file in (estate.folder / "state").rglob("*"):
        if file.is_file():
            clean(str(file), file.read_bytes())
    log = etcd.log.read_bytes()
    clean("etcd's log", log)


def _watch(pg: PostgresServer, seen: list[bytes], activity: list[str], stop: threading.Event) -> None:
    """Every command line of the machine and what the server shows of its sessions, many times a second."""
    with pg.connect() as connection:
        while not stop.is_set():
            for each in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    line = each.read_bytes()
                except OSError:
                    continue
                # the secret's own program is the test's: a real one would not have it among its arguments
                if b"pgvillage" in line and b"printf" not in line and b"echo" not in line:
                    seen.append(line)
            rows = connection.execute(
                "SELECT application_name, query FROM pg_stat_activity WHERE application_name ~ 'pgv'"
            )
            activity.append(repr(rows.fetchall()))
            time.sleep(0.02)


def test_a_password_statement_that_fails_or_is_slow(pg: PostgresServer, estate: EstateBuilder) -> None:
    """The server refuses ALTER ROLE … PASSWORD (an event that writes an error with the statement in the log)."""
    start = pg.log.stat().st_size
    with pg.connect() as holder:
        pg.sql("CREATE ROLE app LOGIN")
        del estate.documents["a"][1]["spec"]["ha"]
        estate.settings["timeouts"] = {"lock": 0.5}
        estate.commit()
        holder.execute("BEGIN")
        holder.execute("SELECT FROM pg_authid WHERE rolname = 'app' FOR UPDATE")
        ran = estate.apply("-t", "c")
        assert ran.code in (1, 6), ran.text
        assert "app" in ran.text
        clean("the failed apply", ran.text)
        clean("its json", estate.apply("-t", "c", "-o", "json").text)
        holder.execute("ROLLBACK")
    clean("PostgreSQL's log", pg.log.read_bytes()[start:])


def test_a_credential_goes_to_no_host_but_its_own(pg: PostgresServer, estate_of: EstateMaker) -> None:
    estate = estate_of(pg)
    estate.settings["credentials"]["admin"]["hosts"] = [pg.host, "*.prod.example:5432"]
    with socket.create_server(("127.0.0.1", 0)) as trap:
        port = trap.getsockname()[1]
        trap.settimeout(0.1)
        for host in (
            f"127.0.0.1:{port}",
            f"localhost:{pg.port}",
            "evil.example",
            "a.b.prod.example",
            f"[::1]:{pg.port}",
        ):
            estate.documents = {"a": [cluster("c", host), group("o")]}
            estate.commit()
            for command in (["plan"], ["apply", "--auto"], ["drift"]):
                ran = estate.run(*command)
                assert ran.code in (1, 3), ran.text
                assert "may not be sent to" in ran.text
                clean("a refusal", ran.text)
        estate.documents["a"][0]["spec"]["connection"]["hosts"] = [pg.host, f"127.0.0.1:{port}"]
        estate.commit()
        assert "may not be sent to" in estate.plan().text, "one bad host among good ones"
        with pytest.raises(TimeoutError):
            trap.accept()


def test_a_password_is_never_sent_in_clear_to_a_server_that_is_not_verified() -> None:
    """Libpq refuses to, whatever the server asks for."""
    settings = Credential(user="u", hosts=["*.example:5432"], sslmode="require")
    endpoint = Endpoint("c", ["pg.example"], "admin", settings, None, Timeouts())
    said = endpoint.conninfo("postgres", application="x", options="")
    assert "!password" in str(said["require_auth"])
