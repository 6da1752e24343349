"""What `pgvillage dsn` prints, read back by each driver's own rules."""

from __future__ import annotations

import configparser
import re
from itertools import product
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from psycopg.conninfo import conninfo_to_dict

from pgvillage.core.client_target import ClientTarget, ClientTls, Driver, Role
from pgvillage.core.errors import UsageError
from pgvillage.report.dsn import libpq_environment, render, service_section
from pgvillage.report.dsn_json import dsn_document, dsn_schema
from pgvillage.report.dsn_snippets import snippet

THREE = (("pg1.example", 5432), ("10.0.0.2", 5433), ("2001:db8::3", 5434))
NAMES = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), min_size=1, max_size=40)
FILES = st.sampled_from(["", "/etc/ssl/ca.pem", "/srv/o'brien & sons/ca 1.pem", "C:\\keys\\ca;1.pem", 'a"b%41+.pem'])
TARGETS = st.builds(
    ClientTarget,
    cluster=st.just("orders"),
    hosts=st.sampled_from([THREE, THREE[:1], THREE[2:]]),
    role=st.sampled_from(Role),
    database=NAMES,
    user=st.one_of(st.just(""), NAMES),
    tls=st.builds(ClientTls, mode=st.just("verify-full"), rootcert=FILES, cert=FILES, key=FILES),
)


def _target(role: Role = Role.PRIMARY, **more: object) -> ClientTarget:
    given = {"cluster": "orders", "hosts": THREE, "database": "shop", "user": "app", **more}
    return ClientTarget(role=role, **given)  # type: ignore[arg-type]


def _check_libpq(found: dict[str, object], target: ClientTarget) -> None:
    assert found.get("host") == ",".join(host for host, _ in target.hosts)
    assert found.get("port") == ",".join(str(port) for _, port in target.hosts)
    assert found.get("dbname") == target.database
    assert found.get("user", "") == target.user
    assert found.get("sslmode") == target.tls.mode
    for name, value in (("sslrootcert", target.tls.rootcert), ("sslcert", target.tls.cert), ("sslkey", target.tls.key)):
        assert found.get(name, "") == value
    assert found.get("target_session_attrs") == target.role
    assert "password" not in found


@given(TARGETS, st.sampled_from([Driver.LIBPQ, Driver.GO, Driver.PYTHON]))
def test_libpq_reads_back_what_was_asked_for(target: ClientTarget, driver: Driver) -> None:
    _check_libpq(conninfo_to_dict(render(target, driver).strings[0]), target)


@given(TARGETS)
def test_asyncpg_reads_back_the_same_url(target: ClientTarget) -> None:
    parsed = urlsplit(render(target, Driver.PYTHON).strings[0])
    query = parse_qs(parsed.query, strict_parsing=True)
    user, at, hosts = parsed.netloc.rpartition("@")
    assert unquote(parsed.path[1:]) == target.database
    assert (unquote(user), bool(at)) == (target.user, bool(target.user))
    assert hosts.split(",") == target.authorities
    assert query["target_session_attrs"] == [target.role]
    # asyncpg sends what it does not know to the server, which refuses the connection for it
    assert set(query) <= {"sslmode", "sslrootcert", "sslcert", "sslkey", "target_session_attrs"}


@given(TARGETS)
def test_jdbc_url_reads_back_by_the_rules_of_pgjdbc(target: ClientTarget) -> None:
    (url,) = render(target, Driver.JDBC).strings
    server, _, arguments = url.removeprefix("jdbc:postgresql://").partition("?")
    hosts, _, database = server.partition("/")
    found = {name: _java_decoded(value) for name, _, value in (pair.partition("=") for pair in arguments.split("&"))}
    assert hosts.split(",") == target.authorities
    assert _java_decoded(database) == target.database
    assert found.get("user", "") == target.user
    words = {"primary": "primary", "standby": "secondary", "prefer-standby": "preferSecondary", "any": "any"}
    assert found["targetServerType"] == words[target.role]
    assert found.get("sslrootcert", "") == target.tls.rootcert


def _java_decoded(text: str) -> str:
    """java.net.URLDecoder: a plus is a blank."""
    return unquote(text.replace("+", " "))


@given(TARGETS)
def test_npgsql_string_reads_back_by_ado_nets_rules(target: ClientTarget) -> None:
    found = _ado_net(render(target, Driver.NPGSQL).strings[0])
    assert found["Host"].split(",") == target.authorities
    assert found["Database"] == target.database
    assert found.get("Username", "") == target.user
    assert found["SSL Mode"] == "VerifyFull"
    assert found.get("SSL Key", "") == target.tls.key
    assert found.get("Target Session Attributes") == (target.role if len(target.hosts) > 1 else None)


def _ado_net(text: str) -> dict[str, str]:
    """name=value;name="va""lue": what stands between the pairs must be a semicolon."""
    found, at = {}, 0
    pattern = re.compile(r'([^=;]+)=(?:"((?:[^"]|"")*)"|([^;"\']*))(?:;|$)')
    while at < len(text):
        match = pattern.match(text, at)
        assert match, text[at:]
        found[match[1]] = match[2].replace('""', '"') if match[2] is not None else match[3]
        at = match.end()
    return found


