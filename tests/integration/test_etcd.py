"""The etcd client against real servers, and against servers that misbehave."""

from __future__ import annotations

import asyncio
import datetime
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import trustme

from pgvillage.clients.etcd import EtcdClient, KeyValue
from pgvillage.core.errors import CredentialRefused, PgVillageError, ReadError, SecretError, SettingsError, StepFailed
from pgvillage.settings import Etcd, SecretSource
from tests.servers import free_port
from tests.servers.etcd import EtcdServer, EtcdTls, running_etcd

PASSWORD = "correct-horse-battery"


@pytest.fixture(scope="module")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdServer]:
    with running_etcd(tmp_path_factory.mktemp("etcd")) as server:
        yield server


@pytest.fixture
async def client(etcd: EtcdServer) -> AsyncIterator[EtcdClient]:
    async with client_of(etcd.url) as opened:
        etcd.ctl("del", "--prefix", "")
        yield opened


def client_of(*endpoints: str, **settings: object) -> EtcdClient:
    return EtcdClient("etcd-a", Etcd.model_validate({"endpoints": list(endpoints), **settings}))


# Reading and writing


async def test_an_absent_key_is_none(client: EtcdClient) -> None:
    assert await client.get("nobody/was/here") is None


async def test_a_value_comes_back_as_it_was_put(client: EtcdClient) -> None:
    value = bytes(range(256))
    await client.put("a", value)
    first = await client.get("a")
    await client.put("a", b"")
    second = await client.get("a")
    assert first is not None
    assert first == KeyValue("a", value, first.create_revision, first.create_revision, 0)
    assert second == KeyValue("a", b"", first.mod_revision + 1, first.create_revision, 0)


async def test_etcdctl_sees_the_same(client: EtcdClient, etcd: EtcdServer) -> None:
    await client.put("a/ключ", b"from here")
    assert etcd.ctl("get", "a/ключ", "--print-value-only") == "from here\n"


async def test_a_lease_is_told(client: EtcdClient, etcd: EtcdServer) -> None:
    lease = etcd.ctl("lease", "grant", "60").split()[1]
    etcd.ctl("put", "leased", "x", f"--lease={lease}")
    found = await client.get("leased")
    assert found is not None
    assert found.lease == int(lease, 16)


async def test_a_prefix_takes_its_keys_and_no_neighbour(client: EtcdClient) -> None:
    for key in ("a", "a/", "a/b", "a/\uffff", "a/\U0010ffff", "a0", "b"):
        await client.put(key, key.encode())
    assert [kv.key for kv in await client.get_prefix("a/")] == ["a/", "a/b", "a/\uffff", "a/\U0010ffff"]
    assert [kv.value for kv in await client.get_prefix("a0")] == [b"a0"]
    assert len(await client.get_prefix("")) == 7
    assert await client.get_prefix("zzz") == []


async def test_a_prefix_that_ends_in_the_highest_byte(client: EtcdClient) -> None:
    edge = b"k\xff\xff".decode("utf-8", "surrogateescape")
    for key in ("k", edge, edge + "1", "l"):
        await client.put(key, b"")
    assert [kv.key for kv in await client.get_prefix(edge)] == [edge, edge + "1"]


@pytest.mark.parametrize(
    "key",
    [
        "a/../b", "a//b", " ", "\0", "a\nb", "a\r\nX-Header: 1", "ключ/鍵/🔑", "e\u0301", "\u00e9", '"}],"', "?x=1#y",
        "%00", "\udcff\udc80", "'; drop table--", "\u202egpj", "k" * 5000,
    ],
)  # fmt: skip
async def test_hostile_keys_are_keys_like_any_other(client: EtcdClient, key: str) -> None:
    await client.put("neighbour", b"n")
    assert await client.swap({key: b"v"}, {key: 0})
    found = await client.get(key)
    assert found is not None
    assert (found.key, found.value) == (key, b"v")
    assert {kv.key for kv in await client.get_prefix("")} == {key, "neighbour"}
    assert await client.delete(key)
    assert not await client.delete(key)


async def test_an_empty_key_is_refused_by_etcd(client: EtcdClient) -> None:
    with pytest.raises(ReadError, match=r"etcd etcd-a: http://127.0.0.1:.* refused: .*key is not provided"):
        await client.put("", b"x")


