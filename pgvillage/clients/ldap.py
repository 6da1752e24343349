"""Groups and their members, asked of an LDAP directory or of an LDIF file in its place."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from pgvillage.clients.directory import attributes_to_read, expand
from pgvillage.clients.ldap_connection import (
    DirectoryRefused,
    Line,
    ServerGone,
    Uri,
    connect,
    parse_uri,
    refuse_clear_text,
)
from pgvillage.clients.ldap_dn import InvalidDn, dn_key
from pgvillage.clients.ldap_entries import LdapEntries
from pgvillage.clients.ldif import ldif_directory
from pgvillage.clients.secrets import read_secret
from pgvillage.core.errors import PgVillageError
from pgvillage.core.lookup import GroupAnswer, GroupQuery, Unanswered
from pgvillage.core.secret import Secret
from pgvillage.settings import Directory

Answers = dict[GroupQuery, GroupAnswer | Unanswered]
# Time limits for the whole call beyond one for each server that may be dead: connect, bind and a few searches.
_ROUNDS = 5


async def ask_directory(name: str, settings: Directory, queries: Collection[GroupQuery]) -> Answers:
    """Answer all questions to one directory over one connection.

    Never raises for trouble of the directory: a question without a complete answer gets Unanswered with the reason.
    The whole call ends within `timeout` x (number of servers + 5) seconds, and reading the bind password.
    """
    if not queries:
        return {}
    try:
        dn_key(settings.base)
        if settings.ldif is not None:
            return await asyncio.to_thread(_ask_file, settings, queries)
        uris = [parse_uri(uri) for uri in settings.uris]
        for uri in uris:
            refuse_clear_text(uri, settings)
        password = await asyncio.to_thread(_password, name, settings)
        return await _ask_servers(uris, settings, password, queries)
    except InvalidDn as error:
        reason = f"base {settings.base!r} is not a distinguished name: {error}; correct it in the settings"
    except PgVillageError as error:
        reason = str(error)
    return dict.fromkeys(queries, Unanswered(f"directory {name}: {reason}"))


def _ask_file(settings: Directory, queries: Collection[GroupQuery]) -> Answers:
    assert settings.ldif is not None
    return expand(settings, queries, ldif_directory(settings.ldif, settings))


def _password(name: str, settings: Directory) -> Secret | None:
    return read_secret(settings.bind.password, f"bind password of directory {name}") if settings.bind else None


async def _ask_servers(
    uris: list[Uri], settings: Directory, password: Secret | None, queries: Collection[GroupQuery]
) -> Answers:
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
    uris: list[Uri], settings: Directory, password: Secret | None, queries: Collection[GroupQuery], line: Line
) -> Answers:
    """Ask server after server, each from the start: answers of two servers are never mixed."""
    reasons: list[str] = []
    for uri in uris:
        try:
            session = connect(uri, settings, password, line)
            entries = LdapEntries(session, settings, attributes_to_read(settings, queries))
            answers = expand(settings, queries, entries)
        except ServerGone as gone:
            reasons.append(str(gone))
        except DirectoryRefused as refused:
            raise DirectoryRefused("; ".join([*reasons, str(refused)])) from None
        else:
            session.close()
            return answers
        finally:
            line.drop()
    raise ServerGone("; ".join(reasons))
