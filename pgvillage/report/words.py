"""Wording that all renderings share: values, names, fields and counts, in one line each and safe to show."""

from __future__ import annotations

import enum
import heapq
import re
import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from datetime import date
from typing import Any

from pgvillage.core.address import Address, quote_part
from pgvillage.core.change import Action, Change, FieldChange, Origin
from pgvillage.core.plan import Plan, Status, count_actions
from pgvillage.core.state import UNMANAGED

SYMBOLS: Mapping[Action, str] = {Action.CREATE: "+", Action.UPDATE: "~", Action.DELETE: "-", Action.REPLACE: "-/+"}
_NAMES_SHOWN = 5
_BARE = re.compile(r"[\w$*@:+./%=~-]+\Z")
# Printable by Unicode's word, and yet nobody sees them: fillers, joiners, variation selectors.
_UNSEEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)


def visible(text: str, keep: str = "") -> str:
    r"""The text with everything that hides, turns or ends a line as `\u202e`; `keep` are exceptions."""
    return "".join(c if c in keep or (c.isprintable() and not _UNSEEN.match(c)) else _escaped(c) for c in text)


def _escaped(char: str) -> str:
    short = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(char)
    return short or (f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}")


def clipped(text: str, limit: int) -> str:
    """At most `limit` characters, the last one an ellipsis where something was cut."""
    return text if len(text) <= limit else text[: max(limit - 1, 0)] + "…"


def show_text(text: str, limit: int = 200) -> str:
    """Free text in one line."""
    return clipped(visible(text[: limit + 1]), limit)


def show_value(value: Any, limit: int = 60) -> str:
    """A field's value as a person reads it, in one line of at most `limit` characters. Never raises."""
    try:
        return clipped(_value(value, limit), limit)
    except Exception:  # noqa: BLE001 - a value that cannot be shown must not take the report with it
        return clipped("(cannot be shown)", limit)


def _value(value: Any, limit: int) -> str:
    if value is None or value is UNMANAGED:
        return "(none)" if value is None else "(as it is)"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, enum.Enum):
        return _value(value.value, limit)
    if isinstance(value, str):
        return _string(value, limit)
    if isinstance(value, Mapping | frozenset | set | tuple | list):
        return _collection(value, limit) if limit > 3 else "…"
    return value.isoformat() if isinstance(value, date) else visible(str(value)[: limit + 1])


