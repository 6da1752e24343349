"""Who can do something, as JSON; the schema is in `access_schema.py`."""

from __future__ import annotations

from typing import Any

from pgvillage.access.ways import Way
from pgvillage.access.who_can import Answer, Answers, Group
from pgvillage.report.access_text import hindrance_words

ACCESS_VERSION = 1
Document = dict[str, Any]


def way_document(way: Way) -> Document:
    return {
        "how": way.spring.how.value,
        "role": way.spring.role or None,
        "through": list(way.through),
        "set_role": way.set_role or None,
        "then": list(way.then),
        "grantable": way.spring.grantable,
        "columns": list(way.spring.columns),
    }


def answers_document(answers: Answers) -> Document:
    """The whole answer, cluster by cluster."""
    return {
        "format_version": ACCESS_VERSION,
        "privilege": answers.question.privilege,
        "object": answers.question.label,
        "complete": answers.complete,
        "clusters": [answer_document(answer) for answer in answers.answers],
        "without": [{"cluster": cluster, "message": why} for cluster, why in answers.without],
        "failed": [{"cluster": cluster, "message": why} for cluster, why in answers.failed],
        "diagnostics": list(answers.findings),
    }


def answer_document(answer: Answer) -> Document:
    """One cluster's answer, every role by name."""
    found = answer.found
    secured = {"forced": found.forced, "policies": found.policies} if found.row_security else None
    return {
        "cluster": answer.cluster,
        "object": found.name,
        "class": "column" if answer.question.column else found.listed.object_class,
        "owner": found.listed.owner,
        "read_at": answer.read_at.isoformat(),
        "connectable": found.connectable,
        "row_security": secured,
        "notes": list(found.notes),
        "can": sorted(answer.has),
        "after_set_role": sorted(answer.after_set_role),
        "on_columns": sorted(answer.on_columns),
        "ways": [_group(group, answer) for group in answer.groups],
        "hindered": [
            {"by": each.value, "message": hindrance_words(each, answer), "roles": [role.name for role in roles]}
            for each, roles in answer.hindered.items()
        ],
    }


def _group(group: Group, answer: Answer) -> Document:
    feed = {"directory": group.feed.directory, "group": group.feed.group} if group.feed else None
    nearest = group.way.through[0] if group.way.through else ""
    roles = [
        {
            "name": role.name,
            "login": role.login,
            "entry": answer.feeds.entry(role.name) or None if group.feed else None,
            "via": list(answer.feeds.between(nearest, role.name)) if group.feed else [],
        }
        for role in group.roles
    ]
    return {**way_document(group.way), "directory": feed, "roles": roles}
