"""Who can do something, as text for a terminal: identical ways are one line, however many people have them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.text import Text

from pgvillage.access.directory import Feed
from pgvillage.access.question import words_of
from pgvillage.access.roles import RoleFacts
from pgvillage.access.ways import How, Way
from pgvillage.access.who_can import Answer, Answers, Group, Hindrance
from pgvillage.report.words import clipped, show_name, show_text, visible

_NAMES_SHOWN = 8
_WIDEST = 44


def print_answers(console: Console, answers: Answers, *, every: bool = False) -> None:
    """What every cluster said; then which have no such object, and which could not be asked."""
    for index, answer in enumerate(answers.answers):
        if index:
            console.print()
        print_answer(console, answer, every=every)
    for _, why in answers.without:
        console.print(Text(f"· {show_text(why)}", style="dim"), soft_wrap=True)
    for finding in answers.findings:
        console.print(Text(f"✗ {show_text(finding)}", style="red"), soft_wrap=True)
    for cluster, why in answers.failed:
        console.print(Text(f"✗ {cluster}: not asked: {show_text(why)}", style="red"), soft_wrap=True)


def print_answer(console: Console, answer: Answer, *, every: bool = False) -> None:
    """One cluster's answer; `every` names everybody."""
    listed = answer.found.listed
    head = Text.assemble(
        (f"{answer.cluster}  ", "bold cyan"),
        (f"who can {answer.question.privilege} on {_object(answer)}", "bold"),
        (f"  owner {show_name(listed.owner)}", "dim"),
    )
    console.print(head, soft_wrap=True)
    console.print(Text(f"  {_summary(answer)}"), soft_wrap=True)
    for note in answer.found.notes:
        console.print(Text(f"  {note}", style="yellow"), soft_wrap=True)
    lines = list(_lines(answer, login=True))
    others = list(_lines(answer, login=False))
    width = min(max(len(line.words) for line in [*lines, *others]), _WIDEST) + 2 if lines or others else 0
    for line in lines:
        _print_line(console, line, answer, width, every=every)
    if others:
        console.print(Text("  roles that do not log in", style="dim"))
    for line in others:
        _print_line(console, line, answer, width, every=every)
    _print_hindered(console, answer, every=every)


def _object(answer: Answer) -> str:
    question = answer.question
    if question.outside_schemas:
        return f"{words_of(question.object_class)} {visible(answer.found.name.partition(':')[2])}"
    word = "column" if question.column else answer.found.listed.object_class
    return f"{word} {visible(answer.found.name)}"


def _summary(answer: Answer) -> str:
    facts = answer.roles.facts
    total = sum(role.login for role in facts.values())

    def logins(names: Iterable[str]) -> int:
        return sum(facts[name].login for name in names if name in facts)

    line = f"{logins(answer.has):,} of {total:,} login roles can"
    if later := logins(answer.after_set_role):
        line += f"; {later:,} only after SET ROLE"
    if partly := logins(answer.on_columns):
        line += f"; {partly:,} on some columns only"
    return line


def way_words(way: Way) -> str:
    """`through readers, staff`, `as owner`, `granted to it`; the words of one way without its columns."""
    spring = way.spring
    before = f"after SET ROLE {show_name(way.set_role)}" if way.set_role else ""
    chain = way.then if way.set_role else way.through
    if way.set_role and len(way.through) > 1:
        before += f" (member through {_chain(way.through[:-1])})"
    through = f"through {_chain(chain)}" if chain else ""
    if spring.how is How.SUPERUSER:
        words = "a superuser" if way.set_role else "superuser"
    elif spring.how is How.PUBLIC:
        words = "PUBLIC: every role"
    elif spring.how is How.PREDEFINED:
        words = through or "predefined role"
    elif spring.how is How.OWNER:
        words = f"{through} (the owner)" if through else "owner"
    else:
        words = through or ("" if way.set_role else "granted to itself")
    found = ": ".join(filter(None, (before, words)))
    return found + (" with grant option" if spring.grantable and spring.how is How.GRANT else "")


