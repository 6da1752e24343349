"""Does an expression in a manifest say what the server stores? Compared part by part, as far as it is understood."""

from __future__ import annotations

from collections.abc import Iterator

from pgvillage.core.change import Resource
from pgvillage.core.plan import Finding
from pgvillage.engine.kind import Context
from pgvillage.resources.postgres.expression_tokens import NotUnderstood, tokens
from pgvillage.resources.postgres.expression_tree import Node, tree

_CONSTANTS = frozenset({
    "null", "true", "false", "current_user", "session_user", "user", "current_role", "current_date", "current_time",
    "current_timestamp", "localtime", "localtimestamp", "current_catalog", "current_schema", "default",
})  # fmt: skip
_TEXTS = ("text", "character varying", "character", "name")


def same_expression(wish: str, live: str) -> bool:
    """Whether the server's normal form is what it would make of the wish; False when that can't be told."""
    if wish.strip() == live.strip():
        return True
    try:
        return _same(tree(wish), tree(live))
    except NotUnderstood:
        return _bare(wish) == _bare(live)


def surely_another(wish: str, live: str) -> bool:
    """Whether the live expression can't come of this wish: other columns, or texts that the wish does not have."""
    try:
        found = tree(live)
    except NotUnderstood:
        return False
    try:
        asked = tree(wish)
    except NotUnderstood:
        return "select" in _words(wish)  # a subquery stays one
    if any(node.kind == "select" for node in (*_all(asked), *_all(found))):
        return all(node.kind != "select" for node in _all(found))
    if _columns(asked) != _columns(found):
        return True
    known = {node.name for node in _all(asked) if node.kind in ("text", "number")} | _words(wish)
    return not (_typed_texts(found) <= known and _plain_numbers(found, asked) <= known)


def settled_expression(
    wish: str | None, live: str | None, resource: Resource, context: Context, what: str
) -> tuple[str | None, Finding | None]:
    """What an expression shall be: the live one where it says the same or nothing better is known.

    The server rewrites what it is given. Where its form can't be matched with the wish, and this very wish was applied
    before, a change would be planned again and again: that is said, with the form to paste, and nothing is changed.
    """
    if wish is None or live is None:
        return wish, None
    if same_expression(wish, live):
        return live, None
    if surely_another(wish, live) or not _applied(resource, context):
        return wish, None
    text = (
        f"{resource.source}: {what} was applied, and the server's form doesn't tell whether it was changed since. "
        f"If that is what is meant, paste it into the manifest: {live}"
    )
    return live, Finding("warning", text, resource.address)


def _applied(resource: Resource, context: Context) -> bool:
    ledger = context.snapshot.ledger
    if not ledger.usable:
        return ledger.why_not != "no ledger yet"
    entry = ledger.entries.get(resource.address)
    return entry is not None and entry.applied and entry.wish == resource.wish_fingerprint


def _same(wish: Node, live: Node) -> bool:
    if live.kind == "cast" and wish.kind != "cast":
        return _same(wish, live.parts[0])  # the server writes every coercion out
    if wish.kind == "cast" and live.kind != "cast":
        inner = wish.parts[0]  # of a literal the cast may have been done
        return inner.kind in ("text", "number", "cast", "array") and _same(inner, live)
    if {wish.kind, live.kind} == {"text", "number"}:
        return wish.name == live.name
    if wish.kind == live.kind == "word" and "\0" not in live.name:
        return wish.name.split("\0")[-1] == live.name  # a column with its table's name
    if wish.kind == live.kind == "cast" and "?" in (wish.name, live.name):
        return _same(wish.parts[0], live.parts[0])
    alike = (wish.kind, wish.name, len(wish.parts)) == (live.kind, live.name, len(live.parts))
    return alike and all(map(_same, wish.parts, live.parts))


def _bare(source: str) -> object:
    try:
        return tokens(source)
    except NotUnderstood:
        return source.split()


def _words(source: str) -> set[str]:
    try:
        return {token.value for token in tokens(source) if token.kind == "word"}
    except NotUnderstood:
        return set()


def _all(node: Node) -> Iterator[Node]:
    yield node
    for part in node.parts:
        yield from _all(part)


def _columns(node: Node) -> set[str]:
    words = (each.name.split("\0")[-1] for each in _all(node) if each.kind == "word")
    return {word for word in words if word not in _CONSTANTS}


def _plain_numbers(found: Node, asked: Node) -> set[str]:
    """Numbers of the live expression; none where the wish has any that the server writes in another way."""
    numbers = [[each.name for each in _all(tree_) if each.kind == "number"] for tree_ in (found, asked)]
    return set() if any(not name.lstrip("-").replace(".", "", 1).isdigit() for name in numbers[1]) else set(numbers[0])


def _typed_texts(node: Node) -> set[str]:
    """Texts that the server took as they were; those of other types it may have written anew."""
    casts = (each for each in _all(node) if each.kind == "cast" and each.name in _TEXTS)
    return {each.parts[0].name for each in casts if each.parts[0].kind == "text"}
