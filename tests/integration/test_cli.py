"""Bad usage and a broken environment: one clear message, the right exit code, never a traceback."""

from __future__ import annotations

import datetime
import shutil
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme

from tests.integration.conftest import EstateMaker, new_estate
from tests.integration.estate_builder import (
    EXIT_ERROR,
    EXIT_INVALID,
    EXIT_USAGE,
    EstateBuilder,
    Ran,
    cluster,
    credential,
    free_policy,
    group,
)
from tests.servers import free_port, serving
from tests.servers.postgres import PostgresServer, postgres_server


@pytest.fixture
def estate(shared_postgres: PostgresServer, estate_of: EstateMaker) -> EstateBuilder:
    found = estate_of(shared_postgres)
    found.documents = {"a": [free_policy(), cluster("c", shared_postgres.host), group("o")]}
    found.commit()
    return found


def clear(ran: Ran, code: int, *words: str) -> None:
    ran.done(code)
    for word in words:
        assert word in ran.text, ran.text
    assert len(ran.err.strip().splitlines()) < 12, ran.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["apply"], "--auto"),
        (["apply", "--auto", "file.json"], "either"),
        (["plan", "--no-such-flag"], "No such option"),
        (["plan", "-o", "xml"], "xml"),
        (["plan", "-t", "nowhere"], "no target 'nowhere'"),
        (["plan", "-t", "cc"], "did you mean c?"),
        (["plan", "--exclude", "nowhere"], "no target"),
        (["plan", "-l", "env"], "KEY=VALUE"),
        (["plan", "--timeout", "0"], "timeout"),
        (["plan", "extra"], "extra"),
        (["apply", "--auto", "--correct", "some"], "some"),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_64(estate: EstateBuilder, arguments: list[str], words: str) -> None:
    clear(estate.run(*arguments), EXIT_USAGE, words)


def test_an_unknown_command_is_wrong_usage(estate: EstateBuilder) -> None:
    clear(estate.run("aply"), EXIT_USAGE, "aply")


def test_no_settings_file(estate: EstateBuilder) -> None:
    estate.settings_file.unlink()
    clear(estate.run("plan"), EXIT_ERROR, str(estate.settings_file))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "pgvillage.yaml:1"),
        ("repository: [", "pgvillage.yaml:"),
        ("repository: {url: x}\nrepositry: 1", "repositry"),
        ("repository: {url: x}\ncredentials: {a: {user: x, hosts: []}}", "hosts"),
        ("\x00", "pgvillage.yaml"),
        ("[]", "pgvillage.yaml"),
    ],
)
def test_wrong_settings(estate: EstateBuilder, text: str, words: str) -> None:
    estate.settings_file.write_text(text)
    clear(estate.run("plan"), EXIT_ERROR, words)


def test_a_plan_file_that_is_none(estate: EstateBuilder) -> None:
    file = estate.folder / "plan.json"
    clear(estate.run("apply", str(file)), EXIT_ERROR, "plan.json")
    for text in ("", "{}", "[]", "\x00\x01", '{"format_version": 99}'):
        file.write_text(text)
        clear(estate.run("apply", str(file)), EXIT_ERROR)


def test_no_repository_there(estate: EstateBuilder) -> None:
    shutil.rmtree(estate.repository)
    clear(estate.run("plan"), EXIT_ERROR, str(estate.repository))


def test_no_git_on_this_machine(estate: EstateBuilder) -> None:
    estate.environment = {"PATH": "/nowhere"}
    clear(estate.run("plan"), EXIT_ERROR, "git")


def test_a_branch_that_is_not_there(estate: EstateBuilder) -> None:
    estate.settings["repository"]["branch"] = "no-such"
    estate.commit()
    clear(estate.run("plan"), EXIT_ERROR, "no-such")


def test_invalid_manifests_are_3(estate: EstateBuilder) -> None:
    estate.documents["a"][2]["spec"]["privilges"] = []
    estate.commit()
    clear(estate.run("plan"), EXIT_INVALID, "a.yaml:", "privileges")


def test_an_unknown_credential(estate: EstateBuilder) -> None:
    estate.documents["a"][1]["spec"]["connection"]["credential"] = "admn"
    estate.commit()
    clear(estate.run("plan"), EXIT_INVALID, "a.yaml:", "admin")


