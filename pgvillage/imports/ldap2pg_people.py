"""ldap2pg's rules with a search: a group of the directory whose members become roles, as far as a Group can say it."""

from __future__ import annotations

import re

from pgvillage.imports.directory import DIRECTORY, finds_everything, first_rdn
from pgvillage.imports.draft import Document, Draft, RoleDraft
from pgvillage.imports.options import apply_options
from pgvillage.imports.reading import Node, Section

_FIELD = re.compile(
    r"\{\s*([A-Za-z][A-Za-z0-9-]*)(?:\.([A-Za-z][A-Za-z0-9-]*))?(\.(?:lower|upper|identifier|string)\(\))?\s*\}"
)
_MEMBERS = ("member", "uniquemember", "memberuid")
_BY_HAND = "declare a Group with `members: {directory, group, role}` by hand"


def feed(draft: Draft, search: Node, node: Node) -> list[str]:
    """Let a group of the file be fed from the directory's group. Its DN; nothing where it can't be said."""
    section = node.section() if isinstance(node.value, dict) else None
    names = section.get("names", "name") if section else node
    parents = section.get("parents", "parent") if section else Node(node.reading, node.path, None)
    login, limit, comment_given = _wanted(draft, node, section)
    if search.value is None:
        node.note("an attribute in braces needs an `ldapsearch`, here is none", _BY_HAND)
        return []
    group, template = _group(search), _template(names)
    statics = [p for p in parents.texts() if "{" not in p]
    if any("{" in p for p in parents.texts()):
        parents.note("a parent from an attribute is not mapped", _BY_HAND)
        return []
    if not group or not template:
        return []
    if not statics:
        names.note(
            "these roles have no parent, and PgVillage feeds people into a group", "give them a `parent`, or a Group"
        )
        return []
    if not login:
        names.note("people of a directory log in, and these roles have no LOGIN", _BY_HAND)
        return []
    return _fed(draft, node, statics, {"group": group, **template, **limit}, comment_given)


def _fed(draft: Draft, node: Node, parents: list[str], members: Document, comment: Node | None) -> list[str]:
    free = [p for p in parents if p not in draft.roles or "members" not in draft.roles[p].spec]
    if not free:
        node.note(
            "each parent is fed by another search already, and a Group has one", "give this search a group of its own"
        )
        return []
    more = [p for p in parents if p != free[0]]
    members = {"directory": DIRECTORY, **members, **({"memberOf": more} if more else {})}
    draft.role(free[0], node).spec["members"] = members
    if comment is not None:
        comment.note("people of a directory get no comment", "leave it out")
    return [members["group"]]


def _wanted(draft: Draft, node: Node, section: Section | None) -> tuple[bool, Document, Node | None]:
    """Whether the people log in, their connection limit, and a comment that is lost."""
    if section is None:
        return False, {}, None
    probe = RoleDraft("", node)
    apply_options(draft, probe, section.get("options"))
    limit = {"connectionLimit": probe.spec.pop("connectionLimit")} if "connectionLimit" in probe.spec else {}
    for key in sorted(probe.spec):
        section.get("options").note(
            f"{key} is not given to each person of a directory", "give it to the group they are in"
        )
    section.decline("config", "settings are not set for each person of a directory", "use `defaults.user.settings`")
    for key in ("before_create", "after_create"):
        section.decline(key, "SQL around CREATE ROLE is not run", "declare what it makes: schemas, grants, settings")
    comment = section.get("comment")
    return probe.login, limit, comment if comment.value is not None else None


def _group(search: Node) -> str:
    """The DN when the search is for one group entry; nothing, and named, when it is for more."""
    section = search.section()
    base, filter_ = section.get("base").text(), section.get("filter")
    scope = section.get("scope").text() or "sub"
    section.decline("on_unexpected_dn", "entries that are no people are left out and reported", "leave it out")
    joins = section.get("joins", "subsearches")
    for _, join in joins.named():
        inner = join.section()
        inner.get("scope")
        if not finds_everything(inner.get("filter").text()):
            join.note("a join's filter leaves members out, and a Group has all of them", _BY_HAND)
            return ""
    if not finds_everything(filter_.text()):
        filter_.note("the search's filter is not mapped, so nothing of this search is carried over", _BY_HAND)
        return ""
    if scope != "base" and first_rdn(base)[0] != "cn":
        search.note("this searches below a folder, not one group's entry", "use a rule for each group, by its DN")
        return ""
    return base


def _template(names: Node) -> Document:
    """`{member.cn}` as `role: "{cn}"`; nothing, and named, where the roles are not the members."""
    texts = names.texts()
    found = list(_FIELD.finditer(texts[0])) if texts else []
    if len(texts) != 1 or len(found) != 1 or "{" in _FIELD.sub("", texts[0]):
        names.note("only one name with one attribute of the members is mapped", _BY_HAND)
        return {}
    attribute, rdn, method = found[0][1].lower(), found[0][2], found[0][3] or ""
    if attribute not in _MEMBERS or not (rdn or attribute == "memberuid"):
        names.note("roles named after the entry that is found are not mapped, only after its members", _BY_HAND)
        return {}
    if method not in ("", ".lower()"):
        names.note(f"{method[1:]} is not mapped", "a name is kept as it is, or in lower case")
        return {}
    template = _FIELD.sub("{" + (rdn or "uid") + "}", texts[0])
    return {"role": template, "case": "lower" if method else "keep"}
