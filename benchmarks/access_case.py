"""The access case: a directory of people, groups a schema, and what they may do, as files for any tool.

`python -m benchmarks.access_case OUT --users 2000` writes data.ldif (directory), init.sql (what exists beforehand),
estate/ (for PgVillage), ldap2pg.yml (the same wish for ldap2pg) and expected.json.
"""

from __future__ import annotations

import argparse
import json
import random
from dataclasses import dataclass, field
from pathlib import Path

BASE = "dc=example,dc=test"
DATABASE = "bench0"
OWNER = "app_owner"
UMBRELLA = "managed_roles"


@dataclass
class Case:
    """`members` maps each group to its people; every schema has a reading and a writing group."""

    schemas: list[str]
    tables: int
    members: dict[str, list[str]] = field(default_factory=dict)

    @property
    def people(self) -> list[str]:
        return sorted({person for people in self.members.values() for person in people})


def make_case(users: int, schemas: int, tables: int, seed: int = 42) -> Case:
    """Each person is in two groups, and no group is empty."""
    choice = random.Random(seed)
    names = [f"s{number:03d}" for number in range(schemas)]
    case = Case(names, tables, {f"{name}_{suffix}": [] for name in names for suffix in ("ro", "rw")})
    groups = list(case.members)
    for number in range(users):
        picked = choice.sample(groups, 2)
        if number < len(groups) and groups[number] not in picked:
            picked[0] = groups[number]
        for group in sorted(picked):
            case.members[group].append(f"u{number:05d}")
    return case


def write_case(case: Case, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / "data.ldif").write_text(_ldif(case))
    (out / "init.sql").write_text(_init(case))
    (out / "ldap2pg.yml").write_text(_ldap2pg(case))
    estate = out / "estate"
    estate.mkdir(exist_ok=True)
    documents = [_cluster(), _group(UMBRELLA, {}), *(_schema_group(group) for group in case.members)]
    (estate / "estate.yaml").write_text("---\n".join(json.dumps(each) + "\n" for each in documents))
    (out / "expected.json").write_text(json.dumps(_expected(case)))


def _ldif(case: Case) -> str:
    entries = [f"dn: {BASE}\nobjectClass: dcObject\nobjectClass: organization\no: bench\ndc: example\n"]
    entries += [f"dn: ou={unit},{BASE}\nobjectClass: organizationalUnit\nou: {unit}\n" for unit in ("users", "groups")]
    for person in case.people:
        dn = f"cn={person},ou=users,{BASE}"
        entries.append(f"dn: {dn}\nobjectClass: inetOrgPerson\ncn: {person}\nsn: {person}\nuid: {person}\n")
    for group, people in case.members.items():
        members = "".join(f"member: cn={person},ou=users,{BASE}\n" for person in people)
        entries.append(f"dn: cn={group},ou=groups,{BASE}\nobjectClass: groupOfNames\ncn: {group}\n{members}")
    return "\n".join(entries)


def _init(case: Case) -> str:
    lines = [f"CREATE ROLE {OWNER} NOLOGIN;", f"CREATE DATABASE {DATABASE} OWNER {OWNER};", f"\\connect {DATABASE}"]
    lines += ["REVOKE CREATE ON SCHEMA public FROM public;", f"SET ROLE {OWNER};"]
    for schema in case.schemas:
        lines += ["BEGIN;", f"CREATE SCHEMA {schema};"]
        lines += [f"CREATE TABLE {schema}.t{n:03d} (id bigserial PRIMARY KEY, v text);" for n in range(case.tables)]
        lines.append("COMMIT;")
    return "\n".join(lines) + "\n"