async def test_a_value_larger_than_etcd_takes_is_refused_and_not_written(client: EtcdClient) -> None:
    with pytest.raises(ReadError, match="too large"):
        await client.swap({"big": b"x" * 2_000_000}, {"big": 0})
    assert await client.get("big") is None


async def test_status(client: EtcdClient, etcd: EtcdServer) -> None:
    status = await client.status()
    assert status.endpoint == etcd.url
    assert status.version.startswith("3.")
    assert status.leader == status.member != 0
    assert status.db_size > 0
    assert status.revision > 0


# Swapping


async def test_a_swap_writes_all_or_nothing(client: EtcdClient) -> None:
    assert await client.swap({"a": b"1", "b": b"1"}, {"a": 0, "b": 0})
    at = {kv.key: kv.mod_revision for kv in await client.get_prefix("")}
    assert at["a"] == at["b"]
    assert not await client.swap({"a": b"2", "b": b"2", "c": b"2"}, {"a": at["a"], "b": at["b"] + 1})
    assert [(kv.key, kv.value) for kv in await client.get_prefix("")] == [("a", b"1"), ("b", b"1")]
    assert await client.swap({"a": b"2", "c": b"2"}, at)
    assert [kv.value for kv in await client.get_prefix("")] == [b"2", b"1", b"2"]


async def test_a_swap_that_expects_nothing_there_fails_when_there_is(client: EtcdClient) -> None:
    await client.put("a", b"1")
    assert not await client.swap({"a": b"2"}, {"a": 0})
    assert await client.swap({"z": b"1"}, {"y": 0})


async def test_a_swap_onto_a_key_that_was_deleted_and_made_again_fails(client: EtcdClient) -> None:
    await client.put("a", b"1")
    found = await client.get("a")
    assert found is not None
    await client.delete("a")
    await client.put("a", b"1")
    assert not await client.swap({"a": b"2"}, {"a": found.mod_revision})


async def test_a_swap_without_expectation_is_a_mistake_of_the_caller(client: EtcdClient) -> None:
    with pytest.raises(ValueError, match="expected revision"):
        await client.swap({"a": b"1"}, {})
    assert await client.get("a") is None


async def test_of_concurrent_swaps_exactly_one_wins(client: EtcdClient, etcd: EtcdServer) -> None:
    await client.put("clusterdata", b"start")
    start = await client.get("clusterdata")
    assert start is not None

    async def attempt(number: int) -> bool:
        async with client_of(etcd.url) as own:
            return await own.swap({"clusterdata": b"%d" % number}, {"clusterdata": start.mod_revision})

    results = await asyncio.gather(*map(attempt, range(20)))
    assert results.count(True) == 1
    found = await client.get("clusterdata")
    assert found is not None
    assert found.value == b"%d" % results.index(True)


# Endpoints that are down, silent or no etcd at all


async def test_a_dead_first_endpoint_is_passed_over(etcd: EtcdServer) -> None:
    async with client_of(f"http://127.0.0.1:{free_port()}", etcd.url) as client:
        await client.put("failover", b"1")
        assert await client.swap({"failover": b"2"}, {"failover": (await client.status()).revision})
        assert (await client.status()).endpoint == etcd.url


async def test_no_endpoint_at_all_names_each_with_its_cause() -> None:
    dead = [f"http://127.0.0.1:{free_port()}" for _ in range(2)]
    async with client_of(*dead) as client:
        for attempt in (lambda: client.get("a"), lambda: client.swap({"a": b""}, {"a": 0})):
            with pytest.raises(ReadError) as caught:
                await attempt()
            assert all(f"{url}: " in str(caught.value) for url in dead)


