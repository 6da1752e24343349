"""Connection strings: one cluster and role, in the words of each driver."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import quote

from pgvillage.core.client_target import ClientTarget, Driver, Role
from pgvillage.core.errors import UsageError


@dataclass(frozen=True, slots=True)
class Dsn:
    """What a driver is given: one string, or one a host where the driver takes one host alone."""

    strings: tuple[str, ...]
    warnings: tuple[str, ...] = ()


def render(target: ClientTarget, driver: Driver) -> Dsn:
    """Raises UsageError for a name or place that this driver's format can't carry."""
    return _RENDERERS[driver](target)


def libpq_parameters(target: ClientTarget) -> dict[str, str]:
    """Keyword -> value as libpq 14 and later takes them."""
    return {
        "host": ",".join(host for host, _ in target.hosts),
        "port": ",".join(str(port) for _, port in target.hosts),
        "dbname": target.database,
        **({"user": target.user} if target.user else {}),
        **_tls(target),
        "target_session_attrs": target.role.value,
        "connect_timeout": str(target.connect_timeout),
    }


_VARIABLES = {
    "host": "PGHOST", "port": "PGPORT", "dbname": "PGDATABASE", "user": "PGUSER", "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT", "sslcert": "PGSSLCERT", "sslkey": "PGSSLKEY",
    "target_session_attrs": "PGTARGETSESSIONATTRS", "connect_timeout": "PGCONNECT_TIMEOUT",
}  # fmt: skip
# These would lead elsewhere: a service goes before every variable, and an address before the host.
_ELSEWHERE = ("PGSERVICE", "PGSERVICEFILE", "PGHOSTADDR")


def libpq_environment(target: ClientTarget, environment: Mapping[str, str]) -> dict[str, str]:
    """The environment with the PG* variables of this target in it; the user's own login stays."""
    kept = {name: value for name, value in environment.items() if name not in _ELSEWHERE}
    return {**kept, **{_VARIABLES[name]: value for name, value in libpq_parameters(target).items()}}


def conninfo(parameters: Mapping[str, str]) -> str:
    """`keyword=value` pairs, quoted by libpq's rules."""
    return " ".join(f"{name}={_conninfo_value(value)}" for name, value in parameters.items())


def service_section(target: ClientTarget, name: str) -> str:
    """A section of pg_service.conf. The file knows no quoting: raises UsageError for a value it can't carry."""
    if any(char in name for char in "]\n\r"):
        raise UsageError(f"service name {name!r}: pg_service.conf takes no `]` and no line break there")
    parameters = libpq_parameters(target)
    for keyword, value in parameters.items():
        if "\n" in value or "\r" in value or value != value.rstrip() or not value:
            raise UsageError(f"{keyword} {value!r}: pg_service.conf carries no line breaks and no blanks at the end")
    return "\n".join([f"[{name}]", *(f"{keyword}={value}" for keyword, value in parameters.items())])


def _conninfo_value(value: str) -> str:
    if value and all(char.isalnum() or char in "_-.,/:@" for char in value):
        return value
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _tls(target: ClientTarget) -> dict[str, str]:
    tls = target.tls
    given = {"sslmode": tls.mode, "sslrootcert": tls.rootcert, "sslcert": tls.cert, "sslkey": tls.key}
    return {name: value for name, value in given.items() if value}


def _libpq(target: ClientTarget) -> Dsn:
    return Dsn((conninfo(libpq_parameters(target)),))


def _python(target: ClientTarget) -> Dsn:
    """A URL that psycopg and asyncpg both take.

    asyncpg sends parameters that it does not know to the server, which refuses them: no connect_timeout here.
    """
    query = {**_tls(target), "target_session_attrs": target.role.value}
    user = f"{_escaped(target.user)}@" if target.user else ""
    if target.sockets:
        names = [f"[{host}]" if ":" in host and not host.startswith("/") else host for host, _ in target.hosts]
        query = {"host": ",".join(names), "port": ",".join(str(port) for _, port in target.hosts), **query}
        place = user
    else:
        place = user + ",".join(target.authorities)
    warnings = () if target.tls.rootcert != "system" else (_NO_SYSTEM.format("asyncpg"),)
    return Dsn((f"postgresql://{place}/{_escaped(target.database)}?{_query(query)}",), warnings)


def _go(target: ClientTarget) -> Dsn:
    return Dsn((conninfo(libpq_parameters(target)),))


def _odbc(target: ClientTarget) -> Dsn:
    """Everything but sslmode in `pqopt`, which psqlODBC hands to libpq as it is.

    Its own Port is cut after nine characters, and its Database and UID know no quoting (13.02).
    """
    parameters = libpq_parameters(target)
    mode = parameters.pop("sslmode")
    for name, value in parameters.items():
        if "}" in value or "{" in value:
            raise UsageError(f"{name} {value!r}: psqlODBC's connection string carries no braces")
    return Dsn((f"Driver={{PostgreSQL Unicode}};SSLmode={mode};pqopt={{{conninfo(parameters)}}}",))


_JDBC_ROLES = {Role.PRIMARY: "primary", Role.STANDBY: "secondary", Role.PREFER_STANDBY: "preferSecondary"}