def _chain(roles: Sequence[str]) -> str:
    return " > ".join(map(show_name, roles))


@dataclass(frozen=True, slots=True)
class _Line:
    """Roles that have the same words for their way; those with a grant of their own each share one."""

    words: str
    group: Group
    roles: tuple[RoleFacts, ...]


def _lines(answer: Answer, *, login: bool) -> Iterator[_Line]:
    found: dict[tuple[str, Feed | None], tuple[Group, list[RoleFacts]]] = {}
    for group in answer.groups:
        roles = [role for role in group.roles if role.login is login]
        if roles:
            found.setdefault((_words(group.way, answer), group.feed), (group, []))[1].extend(roles)
    for (words, _), (group, roles) in found.items():
        yield _Line(words, group, tuple(sorted(roles, key=lambda role: role.name)))


def _words(way: Way, answer: Answer) -> str:
    columns = way.spring.columns
    if not columns:
        return way_words(way)
    only = "this column alone" if answer.question.column else f"only {', '.join(map(show_name, columns))}"
    return f"{way_words(way)}, {only}"


def _print_line(console: Console, line: _Line, answer: Answer, width: int, *, every: bool) -> None:
    group, way = line.group, line.group.way
    text = Text(f"    {line.words.ljust(width)}", style="yellow" if way.set_role else "")
    everyone = way.spring.how is How.PUBLIC and not way.set_role
    text.append(counted_roles(line.roles) if everyone and not every else named(line.roles, every=every), style="bold")
    console.print(text, soft_wrap=True)
    if group.feed is None:
        return
    feed = f"      by directory {group.feed.directory}: {show_text(group.feed.group)}"
    console.print(Text(feed, style="blue"), soft_wrap=True)
    for role in line.roles if every or len(line.roles) == 1 else ():
        console.print(Text(f"        {_entry(answer, group, role)}", style="dim"), soft_wrap=True)


def _entry(answer: Answer, group: Group, role: RoleFacts) -> str:
    between = answer.feeds.between(group.way.through[0], role.name)
    through = f" through {' > '.join(show_text(dn) for dn in between)}" if between else ""
    return f"{show_name(role.name)}: {show_text(answer.feeds.entry(role.name))}{through}"


def named(roles: Sequence[RoleFacts], *, every: bool = False) -> str:
    """`alice, bob`, or `2,000 roles: alice, bob, … (--all shows every one)`."""
    if every or len(roles) <= _NAMES_SHOWN:
        return ", ".join(show_name(role.name) for role in roles)
    first = ", ".join(clipped(show_name(role.name), 40) for role in roles[: _NAMES_SHOWN - 3])
    return f"{counted_roles(roles)}: {first}, … (--all shows every one)"


def counted_roles(roles: Sequence[object]) -> str:
    return f"{len(roles):,} role{'' if len(roles) == 1 else 's'}"


def hindrance_words(hindrance: Hindrance, answer: Answer) -> str:
    """What it is that hinders, and what it means."""
    found, question = answer.found, answer.question
    if hindrance is Hindrance.CONNECT:
        return f"no CONNECT on database {show_name(question.database)}"
    if hindrance is Hindrance.USAGE:
        return f"no USAGE on schema {show_name(question.schema)}"
    if hindrance is Hindrance.EXPIRED:
        return "VALID UNTIL is past: no login by password"
    policies = f"{found.policies} polic{'y' if found.policies == 1 else 'ies'}"
    means = (
        f"{policies} decide{'s' if found.policies == 1 else ''} which rows"
        if found.policies
        else "and no policy lets any row through"
    )
    return f"row-level security: {means}"


def _print_hindered(console: Console, answer: Answer, *, every: bool) -> None:
    if not answer.found.connectable:
        console.print(Text(f"  but database {show_name(answer.question.database)} accepts no connections", "yellow"))
    if not answer.hindered:
        return
    console.print(Text("  but", style="yellow"))
    for hindrance, roles in answer.hindered.items():
        line = Text(f"    {hindrance_words(hindrance, answer)}: ", style="yellow")
        console.print(line.append(named(roles, every=every)), soft_wrap=True)
