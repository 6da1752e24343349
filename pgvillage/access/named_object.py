"""Objects that are asked about by class and name, outside schemas: tablespaces, parameters, languages, servers …"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pgvillage.access.question import Question
from pgvillage.access.ways import Listed
from pgvillage.core.live import Capabilities, Query

_PARAMETER_ACL_SINCE = 15
_PLAIN = """
SELECT x.{name}::text, o.rolname::text,
       coalesce(x.{prefix}acl, pg_catalog.acldefault('{letter}', x.{prefix}owner))::text[], {fact}
FROM pg_catalog.{catalog} x JOIN pg_catalog.pg_roles o ON o.oid = x.{prefix}owner
"""
# Parameters have no owner: the superuser that initdb made stands for one.
_PARAMETERS = """
SELECT n.name, o.rolname::text, {0},
       (SELECT s.context FROM pg_catalog.pg_settings s WHERE pg_catalog.lower(s.name) = n.name)
FROM (SELECT pg_catalog.lower(name) AS name FROM pg_catalog.pg_settings {1}) n
JOIN pg_catalog.pg_roles o ON o.oid = 10
"""
_LISTED = """coalesce((SELECT a.paracl FROM pg_catalog.pg_parameter_acl a WHERE a.parname = n.name),
         pg_catalog.acldefault('p', 10))::text[]"""
_WITH_LISTED = "UNION SELECT parname FROM pg_catalog.pg_parameter_acl"
_UNCHECKED = "pg_catalog.current_setting('lo_compat_privileges')"
_CATALOGS = {
    "tablespace": {"name": "spcname", "prefix": "spc", "letter": "t", "catalog": "pg_tablespace", "fact": "NULL"},
    "language": {
        "name": "lanname", "prefix": "lan", "letter": "l", "catalog": "pg_language", "fact": "x.lanpltrusted::text"
    },
    "foreignDataWrapper": {
        "name": "fdwname", "prefix": "fdw", "letter": "F", "catalog": "pg_foreign_data_wrapper", "fact": "NULL"
    },
    "foreignServer": {
        "name": "srvname", "prefix": "srv", "letter": "S", "catalog": "pg_foreign_server", "fact": "NULL"
    },
    "largeObject": {
        "name": "oid", "prefix": "lom", "letter": "L", "catalog": "pg_largeobject_metadata", "fact": _UNCHECKED
    },
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Named:
    """An object's list, and what its list does not say, in words."""

    listed: Listed
    notes: tuple[str, ...] = ()


def named_query(question: Question, capabilities: Capabilities) -> Iterator[Query]:
    """All of the class, for there are few; of large objects the one."""
    if question.object_class == "parameter":
        modern = capabilities.major >= _PARAMETER_ACL_SINCE
        yield Query("access_named", _PARAMETERS.format(*((_LISTED, _WITH_LISTED) if modern else ("'{}'::text[]", ""))))
    elif catalog := _CATALOGS.get(question.object_class):
        text = _PLAIN.format(**catalog)
        if question.object_class == "largeObject":
            yield Query("access_named", f"{text} WHERE x.oid = %s", True, (int(question.name),))
        else:
            yield Query("access_named", text, each_database=question.inside)


def found_named(question: Question, rows: Sequence[Sequence[Any]]) -> Named | Sequence[str]:
    """The object, or the names that there are."""
    by_name: Mapping[str, Sequence[Any]] = {row[0]: row for row in rows}
    row = by_name.get(question.name)
    if row is None and question.object_class == "parameter" and "." in question.name and rows:
        row = (question.name, rows[0][1], (), "custom")
    if row is None:
        return list(by_name)
    _, owner, acl, fact = row
    listed = Listed(question.object_class, owner, tuple(acl))
    return Named(listed, tuple(_notes(question, fact)))


def _notes(question: Question, fact: str | None) -> Iterator[str]:
    if question.object_class == "parameter":
        yield from _of_parameter(question, fact)
    if question.object_class == "language" and fact == "false":
        yield "the language is not trusted: only superusers make functions in it, whatever its list says"
    if question.object_class == "largeObject" and question.privilege.startswith("UPDATE"):
        yield "to open it for writing takes SELECT too"
    if question.object_class == "largeObject" and fact == "on":
        yield "lo_compat_privileges is on: every role may read and write every large object"


def _of_parameter(question: Question, context: str | None) -> Iterator[str]:
    """Who needs no privilege, or gets nowhere with one."""
    if question.privilege.startswith("SET"):
        if context == "custom":
            yield "the server does not know it: like any custom parameter, every role may SET it in its own session"
        elif context == "user":
            yield "every role may SET it in its own session: that takes no privilege"
        elif context not in ("superuser", "superuser-backend", None):
            yield f"nobody can SET it in a session: it is of context {context}"
    elif context == "internal":
        yield "nobody can change it: it is of context internal"
