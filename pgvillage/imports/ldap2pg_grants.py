"""ldap2pg's grant rules: every combination of role, profile, database, schema and owner."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product

from pgvillage.imports.draft import Draft
from pgvillage.imports.ldap2pg_privileges import Privilege, Profiles, sayable
from pgvillage.imports.reading import Node

_ALL = "__all__"
_AUTO = "__auto__"
_KEYS = {
    "roles": ("roles", "role", "to", "grantee"),
    "privileges": ("privileges", "privilege"),
    "databases": ("databases", "database"),
    "schemas": ("schemas", "schema"),
    "owners": ("owners", "owner"),
}


class Granter:
    """Reads grant rules; default privileges wait until everybody who may create is known."""

    def __init__(self, draft: Draft, profiles: Profiles, databases: list[str], schemas: list[str]) -> None:
        self.draft = draft
        self.profiles = profiles
        self.every = {"databases": databases, "schemas": schemas}
        self.waiting: list[tuple[Node, str, str, str, Privilege]] = []
        self.creators: dict[tuple[str, str], list[str]] = {}

    def read(self, node: Node) -> None:
        section = node.section()
        given = {name: section.get(*keys) for name, keys in _KEYS.items()}
        if templates := [n for n in given.values() if any("{" in text for text in n.texts())]:
            templates[0].note("a grant by an attribute is not mapped", "grant to the group that the people are in")
            return
        privileges = list(dict.fromkeys(p for t in given["privileges"].items() for p in self.profiles.of(t.text(), t)))
        self._name_what_is_not_said(given["privileges"], privileges)
        said = [p for p in privileges if sayable(p)]
        databases = self._meant(given["databases"], "databases", "--database") if said else []
        in_schemas = [p for p in said if p.object_class != "database" and p.reach != "global default"]
        schemas = self._meant(given["schemas"], "schemas", "--schema") if in_schemas else []
        owners = given["owners"].texts() or [_AUTO]
        place = node if given["owners"].value is None else given["owners"]
        roles = given["roles"].texts()
        node.reading.spend(len(roles) * len(said) * max(1, len(databases)) * max(1, len(schemas)) * len(owners))
        for role, database in product(roles, databases):
            self.draft.grants.nodes.setdefault(role, node)
            for privilege in said:
                self._grant(place, (role, database), privilege, schemas, owners)

    def _name_what_is_not_said(self, node: Node, privileges: Iterable[Privilege]) -> None:
        lacking = [p for p in privileges if not sayable(p)]
        if lacking:
            words = ", ".join(
                sorted({f"{p.type} on {p.object_class}s{' to come' if p.reach else ''}" for p in lacking})
            )
            node.note(f"not mapped yet: {words}", "keep granting it as before; PgVillage leaves these classes alone")

    def _meant(self, node: Node, what: str, option: str) -> list[str]:
        names = node.texts() or [_ALL]
        if _ALL not in names:
            return names
        if not self.every[what]:
            node.note(
                f"all {what} are meant, and which these are is known to the server only", f"name them with {option}"
            )
        return [*(n for n in names if n != _ALL), *self.every[what]]

    def _grant(
        self, node: Node, who: tuple[str, str], privilege: Privilege, schemas: list[str], owners: list[str]
    ) -> None:
        role, database = who
        if role == "public":
            self._public(node, database, privilege, schemas)
            return
        key, object_class = (role, database, False), sayable(privilege)
        if object_class == "database":
            self.draft.grants.whole(key, "", object_class, [privilege.type])
            return
        for schema in [""] if privilege.reach == "global default" else schemas:
            if not privilege.reach:
                self.draft.grants.whole(key, schema, object_class, [privilege.type])
                continue
            for owner in owners:
                if owner == _AUTO:
                    self.waiting.append((node, role, database, schema, privilege))
                else:
                    self.draft.grants.future(key, schema, owner, object_class, [privilege.type])

    def _public(self, node: Node, database: str, privilege: Privilege, schemas: list[str]) -> None:
        public = self.draft.database(database, node).public
        if privilege.object_class == "database":
            _add(public.setdefault("database", []), privilege.type)
        elif privilege.object_class == "schema":
            for schema in schemas:
                _add(public.setdefault("schemas", {}).setdefault(schema, []), privilege.type)
        else:
            node.note("PUBLIC's privileges on single objects are left alone", "grant to a group that everybody is in")

    def finish(self) -> None:
        """`__auto__`: whoever logs in and may create in the schema, as far as this file says it."""
        told: dict[tuple[str | int, ...], tuple[Node, bool]] = {}
        for node, role, database, schema, privilege in self.waiting:
            creators = self._creators(database, schema)
            node.reading.spend(len(creators))
            for creator in creators:
                self.draft.grants.future((role, database, False), schema, creator, sayable(privilege), [privilege.type])
            told[node.path] = (node, told.get(node.path, (node, True))[1] and bool(creators))
        for node, found in told.values():
            what = "taken: who may create by this file" if found else "nobody who logs in may create there by this file"
            node.note(
                f"whose future objects are meant (`__auto__`) is asked of the server by ldap2pg; {what}",
                "check `future.creators`: the roles that make the tables",
            )

    def _creators(self, database: str, schema: str) -> list[str]:
        if (database, schema) not in self.creators:
            places = [schema] if schema else self.every["schemas"]
            may = {name for place in places for name in self.draft.grants.creators_in(database, place)}
            people = [name for name, role in self.draft.roles.items() if role.login]
            self.creators[database, schema] = sorted(name for name in people if _reaches(self.draft, name, may))
        return self.creators[database, schema]


def _add(words: list[str], word: str) -> None:
    if word not in words:
        words.append(word)


def _reaches(draft: Draft, role: str, groups: set[str]) -> bool:
    """Whether the role is one of these or, by any number of steps, a member of one."""
    seen: set[str] = set()
    left = [role]
    while left:
        name = left.pop()
        if name in groups:
            return True
        if name not in seen:
            seen.add(name)
            left += list(draft.roles[name].member_of) if name in draft.roles else []
    return False
