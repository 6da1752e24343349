"""A role as text for a terminal: what it is, whose it is, what it can do and by which way."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from rich.console import Console
from rich.text import Text

from pgvillage.access.role_account import Accounts, RoleAccount
from pgvillage.access.role_rights import Right
from pgvillage.access.ways import Way
from pgvillage.access.who_can import is_past
from pgvillage.report.access_text import way_words
from pgvillage.report.words import change_line, show_name, show_text, show_value, title

_NAMES_SHOWN = 4
_NO_USAGE = "  (no USAGE: nothing in it can be reached)"
_PLURALS = {
    "foreignDataWrapper": "foreign-data wrapper",
    "foreignServer": "foreign server",
    "largeObject": "large object",
}


def print_accounts(console: Console, accounts: Accounts) -> None:
    """The role on every cluster that knows it."""
    for index, account in enumerate(accounts.accounts):
        if index:
            console.print()
        _print(console, account)
    for cluster, why in accounts.failed:
        console.print(Text(f"✗ {cluster}: not asked: {show_text(why)}", style="red"), soft_wrap=True)


def _print(console: Console, account: RoleAccount) -> None:
    console.print(
        Text.assemble((f"{account.cluster}  ", "bold cyan"), (f"role {show_name(account.role)}", "bold")),
        soft_wrap=True,
    )
    for name, lines in _sections(account):
        for index, line in enumerate(lines):
            console.print(Text.assemble((f"  {name if index == 0 else '':<12}", "dim"), line), soft_wrap=True)


def _sections(account: RoleAccount) -> Iterator[tuple[str, list[str]]]:
    yield "is", [_attributes(account)]
    yield "declared", list(_declared(account))
    yield "member of", list(_tree(account, account.role)) or ["no role"]
    yield "owns", list(_owns(account))
    yield "can", list(_rights(account))
    yield (
        "could",
        [f"SET ROLE {show_name(r)}{_through(c)}: see `explain role {show_name(r)}`" for r, c in account.becomes],
    )
    yield (
        "settings",
        [
            f"{title(address)}: {', '.join(f'{k} = {show_value(v)}' for k, v in _values(state))}"
            for address, state in sorted(account.settings.items())
        ],
    )
    yield (
        "later",
        [
            f"{title(address)}: {', '.join(sorted(state.privileges))}"
            for address, state in sorted(account.future.items())
        ],
    )
    yield "not read", [f"{show_name(name)}: {show_text(why)}" for name, why in sorted(account.unread.items())]
    yield (
        "now",
        [change_line(change) for change in account.changes] or ["as declared" if account.resource else "left alone"],
    )


def _values(state: object) -> Iterable[tuple[str, object]]:
    fields: Mapping[str, object] = state.as_fields()  # type: ignore[attr-defined]
    return fields.items()


def _through(chain: tuple[str, ...]) -> str:
    return f" (through {' > '.join(map(show_name, chain[:-1]))})" if len(chain) > 1 else ""


def _attributes(account: RoleAccount) -> str:
    state = account.state
    if state is None:
        return "not there yet"
    words = ["may log in" if state.login else "does not log in"]
    words += [
        word
        for word, on in (
            ("SUPERUSER: no check applies", state.superuser),
            ("CREATEDB", state.createdb),
            ("CREATEROLE", state.createrole),
            ("REPLICATION", state.replication),
            ("BYPASSRLS", state.bypassrls),
            ("NOINHERIT", not state.inherit),
        )
        if on
    ]
    if state.connection_limit >= 0:
        words.append(f"at most {state.connection_limit} connections")
    if state.valid_until:
        past = ", which is past: no login by password" if is_past(state.valid_until, account.read_at) else ""
        words.append(f"valid until {state.valid_until}{past}")
    return ", ".join(words) + (f"; {show_value(state.comment)}" if isinstance(state.comment, str) else "")


def _declared(account: RoleAccount) -> Iterator[str]:
    resource = account.resource
    if resource is None or not str(resource.source):
        yield "nowhere: PgVillage leaves it alone"
        return
    yield f"{show_text(str(resource.source))}" + (": must not be" if resource.state is None else "")


def _tree(account: RoleAccount, member: str, depth: int = 0, shown: set[str] | None = None) -> Iterator[str]:
    """Every membership once with its options; what lies above one that stands twice is shown at the first."""
    shown = set() if shown is None else shown
    for group, membership in sorted(account.roles.groups.get(member, {}).items()):
        words = [] if membership.inherit else ["only after SET ROLE" if membership.set else "no rights by it"]
        words += ["may not SET ROLE"] if membership.inherit and not membership.set else []
        words += ["admin"] if membership.admin else []
        if (feed := account.feeds.of(group, member)) is not None:
            words.append(f"by directory {feed.directory}: {show_text(feed.group)}")
            words += [f"through {show_text(dn)}" for dn in account.feeds.between(group, member)]
        again = group in shown and bool(account.roles.groups.get(group))
        words += ["as above"] if again else []
        yield "  " * depth + show_name(group) + (f"  ({', '.join(words)})" if words else "")
        if not again:
            shown.add(group)
            yield from _tree(account, group, depth + 1, shown)


def _owns(account: RoleAccount) -> Iterator[str]:
    for (object_class, database, schema), names in sorted(account.owns.items()):
        if object_class in ("database", "schema"):
            yield f"{object_class} {'.'.join(map(show_name, filter(None, (database, schema))))}"
        else:
            where = ".".join(map(show_name, filter(None, (database, schema))))
            yield f"{_several(object_class, names, len(names))}{f' in {where}' if where else ''}"


def _rights(account: RoleAccount) -> Iterator[str]:
    if account.state is not None and account.state.superuser:
        yield "everything: it is a superuser"
        return
    by_database: dict[str, dict[str, list[Right]]] = defaultdict(lambda: defaultdict(list))
    for right in account.rights:
        by_database[right.place[1]][right.place[2]].append(right)
    for database, schemas in sorted(by_database.items()):
        yield (
            f"database {show_name(database)}{_lacks_connect(account, schemas[''])}"
            if database
            else "on the whole cluster"
        )
        for schema, rights in sorted(schemas.items()):
            word = account.profiles.get((database, schema))
            if schema:
                lacks = "" if any("USAGE" in r.ways for r in rights if r.place[0] == "schema") else _NO_USAGE
                yield f"  schema {show_name(schema)}{lacks}" + (f": {show_name(word)}" if word else "")
            for right in rights:
                yield from (f"{'    ' if schema else '  '}{line}" for line in _right(right))
    if not account.rights:
        yield "nothing"


def _lacks_connect(account: RoleAccount, rights: Iterable[Right]) -> str:
    """For a role that logs in; others are there to be members of."""
    if account.state is None or not account.state.login:
        return ""
    connects = any("CONNECT" in right.ways for right in rights if right.place[0] == "database")
    return "" if connects else "  (no CONNECT: it can't log in there)"


def _right(right: Right) -> Iterator[str]:
    by_way: dict[Way, list[str]] = defaultdict(list)
    for privilege in right.privileges:
        by_way[right.ways[privilege]].append(privilege)
    object_class = right.place[0]
    for way, privileges in by_way.items():
        what = (
            "" if object_class in ("database", "schema") else f" on {_several(object_class, right.names, right.total)}"
        )
        yield f"{', '.join(privileges)}{what}  ({way_words(way)})"


def _several(object_class: str, names: frozenset[str], total: int) -> str:
    """`all 12 tables`, `table t1`, `3 of 12 tables: a, b, c`."""
    word = _PLURALS.get(object_class, object_class)
    shown = sorted(names)[:_NAMES_SHOWN]
    # functions and columns are written as they are named: quotes are theirs
    texts = [show_text(n, 80) if object_class in ("function", "column") else show_name(n) for n in shown]
    if len(names) == 1:
        return f"{word} {texts[0]}"
    if len(names) == total:
        return f"all {total:,} {word}s"
    more = ", …" if len(names) > len(shown) else ""
    return f"{len(names):,} of {total:,} {word}s: {', '.join(texts)}{more}"
