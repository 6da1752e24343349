"""Groups and their members, asked of an LDAP directory or of an LDIF file in its place."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from pgvillage.clients.directory import attributes_to_read, expand
from pgvillage.clients.ldap_connection import Line, bind_words, connect, parse_uri, refuse_clear_text
from pgvillage.clients.ldap_dn import InvalidDn, dn_key
from pgvillage.clients.ldap_entries import LdapEntries
from pgvillage.clients.ldap_failure import DirectoryRefused, ServerGone, Uri
from pgvillage.clients.ldap_srv import Servers, find_servers
from pgvillage.clients.ldif import ldif_directory
from pgvillage.clients.secrets import read_secret
from pgvillage.core.errors import PgVillageError
from pgvillage.core.lookup import DirectoryVisit, GroupAnswer, GroupQuery, Unanswered
from pgvillage.core.secret import Secret
from pgvillage.settings import Directory

# Time limits for the whole call beyond one for each server that may be dead: connect, bind and a few searches.
_ROUNDS = 5


async def ask_directory(
    name: str, settings: Directory, queries: Collection[GroupQuery]
) -> dict[GroupQuery, GroupAnswer | Unanswered]:
    """Answer all questions to one directory over one connection.

    Never raises for trouble of the directory: a question without a complete answer gets Unanswered with the reason.
    The whole call ends within `timeout` x (number of servers + 5) seconds, the lookup of `srv` (twice `timeout`), and
    reading the bind password.
    """
    if not queries:
        return {}
    try:
        return dict((await visit_directory(name, settings, queries)).answers)
    except PgVillageError as error:
        return dict.fromkeys(queries, Unanswered(f"directory {name}: {error}"))


async def visit_directory(name: str, settings: Directory, queries: Collection[GroupQuery]) -> DirectoryVisit:
    """As `ask_directory`, with how it went. Raises PgVillageError where nothing could be asked."""
    try:
        dn_key(settings.base)
    except InvalidDn as error:
        raise DirectoryRefused(
            f"base {settings.base!r} is not a distinguished name: {error}; correct it in the settings"
        ) from None
    started = time.monotonic()
    if settings.ldif is not None:
        visit = await asyncio.to_thread(_visit_file, settings, queries)
    else:
        servers = await asyncio.to_thread(_servers, settings)
        for uri in servers.uris:
            refuse_clear_text(uri, settings)
        password = await asyncio.to_thread(_password, name, settings)
        visit = await _visit_servers(servers.uris, settings, password, queries)
        visit = replace(visit, discovered=_discovered(servers))
    return replace(visit, seconds=time.monotonic() - started)


def _visit_file(settings: Directory, queries: Collection[GroupQuery]) -> DirectoryVisit:
    assert settings.ldif is not None
    answers = expand(settings, queries, ldif_directory(settings.ldif, settings), datetime.now(UTC))
    return DirectoryVisit(answers, str(settings.ldif), "an LDIF file")


def _servers(settings: Directory) -> Servers:
    if settings.srv is not None:
        return find_servers(settings.srv, settings)
    return Servers("", [parse_uri(uri) for uri in settings.uris])


def _discovered(servers: Servers) -> str:
    return f"{servers.name}: {', '.join(map(str, servers.uris))}" if servers.name else ""


def _password(name: str, settings: Directory) -> Secret | None:
    source = settings.bind.password if settings.bind else None
    return read_secret(source, f"bind password of directory {name}") if source else None


async def _visit_servers(
    uris: Sequence[Uri], settings: Directory, password: Secret | None, queries: Collection[GroupQuery]
) -> DirectoryVisit:
    line = Line()
    seconds = settings.timeout * (len(uris) + _ROUNDS)
    try:
        async with asyncio.timeout(seconds):
            return await asyncio.to_thread(_first_that_answers, uris, settings, password, queries, line)
    except TimeoutError:
        servers = ", ".join(map(str, uris))
        raise ServerGone(
            f"{servers}: expected all answers within {seconds:g} s, found fewer; raise `timeout`"
        ) from None
    finally:
        line.cut()  # the thread, if it still waits, must not wait for ever


def _first_that_answers(
    uris: Sequence[Uri], settings: Directory, password: Secret | None, queries: Collection[GroupQuery], line: Line
) -> DirectoryVisit:
    """Ask server after server, each from the start: answers of two servers are never mixed."""
    reasons: list[str] = []
    for uri in uris:
        try:
            session = connect(uri, settings, password, line)
            entries = LdapEntries(session, settings, attributes_to_read(settings, queries))
            answers = expand(settings, queries, entries, datetime.now(UTC))
            visit = DirectoryVisit(
                answers,
                uri=str(uri),
                product=entries.facts.product,
                active_directory=entries.facts.active_directory,
                tls=session.tls,
                identity=bind_words(settings),
                failed=tuple(reasons),
                round_trips=session.round_trips,
            )
        except ServerGone as gone:
            reasons.append(str(gone))
        except DirectoryRefused as refused:
            raise DirectoryRefused("; ".join([*reasons, str(refused)])) from None
        else:
            session.close()
            return visit
        finally:
            line.drop()
    raise ServerGone("; ".join(reasons))