async def test_the_proxy_of_the_environment_is_ignored(etcd: EtcdServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    async with client_of(etcd.url) as client:
        assert (await client.status()).endpoint == etcd.url


Conversation = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(conversation: Conversation) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server that talks as told; yields its URL and the requests it got."""
    seen: list[bytes] = []
    talks: list[asyncio.Task[None]] = []

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await answer(reader, writer)
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talks.append(asyncio.create_task(connected(reader, writer)))

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line.split(b":")[1]) for line in request.lower().splitlines() if b"content-length" in line)
        seen.append(request + await reader.readexactly(length))
        await conversation(reader, writer)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", seen
    finally:
        server.close()
        for talk in talks:
            talk.cancel()
        await asyncio.gather(*talks, return_exceptions=True)


def saying(head: str, body: bytes = b"") -> Conversation:
    async def conversation(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 {head}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
        await writer.drain()

    return conversation


async def silence(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read()


async def dripping(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    for _n in range(100):
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.1)


@pytest.mark.parametrize("conversation", [silence, dripping])
async def test_a_server_that_never_ends_its_answer_is_left_in_time(conversation: Conversation) -> None:
    async with listening(conversation) as (url, seen), client_of(url, timeout=0.5) as client:
        async with asyncio.timeout(3):
            with pytest.raises(ReadError, match=r"no answer within 0\.5 s"):
                await client.get("a")
        assert len(seen) == 1


async def test_a_read_goes_on_to_the_next_endpoint_after_silence(etcd: EtcdServer) -> None:
    async with listening(silence) as (url, seen), client_of(url, etcd.url, timeout=0.5) as client:
        for _ in range(3):
            assert (await client.status()).endpoint == etcd.url
        assert len(seen) == 1, "the endpoint that answered is asked first from then on"


LOST = [silence, dripping, saying("503 Service Unavailable", b'{"message":"etcdserver: request timed out","code":14}')]


@pytest.mark.parametrize("conversation", LOST)
async def test_a_write_whose_answer_is_lost_is_never_sent_again(etcd: EtcdServer, conversation: Conversation) -> None:
    writes: list[Callable[[EtcdClient], Awaitable[object]]] = [
        lambda client: client.swap({"lost": b"1"}, {"lost": 0}),
        lambda client: client.put("lost", b"1"),
        lambda client: client.delete("lost"),
        lambda client: client.grant(60),
    ]
    async with listening(conversation) as (url, seen):
        for write in writes:
            async with client_of(url, etcd.url, timeout=0.5) as client:
                with pytest.raises(StepFailed, match=r"answer was lost .* may have been done or not: read again"):
                    await write(client)
                assert (await client.status()).endpoint == etcd.url
        assert len(seen) == len(writes), "and whoever swallowed an answer is asked last from then on"
    async with client_of(etcd.url) as direct:
        assert await direct.get("lost") is None


async def test_a_swap_that_was_done_though_the_answer_was_lost_shows_on_reading_again(etcd: EtcdServer) -> None:
    async def forward(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
        inner, outer = await asyncio.open_connection(*etcd.address)
        outer.write(seen[-1])
        await inner.readuntil(b"succeeded")
        outer.close()

    async with listening(forward) as (url, seen), client_of(url, etcd.url) as client:
        with pytest.raises(StepFailed, match="read again"):
            await client.swap({"relayed": b"1"}, {"relayed": 0})
    async with client_of(etcd.url) as direct:
        found = await direct.get("relayed")
    assert found is not None
    assert found.create_revision == found.mod_revision


@pytest.mark.parametrize(
    ("conversation", "words"),
    [
        (saying("404 Not Found", b"404 page not found"), "expected etcd 3.4 or newer"),
        (saying("302 Found\r\nLocation: http://127.0.0.1:1/"), "redirects elsewhere"),
        (saying("200 OK", b"<html>login</html>"), "not etcd's JSON"),
        (saying("200 OK", b"[]"), "not etcd's JSON"),
        (saying("200 OK", b'{"kvs":[{"key":"@"}]}'), "not one of etcd's"),
        (saying("200 OK", b'{"kvs":7}'), "not one of etcd's"),
        (saying("502 Bad Gateway", b"\x1b[31m<html>"), "HTTP status 502"),
        (saying("NONSENSE"), "no endpoint answered"),
        (saying("400 Bad Request", b'{"message":"\\u001b[2Jodd"}'), r"refused:  ?\[2Jodd"),
    ],
)
async def test_what_is_no_etcd_is_told_so(conversation: Conversation, words: str) -> None:
    async with listening(conversation) as (url, _), client_of(url) as client:
        with pytest.raises(ReadError, match=words) as caught:
            await client.get("a")
        assert str(caught.value).isprintable()


# TLS


class Authority:
    """A CA and files of what it signed."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.ca = folder, trustme.CA()
        folder.mkdir()
        self.ca.cert_pem.write_to_path(folder / "ca.pem")

    def pair(self, name: str, *hosts: str, **options: object) -> tuple[Path, Path]:
        leaf = self.ca.issue_cert(*hosts, **options)  # type: ignore[arg-type]
        cert, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        key.write_bytes(leaf.private_key_pem.bytes())
        cert.write_bytes(b"".join(pem.bytes() for pem in leaf.cert_chain_pems))
        return cert, key

    def server(self, *hosts: str, client_auth: bool = False, **options: object) -> EtcdTls:
        return EtcdTls(self.folder / "ca.pem", *self.pair("server", *hosts, **options), client_auth=client_auth)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("pki") / "a")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("pki") / "b")


