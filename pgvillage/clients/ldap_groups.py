"""Which entries are groups, and what is wrong with one whose members can't be known."""

from __future__ import annotations

from functools import lru_cache

from pgvillage.clients.ldap_entry import Entry
from pgvillage.settings import Directory

# The member attributes that each class of group may have.
_GROUP_CLASSES = {
    "groupofnames": {"member"}, "groupofmembers": {"member"}, "groupofentries": {"member"}, "group": {"member"},
    "groupofuniquenames": {"uniquemember"}, "ipausergroup": {"member"},
    "univentiongroup": {"uniquemember", "memberuid"},
    "posixgroup": {"memberuid", "member", "uniquemember"},
}  # fmt: skip
# posixGroup is an auxiliary class in RFC 2307bis: it may stand on a person.
_PERSON_CLASSES = {"person", "inetorgperson", "organizationalperson", "posixaccount", "account", "user"}
# Groups of Active Directory that people are in by their primaryGroupID, which their member list does not show.
_PRIMARY_GROUPS = {"513": "Domain Users", "514": "Domain Guests", "515": "Domain Computers"}


def _classes(entry: Entry) -> frozenset[str]:
    return _named(entry.attributes.get("objectclass", ()))


@lru_cache(maxsize=1024)  # people are alike, and each is asked several times
def _named(values: tuple[bytes, ...]) -> frozenset[str]:
    return frozenset(raw.decode(errors="replace").lower() for raw in values)


def _has_members(entry: Entry) -> bool:
    return any(entry.attributes.get(name) for name in ("member", "uniquemember", "memberuid"))


def is_group(entry: Entry) -> bool:
    classes = _classes(entry)
    return _has_members(entry) or bool(classes & _GROUP_CLASSES.keys() and not classes & _PERSON_CLASSES)


def is_computer(entry: Entry) -> bool:
    return "computer" in _classes(entry)


def group_fault(entry: Entry, settings: Directory) -> str:
    """Why the members of this entry can't be known, or ''.

    A group whose member attribute the server hides from this account (an ACL) looks like an empty one: LDAP has no way
    to tell the two apart. What guards against it is the limit on drops.
    """
    if entry.cut:
        return (
            f"{entry.dn}: expected the whole of `{entry.cut.split(';')[0]}`, found only the part `{entry.cut}`; "
            "raise the server's limit of values (MaxValRange)"
        )
    asked = {name.lower() for name in settings.member_attributes}
    if any(entry.attributes.get(name) for name in asked - {"memberof"}):
        return ""
    primary = primary_members(entry)
    if primary:
        return primary
    classes = _classes(entry)
    fitting = classes & _GROUP_CLASSES.keys()
    if not fitting:
        shown = ", ".join(sorted(classes)) or "none that this account may read"
        return (
            f"{entry.dn} is not a group: it has no members and its object classes are {shown}; correct the group's DN"
        )
    if "memberof" not in asked and not any(_GROUP_CLASSES[name] & asked for name in fitting):
        return f"{entry.dn} is a {', '.join(sorted(fitting))}: add its member attribute to memberAttributes"
    return ""


def primary_members(entry: Entry) -> str:
    """That the group is people's primary group, or ''; by the end of its SID, which is the same in every domain."""
    token = _rid(entry.attributes.get("objectsid", (b"",))[0])
    name = _PRIMARY_GROUPS.get(token)
    if not name:
        return ""
    return (
        f"people whose primary group is {name} are not in its member list; "
        f"use `search` with the filter (primaryGroupID={token}) in the place of `group`"
    )


def _rid(sid: bytes) -> str:
    """The last part of a domain's SID (S-1-5-21-a-b-c-RID: five parts of 4 bytes after 8), or ''."""
    return str(int.from_bytes(sid[24:28], "little")) if len(sid) == 28 else ""
