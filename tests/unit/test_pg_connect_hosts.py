"""Which hosts a credential may be sent to: exactly those of its patterns, before a packet leaves."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgvillage.clients.pg_connect import Endpoint, split_host
from pgvillage.core.errors import CredentialRefused
from pgvillage.settings import Credential, SslMode, Timeouts


def endpoint(host: str, *patterns: str, sslmode: SslMode | None = None, least: SslMode = "verify-full") -> Endpoint:
    credential = Credential(user="u", hosts=list(patterns), sslmode=least)
    return Endpoint("c", host.split("|"), "admin", credential, sslmode, Timeouts())


def allowed(pattern: str, host: str) -> bool:
    try:
        endpoint(host, pattern).check()
    except CredentialRefused:
        return False
    return True


@pytest.mark.parametrize(
    ("pattern", "host"),
    [
        ("pg1", "pg1"), ("pg1", "pg1:5432"), ("PG1.Prod", "pg1.prod:5432"), ("pg1.prod", "PG1.PROD"),
        ("pg*.prod", "pg12.prod"),
        ("pg1:5433", "pg1:5433"), ("pg1:*", "pg1:6000"), ("*.*.prod", "a.b.prod"), ("10.0.0.*", "10.0.0.7"),
        ("[::1]", "[::1]"), ("[::1]:5433", "[::1]:5433"), ("[2001:db8::*]", "[2001:DB8::1]"), ("[::1]:*", "[::1]:1"),
        ("/run/postgresql", "/run/postgresql"), ("/run/postgresql", "/run/postgresql:5433"),
        ("/run/pg:5433", "/run/pg:5433"),
        ("/run/PG", "/run/PG"), ("/run/*", "/run/pg.1"),
    ],
)  # fmt: skip
def test_allowed(pattern: str, host: str) -> None:
    assert allowed(pattern, host)


@pytest.mark.parametrize(
    ("pattern", "host"),
    [
        ("pg1", "pg1:5433"), ("pg1", "pg2"), ("pg1", "xpg1"), ("pg1", "pg1x"), ("pg1", "pg1.evil.example"),
        ("pg*.prod", "pg.evil.prod"), ("pg*.prod", "pg1.prod.evil"), ("pg*.prod", "pg1xprod"), ("pg*", "pg1:5433"),
        ("pg*:5432", "pg:1:5432"), ("*.prod", "prod"), ("*", "a.b"), ("*", "[::1]"), ("pg1", "evil.example#pg1"),
        ("*", "evil#pg1"), ("*", "a,b"), ("*", "a b"), ("*", "a@b"), ("*", "@abstract"), ("*", ""), ("*:*", "/run/pg"),
        ("::1", "[::1]"), ("[::1]", "[::2]"), ("[::*]", "[::1:2]"), ("[::1]", "[::1]:5433"), ("[*]", "[::1]"),
        ("pg1", "pg1\n"), ("pg1", "\u0440g1"), ("pg1", "pg1."), ("pg1", "pg1:0"), ("pg1", "pg1:65536"),
        ("pg1", "pg1:\u0665"),
        ("/run/pg", "/run/pg2"), ("/run/pg", "/run/pg/x"), ("/run/*", "/run/a/b"), ("/run/*", "/run/pg,evil"),
        ("/run/PG", "/run/pg"), ("/run/pg:5433", "/run/pg"), ("/run/pg:5433", "/run/pg:5434"), ("/run/pg", "run"),
    ],
)  # fmt: skip
def test_refused(pattern: str, host: str) -> None:
    assert not allowed(pattern, host)


def test_every_host_must_be_allowed_and_the_message_says_which_is_not() -> None:
    with pytest.raises(
        CredentialRefused, match=r"c: credential 'admin' may not be sent to evil:5432; .* allow pg1, pg2"
    ):
        endpoint("pg1|evil|pg2", "pg1", "pg2").check()


@given(
    st.text(alphabet="pg1.-:*[],/@# \\n", max_size=12),
    st.from_regex(r"[a-z0-9*]{1,4}(\.[a-z0-9*]{1,4}){0,2}", fullmatch=True),
)
def test_what_is_sent_is_one_host_that_fits_label_by_label(host: str, pattern: str) -> None:
    if not allowed(pattern, host):
        return
    name, port = split_host(host)
    assert port == 5432
    assert not set(name) & set(",@# \n/:*")
    assert name.count(".") == pattern.count(".")


@pytest.mark.parametrize(
    ("asked", "least", "tls"),
    [
        (None, "verify-full", "verify-full"),
        ("disable", "require", "require"),
        ("verify-full", "disable", "verify-full"),
    ],
)
def test_the_stricter_tls_wins(asked: SslMode | None, least: SslMode, tls: SslMode) -> None:
    assert endpoint("pg1", "pg1", sslmode=asked, least=least).tls == tls


def test_without_a_verified_server_no_password_goes_in_clear_text() -> None:
    def auth(host: str, least: SslMode) -> object:
        return endpoint(host, host, least=least).conninfo("d", application="a", options="").get("require_auth")

    assert auth("pg1", "require") == auth("pg1|[::1]", "prefer") == "!password,!gss,!sspi"
    assert auth("pg1", "verify-full") is None
    # Whoever comes first may listen on a port of this machine, so it is no exception.
    assert (
        auth("/run/pg", "disable") == auth("[::1]", "disable") == auth("127.0.0.1", "disable") == auth("pg1", "require")
    )