def _document(kind: str, name: str, spec: dict[str, object]) -> dict[str, object]:
    return {"apiVersion": "pgvillage/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def _cluster() -> dict[str, object]:
    connection = {"hosts": ["127.0.0.1:@PORT@"], "credential": "bench"}
    return _document(
        "Cluster", "bench", {"connection": connection, "externalRoles": [OWNER], "databases": [{"name": DATABASE}]}
    )


def _group(role: str, spec: dict[str, object]) -> dict[str, object]:
    name = role.replace("_", "-")
    return _document("Group", name, {"role": role, "clusters": {"names": ["bench"]}, **spec})


def _schema_group(group: str) -> dict[str, object]:
    schema, _, suffix = group.rpartition("_")
    reads: dict[str, object] = {
        "database": ["CONNECT"],
        "schema": ["USAGE"],
        "table": ["SELECT"],
        "sequence": ["SELECT"],
    }
    writes: dict[str, object] = {"table": ["INSERT", "UPDATE", "DELETE"], "sequence": ["USAGE", "UPDATE"]}
    members = {
        "directory": "corp",
        "group": f"cn={group},ou=groups,{BASE}",
        "role": "{cn}",
        "memberOf": [UMBRELLA],
    }
    grant = {"grant": reads if suffix == "ro" else writes, "database": DATABASE, "schemas": [schema]}
    parents = [UMBRELLA] if suffix == "ro" else [UMBRELLA, f"{schema}_ro"]
    return _group(group, {"memberOf": parents, "members": members, "privileges": [grant]})


def _ldap2pg(case: Case) -> str:
    reading = "[__connect__, __usage_on_schemas__, __select_on_all_tables__, __select_on_all_sequences__]"
    writing = "[__insert_on_all_tables__, __update_on_all_tables__, __delete_on_all_tables__, "
    writing += "__usage_on_all_sequences__, __update_on_all_sequences__]"
    managed = (
        f"SELECT '{UMBRELLA}' UNION SELECT m.rolname FROM pg_auth_members ms JOIN pg_roles m ON m.oid = ms.member "
        f"JOIN pg_roles p ON p.oid = ms.roleid AND p.rolname = '{UMBRELLA}'"
    )
    lines = [
        "version: 6",
        "postgres:",
        f"  databases_query: [{DATABASE}]",
        f"  schemas_query: [{', '.join(case.schemas)}]",
        f'  roles_blacklist_query: [postgres, "pg_*", {OWNER}]',
        f"  managed_roles_query: {json.dumps(managed)}",
        "privileges:",
        f"  ro: {reading}",
        f"  rw: {writing}",
        "rules:",
        f"- roles: [{{name: {UMBRELLA}, options: NOLOGIN}}]",
    ]
    for schema in case.schemas:
        lines += [
            "- roles:",
            f"  - {{name: {schema}_ro, options: NOLOGIN, parents: [{UMBRELLA}]}}",
            f"  - {{name: {schema}_rw, options: NOLOGIN, parents: [{UMBRELLA}, {schema}_ro]}}",
            "  grants:",
            f"  - {{privilege: ro, role: {schema}_ro, schemas: {schema}}}",
            f"  - {{privilege: rw, role: {schema}_rw, schemas: {schema}}}",
        ]
    lines += [
        f"- ldapsearch: {{base: 'ou=groups,{BASE}', filter: '(objectClass=groupOfNames)'}}",
        f"  role: {{name: '{{member.cn}}', options: LOGIN, parents: [{UMBRELLA}, '{{cn}}']}}",
    ]
    return "\n".join(lines) + "\n"


def _expected(case: Case) -> dict[str, object]:
    """What verify() looks for: logins, memberships, and privileges by class and name with how many objects."""
    memberships = [[UMBRELLA, role] for role in (*case.members, *case.people)]
    memberships += [[f"{schema}_ro", f"{schema}_rw"] for schema in case.schemas]
    memberships += [[group, person] for group, people in case.members.items() for person in people]
    schemas, objects = len(case.schemas), len(case.schemas) * case.tables
    return {
        "roles": {UMBRELLA: False, **dict.fromkeys(case.members, False), **dict.fromkeys(case.people, True)},
        "memberships": sorted(memberships),
        "acl": {
            "database": {"CONNECT": schemas},
            "schema": {"USAGE": schemas},
            "table": dict.fromkeys(("SELECT", "INSERT", "UPDATE", "DELETE"), objects),
            "sequence": dict.fromkeys(("SELECT", "USAGE", "UPDATE"), objects),
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--users", type=int, default=2000)
    parser.add_argument("--schemas", type=int, default=100)
    parser.add_argument("--tables", type=int, default=20)
    arguments = parser.parse_args()
    write_case(make_case(arguments.users, arguments.schemas, arguments.tables), arguments.out)


if __name__ == "__main__":
    main()
