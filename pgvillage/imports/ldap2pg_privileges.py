"""ldap2pg's privileges: built-in references, profiles that include profiles, and the grants they become."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pgvillage.imports.expressible import FUTURE_CLASSES, GRANTED_CLASSES, class_of, is_privilege
from pgvillage.imports.reading import Node

_TABLE = ("delete", "insert", "select", "truncate", "update", "references", "trigger")
_BY_CLASS = {"tables": _TABLE, "sequences": ("select", "update", "usage"), "routines": ("execute",)}
_DEPTH = 30


@dataclass(frozen=True, slots=True)
class Privilege:
    """A privilege on a class of objects: those there are, or (`reach`) those to come in each or in every schema."""

    type: str
    object_class: str
    reach: str = ""  # "", "schema default", "global default"


def _builtins() -> dict[str, tuple[str | Privilege, ...]]:
    found: dict[str, tuple[str | Privilege, ...]] = {
        "__connect__": (Privilege("CONNECT", "database"),),
        "__temporary__": (Privilege("TEMPORARY", "database"),),
        "__create_on_schemas__": (Privilege("CREATE", "schema"),),
        "__usage_on_schemas__": (Privilege("USAGE", "schema"),),
        "__all_on_schemas__": ("__create_on_schemas__", "__usage_on_schemas__"),
        "__usage_on_types__": (Privilege("USAGE", "type"),),
        "__execute_on_all_functions__": (Privilege("EXECUTE", "function"),),
        "__execute_on_functions__": ("__execute_on_all_functions__",),
        "__default_execute_on_functions__": (),
        "__all_on_functions__": ("__execute_on_functions__",),
    }
    for word, types in _BY_CLASS.items():
        object_class = word.removesuffix("s")
        for type_ in types:
            upper = type_.upper()
            found[f"__default_{type_}_on_{word}__"] = (
                Privilege(upper, object_class, "global default"),
                Privilege(upper, object_class, "schema default"),
            )
            found[f"__{type_}_on_all_{word}__"] = (Privilege(upper, object_class),)
            found[f"__{type_}_on_{word}__"] = (f"__default_{type_}_on_{word}__", f"__{type_}_on_all_{word}__")
        found[f"__all_on_{word}__"] = tuple(f"__{type_}_on_{word}__" for type_ in types)
    return found


_BUILT_IN = _builtins()
_SHORT = {f"__{t}__": f"__{t}_on_tables__" for t in ("delete", "insert", "truncate", "references", "trigger")}
_SHORT["__execute__"] = "__execute_on_functions__"


class Profiles:
    """The file's `privileges:`; each is spelled out once."""

    def __init__(self, privileges: Node) -> None:
        self.nodes: Mapping[str, Node] = dict(privileges.named())
        self.known: dict[str, tuple[Privilege, ...]] = {}
        for name in self.nodes:
            self.of(name, self.nodes[name])

    def of(self, name: str, node: Node, depth: int = 0) -> tuple[Privilege, ...]:
        """What the profile or built-in reference stands for; named where it stands for nothing."""
        if name not in self.known:
            if depth > _DEPTH:
                node.note("profiles include each other in a circle", "write their privileges out")
                return ()
            self.known[name] = ()  # in a circle it adds nothing to itself
            self.known[name] = tuple(dict.fromkeys(self._spelt(name, node, depth + 1)))
        return self.known[name]

    def classes(self) -> list[str]:
        """The classes that ldap2pg looks after: those of any active profile."""
        found = {p.object_class for name, has in self.known.items() if name in self.nodes for p in has}
        return [c for c in GRANTED_CLASSES if c in found]

    def _spelt(self, name: str, node: Node, depth: int) -> list[Privilege]:
        if name in self.nodes:
            return [p for item in self.nodes[name].entries() for p in self._item(item, depth)]
        if name in _SHORT:
            long = _SHORT[name]
            node.note(
                f"taken as {long}; ldap2pg 6 documents this short name and grants nothing for it", "see if it is meant"
            )
            return list(self.of(long, node, depth))
        if name in _BUILT_IN:
            found: list[Privilege] = []
            for each in _BUILT_IN[name]:
                found += [each] if isinstance(each, Privilege) else self.of(each, node, depth)
            return found
        node.note("no profile or built-in reference has this name", "name one that is there")
        return []

    def _item(self, item: Node, depth: int) -> list[Privilege]:
        if isinstance(item.value, str):
            return list(self.of(item.value, item, depth))
        section = item.section()
        types = [text.upper() for text in section.get("type", "types").texts()]
        target, what = section.get("on"), section.get("object")
        acl = target.text().upper()
        if acl in ("GLOBAL DEFAULT", "SCHEMA DEFAULT"):
            return [Privilege(t, what.text().lower().removesuffix("s"), acl.lower()) for t in types]
        if what.value is not None:
            what.note(f"ldap2pg reads `object` for default privileges only, here it is {acl}", "leave it out")
        word = acl.removeprefix("ALL ").removesuffix(" IN SCHEMA").lower().removesuffix("s")
        return [Privilege(t, word) for t in types]


def sayable(privilege: Privilege) -> str:
    """The key of `grant:` for it, or nothing where manifests have none."""
    key = class_of(privilege.object_class)
    if key is None or not is_privilege(key, privilege.type):
        return ""
    return "" if privilege.reach and key not in FUTURE_CLASSES else key