@pytest.fixture(scope="module")
def mutual(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[EtcdServer]:
    tls = authority.server("127.0.0.1", "localhost", client_auth=True)
    with running_etcd(tmp_path_factory.mktemp("mutual"), tls) as server:
        yield server


def tls_of(trusted: Authority, signed_by: Authority | None = None) -> dict[str, object]:
    files: dict[str, object] = {"ca": trusted.folder / "ca.pem"}
    if signed_by:
        files["cert"], files["key"] = signed_by.pair("client", "client.example")
    return files


async def test_mutual_tls(mutual: EtcdServer, authority: Authority) -> None:
    async with client_of(mutual.url, tls=tls_of(authority, authority)) as client:
        assert await client.swap({"tls": b"1"}, {"tls": 0})
        assert len(await client.get_prefix("tls")) == 1


@pytest.mark.parametrize("signed", [False, True])
async def test_mutual_tls_without_the_right_certificate(
    mutual: EtcdServer, authority: Authority, stranger: Authority, signed: bool
) -> None:
    async with client_of(mutual.url, tls=tls_of(authority, stranger if signed else None)) as client:
        with pytest.raises(ReadError, match=r"certificate.*check.* tls\.cert"):
            await client.get("tls")
        with pytest.raises((ReadError, StepFailed), match=r"certificate.*check.* tls\.cert"):
            await client.swap({"no": b""}, {"no": 0})


def refusing_late(listener: socket.socket, context: ssl.SSLContext) -> None:
    """A TLS server far away: its alert about the client's certificate comes when the request is already sent."""
    with listener, listener.accept()[0] as connection:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        talk = context.wrap_bio(incoming, outgoing, server_side=True)
        refused = False
        while not refused:
            incoming.write(connection.recv(65536))
            try:
                talk.do_handshake()
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError:
                refused = True
                time.sleep(0.2)
            connection.sendall(outgoing.read())
        time.sleep(0.2)


async def test_a_write_refused_for_its_certificate_is_not_called_lost(authority: Authority) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority.folder / "ca.pem")
    context.load_cert_chain(*authority.pair("late", "127.0.0.1"))
    context.verify_mode = ssl.CERT_REQUIRED
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"https://127.0.0.1:{listener.getsockname()[1]}"
    server = asyncio.create_task(asyncio.to_thread(refusing_late, listener, context))
    assert "TLS failed: tlsv13 alert certificate required" in await refusal(url, tls=tls_of(authority))
    await server


async def refusal(url: str, **settings: object) -> str:
    async with client_of(url, **settings) as client:
        with pytest.raises(ReadError) as caught:
            await client.put("a", b"")
    return str(caught.value)


async def test_an_unknown_authority_is_refused(mutual: EtcdServer, stranger: Authority, authority: Authority) -> None:
    for tls in (tls_of(stranger, authority), {}):
        assert "certificate was not accepted: unable to get local issuer" in await refusal(mutual.url, tls=tls)


async def test_a_certificate_for_another_host_is_refused(tmp_path: Path, authority: Authority) -> None:
    with running_etcd(tmp_path / "etcd", Authority(tmp_path / "ca").server("etcd.example")) as server:
        words = await refusal(server.url, tls={"ca": tmp_path / "ca" / "ca.pem"})
    assert "certificate was not accepted: IP address mismatch" in words


async def test_an_expired_certificate_is_refused(tmp_path: Path) -> None:
    past = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    with running_etcd(tmp_path / "etcd", Authority(tmp_path / "ca").server("127.0.0.1", not_after=past)) as server:
        words = await refusal(server.url, tls={"ca": tmp_path / "ca" / "ca.pem"})
    assert "certificate was not accepted: certificate has expired" in words


async def test_https_to_a_plain_port(etcd: EtcdServer) -> None:
    assert "check that the port speaks TLS" in await refusal(etcd.url.replace("http:", "https:"))