@pytest.mark.parametrize("command", [["plan"], ["apply", "--auto"], ["drift"]], ids=" ".join)
def test_nobody_listens(estate: EstateBuilder, command: list[str]) -> None:
    estate.documents["a"][1] = cluster("c", f"127.0.0.1:{free_port()}")
    estate.commit()
    clear(estate.run(*command), EXIT_ERROR, "Connection refused", "is PostgreSQL running there")


def test_a_host_that_has_no_address(estate: EstateBuilder) -> None:
    estate.settings["credentials"]["admin"]["hosts"] = ["*.invalid:5432"]
    estate.documents["a"][1] = cluster("c", "pg.invalid")
    estate.commit()
    clear(estate.run("plan"), EXIT_ERROR, "pg.invalid")


def test_a_wrong_password(estate: EstateBuilder) -> None:
    estate.settings["credentials"]["admin"]["password"] = {"command": ["echo", "wrong-password"]}
    estate.commit()
    ran = estate.run("plan")
    clear(ran, EXIT_ERROR, "password authentication failed", "settings")
    assert "wrong-password" not in ran.text


@pytest.mark.parametrize(
    ("source", "word"),
    [
        ({"file": "/nowhere/pw"}, "/nowhere/pw"),
        ({"env": "NO_SUCH_VARIABLE"}, "NO_SUCH_VARIABLE"),
        ({"command": ["false"]}, "false"),
        ({"command": ["/nowhere/tool"]}, "/nowhere/tool"),
    ],
)
def test_a_secret_that_can_not_be_had(estate: EstateBuilder, source: dict[str, object], word: str) -> None:
    estate.settings["credentials"]["admin"]["password"] = source
    estate.commit()
    clear(estate.run("plan"), EXIT_ERROR, word)


def test_a_maintenance_database_that_is_not_there(estate: EstateBuilder) -> None:
    estate.settings["credentials"]["admin"]["database"] = "nowhere"
    estate.commit()
    clear(estate.run("plan"), EXIT_ERROR, "nowhere")


def test_something_else_listens(estate: EstateBuilder) -> None:
    with _speaks(b"HTTP/1.0 400 Bad Request\r\n\r\n") as port:
        estate.documents["a"][1] = cluster("c", f"127.0.0.1:{port}")
        estate.commit()
        clear(estate.run("plan"), EXIT_ERROR, "cannot connect")


def test_a_server_that_says_nothing(estate: EstateBuilder) -> None:
    estate.settings["timeouts"] = {"connect": 2, "read": 4}
    with socket.create_server(("127.0.0.1", 0)) as silent:
        estate.documents["a"][1] = cluster("c", f"127.0.0.1:{silent.getsockname()[1]}")
        estate.commit()
        clear(estate.run("plan"), EXIT_ERROR, "timeout")


def test_a_postgresql_that_is_too_old(estate: EstateBuilder) -> None:
    """One that answers every question as PostgreSQL 9.6 would its version."""
    with _old_server("9.6.24") as port:
        estate.documents["a"][1] = cluster("c", f"127.0.0.1:{port}")
        estate.commit()
        clear(estate.run("plan"), EXIT_ERROR, "too old", "13")


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[PostgresServer, trustme.CA]]:
    folder = tmp_path_factory.mktemp("tls")
    ca = trustme.CA()
    ca.cert_pem.write_to_path(folder / "ca.pem")
    with postgres_server(folder / "pg") as server:
        _give(server, ca.issue_cert("localhost"))
        server.sql("ALTER SYSTEM SET ssl = on", "SELECT pg_reload_conf()")
        yield server, ca


def _give(server: PostgresServer, certificate: trustme.LeafCert) -> None:
    for name, pem in (("server.crt", certificate.cert_chain_pems[0]), ("server.key", certificate.private_key_pem)):
        file = server.data / name
        file.unlink(missing_ok=True)
        pem.write_to_path(file)
        file.chmod(0o600)
        shutil.chown(file, (server.data).owner(), (server.data).group())
    server.sql("SELECT pg_reload_conf()", "SELECT pg_sleep(0.2)")