@given(TARGETS)
def test_odbc_string_holds_libpqs_own_words_in_braces_or_is_refused(target: ClientTarget) -> None:
    if any(brace in value for brace in "{}" for value in (target.database, target.user)):
        with pytest.raises(UsageError, match="braces"):
            render(target, Driver.ODBC)
        return
    text = render(target, Driver.ODBC).strings[0]
    found = dict(re.findall(r"(\w+)=(\{[^{}]*\}|[^;{}]*)(?:;|$)", text))
    assert list(found) == ["Driver", "SSLmode", "pqopt"]
    _check_libpq({**conninfo_to_dict(found["pqopt"][1:-1]), "sslmode": found["SSLmode"]}, target)


@given(TARGETS)
def test_node_gets_one_url_a_host_that_its_parser_reads_back_or_is_refused(target: ClientTarget) -> None:
    try:
        dsn = render(target, Driver.NODE)
    except UsageError:
        assert re.search(r"[?#]|(^|/)\.\.?(/|$)", target.database)
        return
    for text, authority in zip(dsn.strings, target.authorities, strict=True):
        before, _, path = text.removeprefix("postgresql://").partition(f"{authority}/")
        database, _, query = path.rpartition("?")
        assert unquote(before.removesuffix("@")) == target.user
        # decodeURI leaves these as they are
        assert not re.search("%(?:3B|2F|3F|3A|40|26|3D|2B|24|2C|23)", database)
        assert unquote(database) == target.database
        assert parse_qs(query)["sslmode"] == ["verify-full"]


@given(TARGETS)
def test_service_section_reads_back_line_by_line_or_is_refused(target: ClientTarget) -> None:
    if any("\n" in v or "\r" in v or v != v.rstrip() for v in (target.database, target.user)):
        with pytest.raises(UsageError, match=r"pg_service\.conf"):
            service_section(target, "orders")
        return
    text = service_section(target, "orders")
    head, *lines = text.split("\n")
    assert head == "[orders]"
    _check_libpq({name: value for name, _, value in (line.partition("=") for line in lines)}, target)


def test_service_section_is_a_section_for_other_readers_too() -> None:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(service_section(_target(), "orders"))
    assert parser["orders"]["dbname"] == "shop"


@pytest.mark.parametrize("name", ["a]b", "a\nb"])
def test_service_name_that_would_end_its_line_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="service name"):
        service_section(_target(), name)


@pytest.mark.parametrize(("role", "driver"), list(product(Role, Driver)))
def test_snippet_has_every_string_and_document_fits_its_schema(role: Role, driver: Driver) -> None:
    target = _target(role)
    dsn = render(target, driver)
    text = snippet(target, driver, dsn)
    assert "shop" in text
    if driver is Driver.PYTHON:
        compile(text, "snippet", "exec")
    document = dsn_document(target, driver, dsn, "", ())
    assert not list(Draft202012Validator(dsn_schema()).iter_errors(document))


@pytest.mark.parametrize(
    ("driver", "hosts", "words"),
    [
        (Driver.NODE, THREE, "knows no roles"),
        (Driver.NPGSQL, THREE[:1], "refuses a role with a single host"),
    ],
)
def test_a_role_that_the_driver_cannot_express_is_warned_about(
    driver: Driver, hosts: tuple[tuple[str, int], ...], words: str
) -> None:
    assert words in " ".join(render(_target(hosts=hosts), driver).warnings)


def test_modes_that_pg_for_node_takes_for_another_are_asked_for_by_libpqs_meaning() -> None:
    (text,) = render(_target(hosts=THREE[:1], tls=ClientTls("require")), Driver.NODE).strings
    assert "sslmode=require&uselibpqcompat=true" in text


def test_system_authorities_are_asked_for_in_each_drivers_way() -> None:
    target = _target(tls=ClientTls(rootcert="system"))
    assert "sslfactory=org.postgresql.ssl.DefaultJavaSSLFactory" in render(target, Driver.JDBC).strings[0]
    assert "Root Certificate" not in render(target, Driver.NPGSQL).strings[0]
    assert "sslrootcert" not in render(target, Driver.NODE).strings[0]
    assert "asyncpg" in render(target, Driver.PYTHON).warnings[0]


@pytest.mark.parametrize("driver", [Driver.JDBC, Driver.NPGSQL])
def test_socket_folders_are_refused_where_a_driver_has_none(driver: Driver) -> None:
    with pytest.raises(UsageError, match="socket"):
        render(_target(hosts=(("/run/a", 5432), ("/run/b", 5432))), driver)


@pytest.mark.parametrize("driver", [Driver.LIBPQ, Driver.PYTHON, Driver.GO])
def test_socket_folders_are_hosts_where_a_driver_has_them(driver: Driver) -> None:
    target = _target(hosts=(("/run/a b", 5432), ("10.0.0.2", 5433)))
    _check_libpq(conninfo_to_dict(render(target, driver).strings[0]), target)


def test_environment_leads_nowhere_else_and_keeps_the_users_login() -> None:
    before = {"PGSERVICE": "other", "PGHOSTADDR": "192.0.2.1", "PGPASSWORD": "mine", "HOME": "/home/me"}
    found = libpq_environment(_target(Role.STANDBY, user=""), before)
    assert found["PGHOST"] == "pg1.example,10.0.0.2,2001:db8::3"
    assert found["PGTARGETSESSIONATTRS"] == "standby"
    assert found["PGPASSWORD"] == "mine"
    assert not {"PGSERVICE", "PGHOSTADDR", "PGUSER"} & set(found)