def _jdbc(target: ClientTarget) -> Dsn:
    _no_sockets(target, "pgJDBC", "a socket factory of your own")
    tls, warnings = _tls(target), []
    if tls.get("sslrootcert") == "system":
        del tls["sslrootcert"]
        tls["sslfactory"] = "org.postgresql.ssl.DefaultJavaSSLFactory"
    if tls.get("sslkey", "").endswith(".pem"):
        warnings.append("pgJDBC (42.7.8) reads the key as PKCS-8 DER (.pk8) or PKCS-12 (.p12), not as PEM")
    query = {
        **({"user": target.user} if target.user else {}),
        **tls,
        "targetServerType": _JDBC_ROLES.get(target.role, "any"),
        "connectTimeout": str(target.connect_timeout),
    }
    if len(target.hosts) > 1:
        query["hostRecheckSeconds"] = "2"
        if target.role is not Role.PRIMARY:
            query["loadBalanceHosts"] = "true"
    hosts = ",".join(target.authorities)
    return Dsn((f"jdbc:postgresql://{hosts}/{_escaped(target.database)}?{_query(query)}",), tuple(warnings))


_NPGSQL_MODES = {"verify-ca": "VerifyCA", "verify-full": "VerifyFull"}


def _npgsql(target: ClientTarget) -> Dsn:
    if target.sockets and len(target.hosts) > 1:
        _no_sockets(target, "Npgsql with several hosts", "TCP hosts")
    tls, warnings = target.tls, []
    pairs = {"Host": ",".join(target.authorities), "Database": target.database, "Username": target.user}
    if target.sockets:
        pairs |= {"Host": target.hosts[0][0], "Port": str(target.hosts[0][1])}
    pairs["SSL Mode"] = _NPGSQL_MODES.get(tls.mode, tls.mode.capitalize())
    pairs |= {"Root Certificate": tls.rootcert if tls.rootcert != "system" else ""}
    pairs |= {"SSL Certificate": tls.cert, "SSL Key": tls.key, "Timeout": str(target.connect_timeout)}
    if len(target.hosts) > 1:
        pairs["Target Session Attributes"] = target.role.value
        if target.role is not Role.PRIMARY:
            pairs["Load Balance Hosts"] = "true"
    elif target.role is not Role.ANY:
        warnings.append(
            f"Npgsql refuses a role with a single host: nothing checks that it is {_WHAT[target.role]}; "
            "it takes one with several hosts in the manifest, and through a proxy the proxy's word counts"
        )
    text = ";".join(f"{name}={_npgsql_value(value)}" for name, value in pairs.items() if value)
    return Dsn((text,), tuple(warnings))


def _npgsql_value(value: str) -> str:
    """By ADO.NET's rules: quoted where a character would end it, the quote doubled."""
    if all(char.isalnum() or char in "_-.,/:[]" for char in value):
        return value
    return '"' + value.replace('"', '""') + '"'


def _node(target: ClientTarget) -> Dsn:
    """A URL a host: `pg` (8.x) takes one host, and knows no roles."""
    tls = _tls(target)
    if target.tls.rootcert == "system":
        del tls["sslrootcert"]  # Node.js has its own list of authorities, and `pg` would look for a file
    warnings = []
    if target.tls.mode in ("allow", "prefer"):
        warnings.append(f"pg has no way back to an unencrypted connection: sslmode={target.tls.mode} needs TLS there")
        tls["sslmode"] = "prefer"
    if tls["sslmode"] not in ("verify-full", "disable"):
        tls["uselibpqcompat"] = "true"  # without it pg takes every mode for verify-full
    if target.role is not Role.ANY or len(target.hosts) > 1:
        warnings.append(
            "pg takes one host and knows no roles: try the strings in turn and ask pg_is_in_recovery(), as --snippet "
            "does, or connect through HAProxy; the package `postgres` takes several hosts and target_session_attrs"
        )
    user = f"{_escaped(target.user)}@" if target.user else ""
    database = _node_database(target.database)
    strings = []
    for (host, port), authority in zip(target.hosts, target.authorities, strict=True):
        if host.startswith("/"):
            strings.append(f"postgresql://{user}/{database}?{_query({'host': host, 'port': str(port), **tls})}")
        else:
            strings.append(f"postgresql://{user}{authority}/{database}?{_query(tls)}")
    return Dsn(tuple(strings), tuple(warnings))


def _node_database(name: str) -> str:
    """`pg` decodes the path with decodeURI, which leaves %2F and its like as they are."""
    if any(char in name for char in "?#") or {".", ".."}.intersection(name.split("/")):
        raise UsageError(f"database {name!r}: a URL of pg (node) carries no `?`, `#` or lone dots in it: use --snippet")
    return quote(name, safe=";/:@&=+$,")


_WHAT = {Role.PRIMARY: "the primary", Role.STANDBY: "a standby", Role.PREFER_STANDBY: "a standby", Role.ANY: "any"}
_NO_SYSTEM = "{} takes no sslrootcert=system: give it a file with the authorities"


def _no_sockets(target: ClientTarget, who: str, instead: str) -> None:
    if target.sockets:
        raise UsageError(f"{target.cluster}: {who} connects to no socket folders: it needs {instead}")


def _escaped(text: str) -> str:
    return quote(text, safe="")


def _query(pairs: Mapping[str, str]) -> str:
    return "&".join(f"{name}={quote(value, safe=',:/-')}" for name, value in pairs.items())


_RENDERERS: dict[Driver, Callable[[ClientTarget], Dsn]] = {
    Driver.LIBPQ: _libpq,
    Driver.JDBC: _jdbc,
    Driver.NPGSQL: _npgsql,
    Driver.NODE: _node,
    Driver.PYTHON: _python,
    Driver.GO: _go,
    Driver.ODBC: _odbc,
}
