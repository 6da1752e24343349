"""Options of a role in SQL's words (`NOLOGIN`, `CONNECTION LIMIT 5`), as keys of manifests."""

from __future__ import annotations

import re

from pgvillage.imports.draft import Draft, RoleDraft
from pgvillage.imports.reading import Node

ATTRIBUTES = {
    "SUPERUSER": "superuser",
    "CREATEDB": "createdb",
    "CREATEROLE": "createrole",
    "INHERIT": "inherit",
    "REPLICATION": "replication",
    "BYPASSRLS": "bypassrls",
}
_LIMIT = re.compile(r"CONNECTION\s+LIMIT\s+(-?[0-9]{1,9})", re.IGNORECASE)
_UNTIL = re.compile(r"""VALID\s+UNTIL\s+['"]?([^'"]*)['"]?""", re.IGNORECASE)
_PASSWORD = re.compile(r"(ENCRYPTED\s+)?PASSWORD\b", re.IGNORECASE)
_TEMPLATE = re.compile(r"""\{\{\s*env\[\s*['"]([A-Za-z_][A-Za-z0-9_]*)['"]\s*\]\s*\}\}""")  # pgbedrock's
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def apply_option(draft: Draft, role: RoleDraft, option: str, node: Node) -> None:
    """One option as SQL has it; a password becomes a secret's name, and its text goes nowhere."""
    if _PASSWORD.match(option.strip()):
        found = _TEMPLATE.search(option)
        secret = draft.secret_of(role.name, found[1]) if found else draft.secret(role.name, node)
        role.spec["auth"] = {"method": "scram", "password": secret}
        return
    if found := _LIMIT.fullmatch(option.strip()):
        set_limit(role, int(found[1]))
    elif found := _UNTIL.fullmatch(option.strip()):
        set_expiry(role, found[1], node)
    else:
        word = option.strip().upper()
        apply_flag(role, word.removeprefix("NO"), not word.startswith("NO"), node)


def apply_options(draft: Draft, role: RoleDraft, node: Node) -> None:
    """`LOGIN NOINHERIT CONNECTION LIMIT 5`, or a mapping from option to value."""
    if isinstance(node.value, dict):
        for key, value in node.named():
            if key.upper() == "CONNECTION LIMIT":
                set_limit(role, value.number(-1))
            else:
                apply_flag(role, key.upper(), value.flag(), value)
        return
    for item in node.items():
        words = item.text().split()
        while words:
            count = 3 if [w.upper() for w in words[:2]] == ["CONNECTION", "LIMIT"] else 1
            apply_option(draft, role, " ".join(words[:count]), item)
            del words[:count]


def apply_flag(role: RoleDraft, word: str, value: bool, node: Node) -> None:
    if word == "LOGIN":
        role.login = value
    elif word in ATTRIBUTES:
        key = ATTRIBUTES[word]
        role.spec.pop(key, None)
        if value is not (word == "INHERIT"):
            role.spec[key] = value
    else:
        node.note("this is no option of a role that PgVillage knows", f"one of: LOGIN, {', '.join(ATTRIBUTES)}")


def set_limit(role: RoleDraft, limit: int) -> None:
    role.spec.pop("connectionLimit", None)
    if limit != -1:
        role.spec["connectionLimit"] = limit


def set_expiry(role: RoleDraft, text: str, node: Node) -> None:
    """A day or a moment; `infinity` is no expiry."""
    text = text.strip()
    if text in ("", "infinity"):
        return
    if _DAY.fullmatch(text[:10]) and (len(text) == 10 or text[10] in "T "):
        moment = text[:10] + "T" + text[11:] if len(text) > 10 else text
        role.spec["validUntil"] = text[:10] if re.fullmatch(r".{10}T00:00(:00)?(Z|\+00(:00)?)?", moment) else text
    else:
        node.note("this is no date that a manifest can have", "write `validUntil: 2027-06-30` into the User")


def quoted_list(names: list[str]) -> str:
    """Names as `search_path` has them."""
    plain = re.compile(r"[a-z_][a-z0-9_$]*\Z")
    return ", ".join(name if plain.match(name) else '"' + name.replace('"', '""') + '"' for name in names)
