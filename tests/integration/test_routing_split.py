"""The routing API before servers without an engine: split brains, restarts, forgetting, TLS, tokens."""

from __future__ import annotations

import signal
import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.integration.estate_builder import EstateBuilder, document
from tests.integration.routing_process import routing
from tests.servers import free_port, wait_until
from tests.servers.postgres import PostgresServer, postgres_server, standby_of

TOKEN = "planted-routing-token-0123456789"


def estate_before(folder: Path, *servers: PostgresServer) -> EstateBuilder:
    credential = {
        "user": "postgres", "password": {"env": "ROUTING_PASSWORD"}, "hosts": ["127.0.0.1:*"], "sslmode": "disable",
    }  # fmt: skip
    estate = EstateBuilder(
        folder, {"credentials": {"admin": credential}, "routing": {"listen": f"127.0.0.1:{free_port()}"}},
        environment={"ROUTING_PASSWORD": servers[0].password, "ROUTING_TOKEN": TOKEN},
    )  # fmt: skip
    hosts = [server.host for server in servers]
    estate.documents["clusters"] = [document("Cluster", "orders", connection={"hosts": hosts, "credential": "admin"})]
    estate.commit()
    return estate


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[PostgresServer, PostgresServer]]:
    folder = tmp_path_factory.mktemp("pair")
    with postgres_server(folder / "a") as first, standby_of(first, folder / "b") as second:
        yield first, second


def test_tls_and_tokens(tmp_path: Path, pair: tuple[PostgresServer, PostgresServer]) -> None:
    estate = estate_before(tmp_path / "estate", *pair)
    authority = trustme.CA()
    (tmp_path / "ca.pem").write_bytes(authority.cert_pem.bytes())
    tls = {**_files(tmp_path / "server", authority, "127.0.0.1"), "clientCa": str(tmp_path / "ca.pem")}
    client = _files(tmp_path / "client", authority, "haproxy.example")
    context = ssl.create_default_context(cafile=tmp_path / "ca.pem")
    context.load_cert_chain(client["cert"], client["key"])
    tokens = [{"name": "operator", "secret": {"env": "ROUTING_TOKEN"}, "forget": True}]
    with routing(estate, context=context, tls=tls, tokens=tokens, anonymousRead=False) as api:
        wait_until(lambda: api.ask("/healthz")[0] == 200, "HTTPS", seconds=60)
        assert api.ask("/v1/primary")[0] == 401
        bearer = {"Authorization": f"Bearer {TOKEN}"}
        wait_until(lambda: api.ask("/v1/primary", headers=bearer)[0] == 200, "a primary", seconds=60)
        assert api.ask(f"/nodes/orders/{pair[0].host}/primary", "OPTIONS", bearer) == (200, "")
        stranger = ssl.create_default_context(cafile=tmp_path / "ca.pem")
        api._context = stranger
        with pytest.raises((ssl.SSLError, ConnectionError, OSError)):
            _refused(api.ask("/healthz"))
    assert not any(TOKEN in line or pair[0].password in line for line in api.lines)


def _refused(found: tuple[int, str]) -> None:
    """TLS 1.3 tells the client only when it reads."""
    if found[0] == 0:
        raise ConnectionError


def _files(folder: Path, authority: trustme.CA, name: str) -> dict[str, str]:
    folder.mkdir()
    issued = authority.issue_cert(name)
    (folder / "cert.pem").write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(str(folder / "key.pem"))
    return {"cert": str(folder / "cert.pem"), "key": str(folder / "key.pem")}


def test_a_process_for_one_node_and_new_commits(tmp_path: Path, pair: tuple[PostgresServer, PostgresServer]) -> None:
    estate = estate_before(tmp_path / "estate", pair[0])
    estate.settings["serve"] = {"poll": 0.3}
    with routing(estate, "--clusters", "orders", "--node", pair[1].host, agent={"listen": "127.0.0.1:0"}) as api:
        api.wait("/v1/primary", 200)
        assert api.ask("/replica", "OPTIONS") == (503, ""), "it is not in the estate yet"
        connection: dict[str, Any] = {"hosts": [server.host for server in pair], "credential": "admin"}
        estate.documents["clusters"] = [document("Cluster", "orders", connection=connection)]
        estate.commit("a standby more")
        api.wait("/replica?lag=10MB", 200)
        assert api.ask("/primary", "HEAD")[0] == 503


def test_a_wrong_name_is_told(tmp_path: Path, pair: tuple[PostgresServer, PostgresServer]) -> None:
    estate = estate_before(tmp_path / "estate", *pair)
    ran = estate.run("routing", "--clusters", "order").done(64)
    assert "did you mean orders?" in ran.err
    assert "nothing of 'orders'" in estate.run("routing", "forget", "orders").done(64).err


def test_a_split_brain_is_remembered(tmp_path: Path, pair: tuple[PostgresServer, PostgresServer]) -> None:
    """Last in this module: afterwards there are two."""
    first, second = pair
    estate = estate_before(tmp_path / "estate", first, second)
    with ExitStack() as stack:
        api = stack.enter_context(routing(estate))
        api.wait_for_primary(first.host)
        second.sql("SELECT pg_promote()")
        said = api.wait("/v1/primary", 409)
        assert f"{first.host} said that it is a primary, but timeline 2 of {second.host} is newer" in said
        assert api.ask("/v1/primaries")[0] == 409
        for server in pair:
            assert api.ask(f"/nodes/orders/{server.host}/primary", "OPTIONS")[0] == 503
        first.process.send_signal(signal.SIGINT)
        first.process.wait(20)
        wait_until(lambda: api.document("/v1/groups")["orders"]["nodes"][0]["up"] is False, "the first to be down")
        assert api.ask("/v1/primary")[0] == 409, "one side is gone, and nobody knows what it took"
        api.close(signal.SIGKILL)

        again = stack.enter_context(routing(estate))
        again.wait("/v1/primary", 409)
        assert "forgotten: orders" in estate.run("routing", "forget", "orders").done().out
        again.wait_for_primary(second.host)
        assert not any(first.password in line for line in again.lines)