@pytest.fixture
def tls_estate(tls: tuple[PostgresServer, trustme.CA], tmp_path: Path) -> EstateBuilder:
    server, _ = tls
    estate = new_estate(tmp_path / "a", server)
    hosts = [f"localhost:{server.port}", f"127.0.0.1:{server.port}"]
    root = server.folder.parent / "ca.pem"
    estate.settings["credentials"] = {
        "admin": credential(server, hosts=hosts, sslmode="verify-full", sslrootcert=str(root))
    }
    estate.documents = {"a": [free_policy(), cluster("c", f"localhost:{server.port}"), group("o")]}
    estate.commit()
    return estate


def test_a_good_certificate(tls_estate: EstateBuilder, tls: tuple[PostgresServer, trustme.CA]) -> None:
    _give(tls[0], tls[1].issue_cert("localhost"))
    tls_estate.run("plan").done()


def test_an_expired_certificate(tls_estate: EstateBuilder, tls: tuple[PostgresServer, trustme.CA]) -> None:
    past = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    _give(tls[0], tls[1].issue_cert("localhost", not_after=past, not_before=past - datetime.timedelta(days=9)))
    clear(tls_estate.run("plan"), EXIT_ERROR, "certificate verify failed", "has expired")


def test_a_certificate_of_another_authority(tls_estate: EstateBuilder, tls: tuple[PostgresServer, trustme.CA]) -> None:
    _give(tls[0], trustme.CA().issue_cert("localhost"))
    clear(tls_estate.run("plan"), EXIT_ERROR, "certificate verify failed", "sslrootcert")


def test_a_certificate_for_another_name(tls_estate: EstateBuilder, tls: tuple[PostgresServer, trustme.CA]) -> None:
    _give(tls[0], tls[1].issue_cert("other.example"))
    clear(tls_estate.run("plan"), EXIT_ERROR, "does not match host name")


def test_a_manifest_can_not_lower_the_settings_sslmode(
    tls_estate: EstateBuilder, tls: tuple[PostgresServer, trustme.CA]
) -> None:
    _give(tls[0], tls[1].issue_cert("other.example"))
    tls_estate.documents["a"][1]["spec"]["connection"]["sslmode"] = "disable"
    tls_estate.commit()
    clear(tls_estate.run("plan"), EXIT_ERROR, "does not match host name")


def test_no_file_of_authorities(tls_estate: EstateBuilder) -> None:
    tls_estate.settings["credentials"]["admin"]["sslrootcert"] = "/nowhere/ca.pem"
    tls_estate.commit()
    clear(tls_estate.run("plan"), EXIT_ERROR, "/nowhere/ca.pem")


@contextmanager
def _speaks(words: bytes) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            try:
                while True:
                    client, _ = listener.accept()
                    with client:
                        client.recv(4096)
                        client.sendall(words)
            except OSError:
                pass

        with serving(listener, serve):
            yield listener.getsockname()[1]


@contextmanager
def _old_server(version: str) -> Iterator[int]:
    """Lets everybody in, calls itself `version`, and fails every statement as an old server would."""

    def message(kind: bytes, body: bytes) -> bytes:
        return kind + struct.pack("!i", len(body) + 4) + body

    error = message(b"E", b'SERROR\0VERROR\0C42703\0Mcolumn "x" does not exist\0\0')
    # libpq itself asks one thing, to find the primary
    column = b"pg_is_in_recovery\0" + struct.pack("!ihihih", 0, 0, 16, 1, -1, 0)
    no = message(b"T", struct.pack("!h", 1) + column) + message(b"D", struct.pack("!hi", 1, 1) + b"f")
    no += message(b"C", b"SELECT 1\0")
    parameters = {"server_version": version, "client_encoding": "UTF8", "standard_conforming_strings": "on"}
    hello = message(b"R", struct.pack("!i", 0))
    hello += b"".join(message(b"S", f"{k}\0{v}\0".encode()) for k, v in parameters.items())
    hello += message(b"Z", b"I")
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def talk(client: socket.socket) -> None:
            with client:
                client.recv(4096)
                client.sendall(hello)
                while data := client.recv(4096):
                    if data[:1] == b"X":
                        return
                    client.sendall((no if b"pg_is_in_recovery" in data else error) + message(b"Z", b"I"))

        def serve() -> None:
            try:
                while True:
                    client, _ = listener.accept()
                    threading.Thread(target=talk, args=(client,), daemon=True).start()
            except OSError:
                pass

        with serving(listener, serve):
            yield listener.getsockname()[1]
