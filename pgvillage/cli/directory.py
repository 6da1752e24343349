"""pgvillage directory test."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pgvillage.cli.options import (
    DEFAULT_SETTINGS,
    NoColorOption,
    SettingsOption,
    TextOrJson,
    TextOrJsonOption,
    console_of,
    world_of,
)

if TYPE_CHECKING:
    from rich.console import Console

    from pgvillage.core.lookup import DirectoryVisit
    from pgvillage.usecases.directory_test import DirectoryTest, GroupTest

_SHOWN = 20


class Action(enum.StrEnum):
    TEST = "test"


def command(
    action: Annotated[Action, typer.Argument(help="`test` asks and changes nothing.")],  # noqa: ARG001 - there is one
    directory: Annotated[str | None, typer.Argument(help="A directory of the settings; all when unset.")] = None,
    group: Annotated[
        str | None, typer.Option("--group", help="Only this group: a manifest's name, or the DN of any group.")
    ] = None,
    settings: SettingsOption = DEFAULT_SETTINGS,
    output: TextOrJsonOption = TextOrJson.TEXT,
    no_color: NoColorOption = False,
) -> int:
    """Ask LDAP directories for the estate's groups: who answers, with what TLS, which roles that makes, who is left
    out and why, and the same question as an `ldapsearch` command. Exit 1 when nothing is answered, 6 when not all is.
    """
    import asyncio
    import json

    from pgvillage.usecases.directory_test import exit_of_tests, try_directories

    tests = asyncio.run(try_directories(world_of(settings), directory, group))
    if output is TextOrJson.JSON:
        document = {"format_version": 1, "directories": [_document(test) for test in tests]}
        typer.echo(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        console = console_of(no_color=no_color)
        for test in tests:
            _print(console, test, whole=group is not None)
    return exit_of_tests(tests)


def _print(console: Console, test: DirectoryTest, *, whole: bool) -> None:
    from rich.text import Text

    visit = test.visit
    console.print(Text.assemble((test.name, "bold"), f"  {visit.uri}  {visit.product}" if visit.uri else ""))
    lines: list[tuple[str | None, Any]] = [*_facts(test)]
    for group in test.groups:
        mark = ("✗ ", "red") if group.problem else ("✓ ", "green")
        lines.append((None, Text.assemble(mark, (_visible(group.title), "bold"), f"  {_summary(group)}")))
        lines += _details(group, whole=whole)
    for label, text in lines:
        console.print(Text.assemble(("  " if label is None else f"  {label:<12}", "dim"), text), soft_wrap=True)


def _facts(test: DirectoryTest) -> Iterator[tuple[str, Any]]:
    visit = test.visit
    if visit.discovered:
        yield "srv", _visible(visit.discovered)
    for reason in visit.failed:
        yield "failed", _visible(reason)
    if test.problem:
        yield "problem", _visible(test.problem)
        return
    if visit.tls:
        names = f", for {', '.join(visit.tls.names)}" if visit.tls.names else ""
        subject = visit.tls.subject or "no subject"
        yield "tls", _visible(f"{visit.tls.version}, certificate {subject}{names}, valid until {visit.tls.expires}")
    elif visit.identity:
        yield "tls", "none"
    if visit.identity:
        yield "identity", _visible(visit.identity)
    yield "base", _visible(test.settings.base)
    yield "took", f"{visit.seconds:.2f} s, {visit.round_trips} searches"
    if not test.groups:
        yield "groups", "none of the estate is asked here"


def _summary(group: GroupTest) -> str:
    if group.problem:
        return _visible(group.problem)
    count = len(group.people)
    return f"{count} {'person' if count == 1 else 'people'}"


def _details(group: GroupTest, *, whole: bool) -> Iterator[tuple[str, str]]:
    if group.position:
        yield "  from", str(group.position)
    for label, texts in (
        ("roles" if group.position else "people", list(group.people)),
        ("disabled", [f"{name} ({why})" for name, why in group.disabled.items()]),
        ("left out", list(group.left_out)),
    ):
        if texts:
            yield f"  {label}", (", " if label == "roles" else "; ").join(_clipped(texts, whole=whole))
    if group.unfit:
        yield "  filter", f"leaves out {group.unfit}"
    if group.command:
        yield "  ask", group.command


def _clipped(texts: Sequence[str], *, whole: bool) -> list[str]:
    shown = [_visible(text) for text in (texts if whole else texts[:_SHOWN])]
    return shown if len(shown) == len(texts) else [*shown, f"and {len(texts) - len(shown)} more"]


def _visible(text: str) -> str:
    from pgvillage.report.words import show_text

    return show_text(text, 2_000)


def _document(test: DirectoryTest) -> dict[str, Any]:
    visit = test.visit
    return {
        "name": test.name,
        "base": test.settings.base,
        "problem": test.problem or None,
        **_visit_document(visit),
        "groups": [_group_document(group) for group in test.groups],
    }


def _visit_document(visit: DirectoryVisit) -> dict[str, Any]:
    tls = visit.tls
    return {
        "uri": visit.uri or None,
        "product": visit.product or None,
        "active_directory": visit.active_directory,
        "tls": tls
        and {"version": tls.version, "subject": tls.subject, "names": list(tls.names), "expires": tls.expires},
        "identity": visit.identity or None,
        "discovered": visit.discovered or None,
        "failed": list(visit.failed),
        "searches": visit.round_trips,
        "seconds": round(visit.seconds, 3),
    }


def _group_document(group: GroupTest) -> dict[str, Any]:
    people: Mapping[str, str] = group.people
    return {
        "title": group.title,
        "group": group.query.group or None,
        "source": str(group.position) if group.position else None,
        "problem": group.problem or None,
        "people": [{"name": name, "dn": dn} for name, dn in people.items()],
        "disabled": dict(group.disabled),
        "left_out": list(group.left_out),
        "unfit": group.unfit,
        "ldapsearch": group.command or None,
    }