def _collection(value: Any, limit: int) -> str:
    if isinstance(value, Mapping):
        pairs = (f"{show_value(k, limit // 2)}: {show_value(v, limit // 2)}" for k, v in _least(value.items()))
        return f"{{{_listed(pairs, len(value), limit - 2)}}}"
    first = value[:_NAMES_SHOWN] if isinstance(value, tuple | list) else _least(value)
    names = (show_value(v, limit // 2) for v in first)
    if isinstance(value, tuple | list):
        return f"[{_listed(names, len(value), limit - 2)}]"
    return _listed(names, len(value), limit) or "(none)"


def _least(values: Iterable[Any]) -> list[Any]:
    return heapq.nsmallest(_NAMES_SHOWN, values, key=str)


def _string(text: str, limit: int) -> str:
    if _BARE.match(text) and visible(text[: limit + 1]) == text[: limit + 1]:
        return text
    body = visible(text[: limit + 1].replace("\\", "\\\\").replace('"', '\\"'))
    return f'"{clipped(body, max(limit - 2, 1))}"'


def _listed(shown: Iterable[str], count: int, limit: int) -> str:
    """As many as fit, five at most, and how many there are besides."""
    taken: list[str] = []
    for text in shown:
        if taken and len(", ".join([*taken, text])) + len(f" and {count} more") > limit:
            break
        taken.append(text)
    rest = count - len(taken)
    return ", ".join(taken) + (f" and {rest} more" if rest else "")


def show_name(part: str) -> str:
    """One part of an object's name: bare when harmless, else quoted with what hides or turns text escaped."""
    return visible(quote_part(part))


def _dotted(parts: Iterable[str]) -> str:
    return ".".join(map(show_name, parts))


def _setting(*pairs: str) -> str:
    """Of `role NAME`, `database NAME`, or `role NAME in database NAME`."""
    whose = (f"{show_text(kind)} {show_name(name)}" for kind, name in zip(pairs[::2], pairs[1::2], strict=True))
    return f"settings of {' in '.join(whose)}"


def _grantee(role: str) -> str:
    return "PUBLIC" if role == "public" else show_name(role)


_PLURALS: Mapping[str, str] = {
    **{name: f"{name}s" for name in ("table", "column", "sequence", "function", "type", "language", "tablespace")},
    "foreignDataWrapper": "foreign data wrappers",
    "foreignServer": "foreign servers",
    "largeObject": "large objects",
    "parameter": "parameters",
    "schema": "schemas",
}


def _privileges(place: str, *rest: str) -> str:
    *path, grantee = rest
    if place in ("database", "schema"):
        where = f"{place} {_dotted(path)}"
    else:
        where = _PLURALS.get(place, show_text(place)) + (f" in {_dotted(path)}" if path else "")
    return f"privileges of {_grantee(grantee)} on {where}"


def _future(place: str, database: str, schema: str, creator: str, grantee: str) -> str:
    where = _dotted(filter(None, (database, schema)))
    plural = _PLURALS.get(place, show_text(place))
    return f"privileges of {_grantee(grantee)} on future {plural} of {show_name(creator)} in {where}"


# A parameter's own dots (pg_stat_statements.max) are no reason for quotes.
_TITLES: Mapping[str, Callable[..., str]] = {
    "parameter": lambda name: f"parameter {_dotted(name.split('.'))}",
    "membership": lambda group, member: f"membership {show_name(member)} in {show_name(group)}",
    "extension": lambda database, name: f"extension {show_name(name)} in {show_name(database)}",
    "server": lambda database, name: f"foreign server {show_name(name)} in {show_name(database)}",
    "foreign-data-wrapper": lambda database, name: f"foreign-data wrapper {show_name(name)} in {show_name(database)}",
    "user-mapping": lambda database, server, role: (
        f"user mapping of {_grantee(role)} on server {_dotted((database, server))}"
    ),
    "publication": lambda database, name: f"publication {show_name(name)} in {show_name(database)}",
    "subscription": lambda database, name: f"subscription {show_name(name)} in {show_name(database)}",
    "event-trigger": lambda database, name: f"event trigger {show_name(name)} in {show_name(database)}",
    "row-security": lambda *table: f"row security of {_dotted(table)}",
    "policy": lambda *table_and_name: f"policy {show_name(table_and_name[-1])} on {_dotted(table_and_name[:-1])}",
    "ownership": lambda database, schema, owner: f"ownership of {show_name(owner)} in {_dotted((database, schema))}",
    "slot": lambda name: f"replication slot {show_name(name)}",
    "setting": _setting,
    "privilege": _privileges,
    "default-privilege": _future,
    "stolon": lambda part, name: f"stolon {'parameter ' if part == 'parameter' else ''}{_dotted(name.split('.'))}",
}


def title(address: Address, _change: Change | None = None) -> str:
    """What a DBA calls the object: `membership alice in readers`, `privileges of app on tables in orders.app`."""
    make = _TITLES.get(address.kind)
    try:
        return make(*address.name) if make else f"{show_text(address.kind)} {_dotted(address.name)}"
    except (TypeError, ValueError):  # another number of parts than this kind has
        return f"{show_text(address.kind)} {_dotted(address.name)}"


def symbol(action: Action) -> str:
    return SYMBOLS[action]


def shown_fields(change: Change) -> tuple[FieldChange, ...]:
    """The fields worth a line: of an object that comes or goes, those that are not at their default anyway."""
    if change.before is not None and change.after is not None:
        return change.fields
    state = change.after if change.after is not None else change.before
    usual = {f.name: f.default for f in fields(state) if f.default is not MISSING} if is_dataclass(state) else {}
    if change.address.kind == "membership":  # SET and INHERIT are what everybody expects of a membership
        usual |= {"inherit": True, "set": True}
    values = [(f, f.before if change.after is None else f.after) for f in change.fields]
    return tuple(f for f, value in values if f.name not in usual or usual[f.name] != value)


def field_line(change: Change, field: FieldChange, arrow: str = "->") -> str:
    """`connection_limit: 5 -> 20`, `SELECT: + t005`; of a sensitive field only that it changed."""
    name = show_text(field.name, 80)
    if field.sensitive or _is_secret(change, field.name):
        return f"{name}: changed"
    before, after = field.before or frozenset(), field.after or frozenset()
    if change.address.kind == "privilege" and isinstance(before, frozenset) and isinstance(after, frozenset):
        return f"{name}: {_objects(change, before, after)}"
    if change.address.kind == "ownership":
        return f"belongs to {name}: {show_value(before)}"
    if change.before is None or change.after is None:
        return f"{name}: {show_value(field.before if change.after is None else field.after)}"
    return f"{name}: {show_value(field.before)} {arrow} {show_value(field.after)}"


def _is_secret(change: Change, name: str) -> bool:
    return any(state is not None and name in state.SENSITIVE for state in (change.before, change.after))


def _objects(change: Change, before: frozenset[str], after: frozenset[str]) -> str:
    place = change.address.name[0] if change.address.name else ""
    if place in ("database", "schema"):
        return "granted" if after else "revoked"
    every: frozenset[str] = getattr(change.after or change.before, "every", frozenset())
    whole = f"all {len(every)} {place}s"
    some = " ".join(f"{sign} {show_value(n, 120)}" for sign, n in (("+", after - before), ("-", before - after)) if n)
    if len(every) < 2:
        return some
    if after == every:
        return f"on {whole} ({len(before)} before, {some})" if before else f"+ on {whole}"
    if before == every:
        return f"{some} (leaves {len(after)} of {len(every)})" if after else f"- on {whole}"
    return f"{some} (then on {len(after)} of {len(every)} {place}s)"


def change_line(change: Change) -> str:
    """`~ role etl (drift, held: policy says so)`."""
    facts = [str(change.origin)] if change.origin is not Origin.GIT else []
    facts += [f"held: {show_text(change.held)}"] if change.held else []
    return f"{symbol(change.action)} {title(change.address)}" + (f" ({', '.join(facts)})" if facts else "")


def remarks(change: Change) -> tuple[str, ...]:
    """What a person should know of a change besides its fields."""
    found = [show_text(change.reason)] if change.reason else []
    if change.heir and change.action is Action.DELETE:
        found.append(f"what it owns goes to {show_name(change.heir)}")
    if change.impact.restart:
        found.append("takes effect at the next restart")
    if change.impact.lock:
        found.append(f"takes a lock: {show_text(change.impact.lock)}")
    return tuple(found)


def counted(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("" if count == 1 else "s")


def counts_line(plan: Plan) -> str:
    """`Plan: 3 to create, 1 to update, 0 to replace, 0 to delete on 2 clusters (1 unreachable), 1 held`."""
    applied = [change for target in plan.targets for change in target.applied_changes]
    counts = ", ".join(f"{number} to {action}" for action, number in count_actions(applied).items())
    changing = {t.target.cluster for t in plan.targets if t.applied_changes}
    looked_at = changing or {t.target.cluster for t in plan.targets if t.status is not Status.UNREACHABLE}
    failed = {t.target.cluster for t in plan.targets if t.status is Status.UNREACHABLE}
    refused = {t.target.cluster for t in plan.targets if t.status is Status.REFUSED}
    troubles = ", ".join(f"{len(n)} {word}" for n, word in ((failed, "unreachable"), (refused, "refused")) if n)
    held = len(plan.changes) - len(applied)
    line = f"Plan: {counts} on {counted(len(looked_at), 'cluster')}"
    return line + (f" ({troubles})" if troubles else "") + (f", {held} held" if held else "")


def approval(target: str, digest: str) -> str:
    """What a person types where a daemon runs, to open a gate that yields to an approval."""
    return f"pgvillage approve {_argument(target)} {digest[:12]}"


def approved_apply(target: str, digest: str) -> str:
    """The same where none does: this applies it at once."""
    return f"pgvillage apply --auto -t {shlex.quote(visible(target))} --approve {digest[:12]}"


def _argument(text: str) -> str:
    return ("-- " if text.startswith("-") else "") + shlex.quote(visible(text))
