"""What one role can effectively do, object by object and way by way, from the access lists of a whole cluster."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from pgvillage.access.roles import Chain, Roles
from pgvillage.access.ways import How, Listed, Spring, Way, springs
from pgvillage.estate.manifest.common import PrivilegeSet
from pgvillage.resources.postgres.acl import ALL, DEFAULT_PUBLIC, every_privilege
from pgvillage.resources.postgres.privilege_inventory import Group, Place

_LETTERS = {
    "SELECT": "r", "INSERT": "a", "UPDATE": "w", "DELETE": "d", "TRUNCATE": "D", "REFERENCES": "x", "TRIGGER": "t",
    "MAINTAIN": "m", "USAGE": "U", "CREATE": "C", "CONNECT": "c", "TEMPORARY": "T", "EXECUTE": "X", "SET": "s",
    "ALTER SYSTEM": "A",
}  # fmt: skip
Privileges = Mapping[str, Way]
_CLASSES = tuple(ALL)


@dataclass(frozen=True, slots=True)
class Right:
    """What the role may do with these objects of one place, of which there are `total`."""

    place: Place
    names: frozenset[str]
    total: int
    ways: Privileges

    @property
    def privileges(self) -> tuple[str, ...]:
        return tuple(p for p in ALL[self.place[0]] if p in self.ways)


def rights_of(
    role: str, roles: Roles, groups: Iterable[Group], owners: Mapping[str, str]
) -> tuple[list[Right], dict[Place, int]]:
    """Every right by place, and how many objects each place has. `owners` are the databases' owners."""
    inherited = {database: roles.in_database_of(owner).inherited(role) for database, owner in owners.items()}
    plain = roles.inherited(role)
    totals: dict[Place, int] = defaultdict(int)
    found: dict[tuple[Place, tuple[tuple[str, Way], ...]], list[frozenset[str]]] = defaultdict(list)
    for place, owner, acl, names, _ in groups:
        totals[place] += len(names)
        reached = inherited.get(place[1], plain)
        ways = _ways(_listed(place[0], owner, acl, roles.major), role, roles, reached)
        if ways:
            found[place, tuple(ways.items())].append(names)
    rights = [
        Right(place, frozenset().union(*names), totals[place], dict(ways)) for (place, ways), names in found.items()
    ]
    rights.sort(key=lambda r: (r.place[1], r.place[2], _CLASSES.index(r.place[0]), sorted(r.names)))
    return rights, dict(totals)


def _listed(object_class: str, owner: str, acl: list[str] | None, major: int) -> Listed:
    if object_class == "column":
        return Listed(object_class, owner, tuple(acl or ()))
    if acl is not None:
        return Listed(object_class, owner, tuple(acl))
    own = "".join(_LETTERS[p] for p in ALL[object_class] if p in every_privilege(object_class, major))
    public = "".join(_LETTERS[p] for p in sorted(DEFAULT_PUBLIC.get(object_class, ())))
    quoted = '"' + owner.replace('"', '""') + '"'
    return Listed(
        object_class, owner, tuple([f"{quoted}={own}/{quoted}"] + ([f"={public}/{quoted}"] if public else []))
    )


def _ways(listed: Listed, role: str, roles: Roles, reached: Mapping[str, Chain]) -> dict[str, Way]:
    """The plainest way to each privilege."""
    found: dict[str, Way] = {}
    for privilege in ALL[listed.object_class]:
        ways = [
            way
            for spring in springs(listed, privilege, roles)
            if (way := _way(spring, role, roles, reached)) is not None
        ]
        if ways:
            found[privilege] = min(ways, key=lambda way: way.rank)
    return found


def _way(spring: Spring, role: str, roles: Roles, reached: Mapping[str, Chain]) -> Way | None:
    if spring.how is How.PUBLIC:
        return Way(spring)
    if spring.how is How.SUPERUSER:
        return Way(spring) if roles.of(role).superuser else None
    return Way(spring, reached[spring.role]) if spring.role in reached else None


def fits(
    rights: Iterable[Right], totals: Mapping[Place, int], profiles: Mapping[str, PrivilegeSet]
) -> dict[tuple[str, str], str]:
    """For each database and schema the widest profile that the role has there on all there is."""
    held: dict[tuple[str, str], dict[str, set[str]]] = defaultdict(dict)
    databases: dict[str, set[str]] = defaultdict(set)
    whole: dict[tuple[Place, str], int] = defaultdict(int)
    for right in rights:
        for privilege in right.privileges:
            whole[right.place, privilege] += len(right.names)
    for (place, privilege), count in whole.items():
        if count >= totals[place]:
            held[place[1], place[2]].setdefault(place[0], set()).add(privilege)
            if place[0] == "database":
                databases[place[1]].add(privilege)
    for place in totals:
        held[place[1], place[2]].setdefault(place[0], set())  # what is there, also where the role has nothing on it
    # a schema that holds nothing would fit every profile
    filled = {place[1:] for place in totals if place[0] in ("table", "sequence")}
    words = {key: _widest(classes, databases[key[0]], profiles) for key, classes in held.items() if key in filled}
    return {key: word for key, word in words.items() if word}


def _widest(classes: Mapping[str, set[str]], database: set[str], profiles: Mapping[str, PrivilegeSet]) -> str:
    fitting = [(size, name) for name, profile in profiles.items() if (size := _size(classes, database, profile))]
    return max(fitting, default=(0, ""))[1]


def _size(classes: Mapping[str, set[str]], database: set[str], profile: PrivilegeSet) -> int:
    """How many privileges the profile has, or 0 where the role lacks one of them."""
    count = 0
    for object_class in ("database", "schema", "table", "sequence", "function", "type"):
        asked = _spelled(profile.of(object_class), object_class)
        has = database if object_class == "database" else classes.get(object_class, set())
        # A schema without objects of a class lacks nothing.
        if not asked <= has and (object_class in ("database", "schema") or object_class in classes):
            return 0
        count += len(asked)
    return count


def _spelled(privileges: frozenset[str], object_class: str) -> frozenset[str]:
    if "ALL" not in privileges:
        return privileges
    return frozenset(p for p in ALL[object_class] if p != "MAINTAIN")


def set_role_only(role: str, roles: Roles) -> Iterator[tuple[str, Chain]]:
    """Roles whose rights it has only after SET ROLE."""
    inherited = roles.inherited(role)
    for other, chain in roles.becomes(role).items():
        if other not in inherited or (roles.of(other).superuser and other != role):
            yield other, chain