# Authentication


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdServer]:
    with running_etcd(tmp_path_factory.mktemp("guarded")) as server:
        server.enable_auth("village", PASSWORD, "readwrite", "--prefix=true", "stolon/")
        yield server


@pytest.fixture
def login(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    monkeypatch.setenv("ETCD_TEST_PASSWORD", PASSWORD)
    return {"user": "village", "password": {"env": "ETCD_TEST_PASSWORD"}}


async def test_a_user_reads_and_writes_where_the_role_allows(guarded: EtcdServer, login: dict[str, object]) -> None:
    async with client_of(guarded.url, **login) as client:
        assert await client.swap({"stolon/a": b"1"}, {"stolon/a": 0})
        with pytest.raises(ReadError, match="permission denied; grant user 'village' a role"):
            await client.swap({"other": b"1"}, {"other": 0})
        with pytest.raises(ReadError, match="permission denied"):
            await client.get_prefix("")


async def test_a_wrong_password_is_told_and_not_shown(
    guarded: EtcdServer, login: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ETCD_TEST_PASSWORD", "wrong-" + PASSWORD)
    words = await refusal(guarded.url, **login)
    assert "refused to log in user 'village'" in words
    assert PASSWORD not in words


async def test_a_certificate_with_a_cn_beside_authentication(tmp_path: Path, login: dict[str, object]) -> None:
    authority = Authority(tmp_path / "ca")
    with running_etcd(tmp_path / "etcd", authority.server("127.0.0.1", client_auth=True)) as server:
        plain = tls_of(authority, authority)
        flags = f"--cacert={plain['ca']} --cert={plain['cert']} --key={plain['key']}".split()
        for command in ("user add root:{}", "role add root", "user grant-role root root", "auth enable"):
            server.ctl(*flags, *command.format(PASSWORD).split())
        login["user"] = "root"
        async with client_of(server.url, tls=plain, **login) as client:
            assert await client.get("a") is None
        named = tls_of(authority)
        named["cert"], named["key"] = authority.pair("named", "client.example", common_name="root")
        assert "issue tls.cert without a CN" in await refusal(server.url, tls=named, **login)


async def test_no_user_where_one_is_needed(guarded: EtcdServer) -> None:
    assert "set user and password in the settings" in await refusal(guarded.url)


async def test_a_token_that_etcd_forgot_is_renewed_even_for_a_swap(
    guarded: EtcdServer, login: dict[str, object]
) -> None:
    async with client_of(guarded.url, **login) as client:
        await client.put("stolon/renewed", b"1")
        client._gateway._token = "forgotten.1"
        found = await client.get("stolon/renewed")
        client._gateway._token = "forgotten.2"
        assert found is not None
        swaps = [client.swap({f"stolon/renewed/{n}": b"2"}, {"stolon/renewed": found.mod_revision}) for n in range(5)]
        assert await asyncio.gather(*swaps) == [True] * 5


async def test_a_token_of_an_older_auth_revision_is_renewed(tmp_path: Path, login: dict[str, object]) -> None:
    (tmp_path / "jwt.key").write_text("0123456789abcdef" * 4)
    signed = f"--auth-token=jwt,sign-method=HS256,priv-key={tmp_path / 'jwt.key'}"
    with running_etcd(tmp_path / "etcd", arguments=[signed]) as server:
        server.enable_auth("village", PASSWORD, "readwrite", "--prefix=true", "stolon/")
        async with client_of(server.url, **login) as client:
            await client.put("stolon/x", b"1")
            server.ctl(f"--user=root:{PASSWORD}", "role", "add", "one-more")
            assert await client.swap({"stolon/y": b"1"}, {"stolon/y": 0})


async def test_a_user_is_no_hindrance_where_authentication_is_off(etcd: EtcdServer, login: dict[str, object]) -> None:
    async with client_of(etcd.url, **login) as client:
        await client.put("open", b"1")


async def test_authentication_that_is_switched_on_meanwhile(tmp_path: Path, login: dict[str, object]) -> None:
    with running_etcd(tmp_path / "etcd") as server:
        async with client_of(server.url, **login) as client:
            await client.put("stolon/a", b"1")
            server.enable_auth("village", PASSWORD, "readwrite", "--prefix=true", "stolon/")
            assert await client.delete("stolon/a")


async def test_a_server_that_echoes_the_login_does_not_get_it_into_an_error(login: dict[str, object]) -> None:
    echo = saying("400 Bad Request", f'{{"message":"you sent {PASSWORD}"}}'.encode())
    async with listening(echo) as (url, seen):
        words = await refusal(url, **login)
    assert PASSWORD.encode() in seen[0]
    assert PASSWORD not in words


async def test_a_server_that_echoes_the_token_does_not_get_it_into_an_error(login: dict[str, object]) -> None:
    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = b'{"token":"tOkEn.1"}' if b"authenticate" in seen[-1] else b'{"error":"no tOkEn.1"}'
        await saying("200 OK" if b"authenticate" in seen[-1] else "400 Bad Request", first)(reader, writer)

    async with listening(conversation) as (url, seen):
        words = await refusal(url, **login)
    assert b"tOkEn.1" in seen[-1]
    assert "tOkEn.1" not in words


# Settings


@pytest.mark.parametrize(
    ("endpoint", "kind"),
    [
        ("http://etcd.example:2379", CredentialRefused),
        ("http://10.0.0.1:2379", CredentialRefused),
        ("http://127.0.0.1.example:2379", CredentialRefused),
        ("http://[2001:db8::1]:2379", CredentialRefused),
        ("https://u:s3cret@etcd.example", SettingsError),
        ("ftp://etcd.example", SettingsError),
        ("etcd.example:2379", SettingsError),
        ("https://etcd.example/path", SettingsError),
        ("https://etcd.example:port", SettingsError),
        ("https://[::1", SettingsError),
        ("https://", SettingsError),
    ],
)
async def test_endpoints_that_are_refused(endpoint: str, kind: type[PgVillageError], login: dict[str, object]) -> None:
    with pytest.raises(kind) as caught:
        async with client_of("https://fine.example", endpoint, **login):
            pass
    assert "s3cret" not in str(caught.value)


async def test_a_password_may_go_to_loopback_in_clear_text(login: dict[str, object]) -> None:
    async with client_of("http://localhost", "http://[::1]", "https://etcd.example", **login) as client:
        assert client._gateway._endpoints == ["http://localhost:2379", "http://[::1]:2379", "https://etcd.example:2379"]


async def test_a_user_without_password_is_refused() -> None:
    with pytest.raises(SettingsError, match="go together"):
        async with client_of("https://etcd.example", user="village"):
            pass


async def test_a_password_that_cannot_be_read(etcd: EtcdServer) -> None:
    source = SecretSource.model_validate({"env": "ETCD_TEST_NO_SUCH_VARIABLE"})
    async with client_of(etcd.url, user="village", password=source) as client:
        with pytest.raises(SecretError, match=r"etcd etcd-a: password"):
            await client.get("a")


@pytest.mark.parametrize(
    ("tls", "words"),
    [
        ({"ca": "absent.pem"}, "cannot read the TLS file .*absent.pem"),
        ({"ca": "empty.pem"}, "no CA certificate"),
        ({"cert": "client.pem"}, "no pair"),
        ({"cert": "client.pem", "key": "other.key"}, "no pair"),
        ({"cert": "client.pem", "key": "locked.key"}, "unencrypted key"),
        ({"key": "client.key"}, "needs tls.cert"),
    ],
)
async def test_tls_files_that_are_refused(tls: dict[str, str], words: str, tmp_path: Path) -> None:
    folder = tmp_path / "ca"
    authority = Authority(folder)
    authority.pair("client", "client.example")
    authority.pair("other", "client.example")
    (folder / "empty.pem").touch()
    (folder / "locked.key").write_bytes(_locked(folder / "client.key"))
    with pytest.raises(SettingsError, match=words):
        async with client_of("https://etcd.example", tls={name: folder / file for name, file in tls.items()}):
            pass


def _locked(key: Path) -> bytes:
    from cryptography.hazmat.primitives import serialization as form

    loaded = form.load_pem_private_key(key.read_bytes(), None)
    pkcs8 = form.PrivateFormat.PKCS8
    return loaded.private_bytes(form.Encoding.PEM, pkcs8, form.BestAvailableEncryption(b"passphrase"))


def test_the_http_library_is_loaded_only_when_it_is_needed() -> None:
    program = "import sys, pgvillage.clients.etcd; sys.exit('httpx2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
