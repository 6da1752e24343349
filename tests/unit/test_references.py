"""What manifests name must be there, and every object has one owner."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgvillage.core.errors import Diagnostic, ManifestError
from pgvillage.estate.loader import load_manifests
from pgvillage.estate.references import BUILT_IN, SettingsNames
from pgvillage.estate.view import BUILT_IN_PROFILES
from pgvillage.settings import Jobs, Settings

HEAD = "apiVersion: pgvillage/v1\nkind: {kind}\nmetadata: {{name: {name}, labels: {{env: prod}}}}\nspec:\n"
NAMES = SettingsNames(
    credentials=frozenset({"admin"}),
    directories=frozenset({"corp"}),
    secrets=frozenset({"orders-app"}),
    etcd=frozenset({"etcd-a"}),
    channels=frozenset({"dba"}),
    jobs=Jobs(superuser=["*"]),
)


def doc(kind: str, name: str, *lines: str) -> str:
    return HEAD.format(kind=kind, name=name) + "".join(f"  {line}\n" for line in lines)


def cluster(name: str, *lines: str, host: str = "") -> str:
    return doc("Cluster", name, f"connection: {{hosts: ['{host or name}'], credential: admin}}", *lines)


def user(name: str, *lines: str, on: str = "{names: [c1]}") -> str:
    return doc("User", name, f"clusters: {on}", *lines)


def group(name: str, *lines: str, on: str = "{names: [c1]}") -> str:
    return doc("Group", name, f"clusters: {on}", *lines)


C1 = cluster("c1", "databases: [{name: db}]")


def check(root: Path, *documents: str, names: SettingsNames | None = NAMES) -> list[Diagnostic]:
    for number, text in enumerate(documents):
        (root / f"{number}.yaml").write_text(text)
    try:
        return list(load_manifests(root, names).warnings)
    except ManifestError as error:
        return list(error.diagnostics)


def told(root: Path, *documents: str) -> list[tuple[str, str, str]]:
    return [(str(f.position), f.path, f.message) for f in check(root, *documents)]


def test_a_whole_estate_is_clean(tmp_path: Path) -> None:
    assert (
        check(
            tmp_path,
            cluster(
                "c1", "databases: [{name: db, owner: own, schemas: [{name: s, owner: ext}]}]", "externalRoles: [ext]"
            ),
            group("own", "memberOf: [pg_monitor, postgres]"),
            user(
                "app",
                "memberOf: [own]",
                "heir: own",
                "databaseSettings: {db: {a: b}}",
                "auth: {method: scram, password: {secret: orders-app}}",
            ),
            group(
                "readers",
                "privileges: [{profile: reader, database: db, future: {creators: [own]}}]",
                "members: {roles: [app]}",
            ),
            user("gone", "ensure: absent", "heir: own"),
        )
        == []
    )


@pytest.mark.parametrize(
    ("lines", "where", "path", "message", "hint"),
    [
        (["memberOf: [ownr]"], "6:14", "spec.memberOf[0]", "unknown role ownr on cluster c1", "did you mean own?"),
        (["memberOf: [{role: x}]"], "6:21", "spec.memberOf[0].role", "unknown role x on cluster c1", "externalRoles"),
        (["heir: nobody"], "6:9", "spec.heir", "unknown role nobody on cluster c1", "externalRoles"),
        (["memberOf: [gone]"], "6:14", "spec.memberOf[0]", "role gone is declared absent at 2.yaml:3:12", "stays"),
        (
            ["privileges: [{profile: raeder, database: db}]"],
            "6:26",
            "spec.privileges[0].profile",
            "unknown profile raeder",
            "reader?",
        ),
        (
            ["privileges: [{profile: reader, database: bd}]"],
            "6:44",
            "spec.privileges[0].database",
            "database bd is not declared on cluster c1",
            "did you mean db?",
        ),
        (
            ["databaseSettings: {x: {a: b}}"],
            "6:25",
            "spec.databaseSettings.x",
            "database x is not declared on cluster c1",
            "{name: x}",
        ),
        (
            ["privileges: [{profile: reader, database: old}]"],
            "6:44",
            "spec.privileges[0].database",
            "database old is declared absent at 0.yaml:6:28",
            "",
        ),
        (
            ["privileges: [{profile: reader, database: db, future: {creators: [zz]}}]"],
            "6:68",
            "spec.privileges[0].future.creators[0]",
            "unknown role zz on cluster c1",
            "externalRoles",
        ),
        (
            ["auth: {method: scram, password: {secret: hunter2}}"],
            "6:44",
            "spec.auth.password.secret",
            "no secret of the settings has this name",
            "orders-app",
        ),
    ],
)
def test_unknown_names_of_a_role(
    tmp_path: Path, lines: list[str], where: str, path: str, message: str, hint: str
) -> None:
    c1 = cluster("c1", "databases: [{name: db}, {name: old, ensure: absent, deletionProtection: false}]")
    [fault] = check(tmp_path, c1, group("own"), user("gone", "ensure: absent"), user("app", *lines))
    assert (str(fault.position), fault.path, fault.message) == (f"3.yaml:{where}", path, message)
    assert hint in fault.hint
    assert "hunter2" not in str(fault)


def test_unknown_roles_of_groups_databases_and_the_estate(tmp_path: Path) -> None:
    found = told(
        tmp_path,
        cluster("c1", "databases: [{name: db, owner: x1, schemas: [{name: s, owner: x2}]}]"),
        group("g", "members: {roles: [x3]}"),
        doc("Database", "d2", "clusters: {all: true}", "owner: x4"),
        doc("Estate", "e", "defaults: {heir: x5}"),
    )
    assert [message.split(" on ")[0] for _, _, message in found] == [f"unknown role x{n}" for n in range(1, 6)]
    assert [path for _, path, _ in found] == [
        "spec.databases[0].owner",
        "spec.databases[0].schemas[0].owner",
        "spec.members.roles[0]",
        "spec.owner",
        "spec.defaults.heir",
    ]


def test_a_directory_makes_roles_that_no_manifest_names(tmp_path: Path) -> None:
    fed = group("people", "members: {directory: corp, group: cn=x}", on="{names: [c1]}")
    found = told(
        tmp_path,
        C1,
        cluster("c2"),
        fed,
        user("a", "memberOf: [alice]"),
        user("b", "memberOf: [alice]", on="{names: [c2]}"),
    )
    assert [message for _, _, message in found] == ["unknown role alice on cluster c2"]


def test_external_roles_of_the_estate_hold_everywhere(tmp_path: Path) -> None:
    assert (
        told(tmp_path, C1, doc("Estate", "e", "defaults: {externalRoles: [rds]}"), user("a", "memberOf: [rds]")) == []
    )


def test_selectors(tmp_path: Path) -> None:
    faults = check(
        tmp_path,
        C1,
        user("a", on="{names: [c1, c9]}"),
        user("b", on="{labels: {env: nowhere}}"),
        user("c", on="{labels: {env: prod}}"),
    )
    assert [(f.path, f.message, f.severity) for f in faults] == [
        ("spec.clusters.names[1]", "unknown cluster c9", "error"),
        ("spec.clusters.labels", "no cluster has the labels env=nowhere", "warning"),
    ]
    assert faults[0].hint == "did you mean c1?"


def test_a_warning_alone_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(C1 + "---\n" + user("b", on="{labels: {env: nowhere}}"))
    assert [w.severity for w in load_manifests(tmp_path).warnings] == ["warning"]


def test_names_of_the_settings(tmp_path: Path) -> None:
    documents = (
        doc("Cluster", "c1", "connection: {hosts: [h], credential: amdin}", "ha: {engine: stolon, etcd: etcd-b}"),
        group("g", "members: {directory: crop, group: cn=x}"),
        doc("Estate", "e", "notifications: [{channel: dbb}]"),
    )
    faults = check(tmp_path, *documents)
    assert [(f.message, f.hint) for f in faults] == [
        ("unknown credential amdin", "did you mean admin?"),
        ("unknown etcd etcd-b", "did you mean etcd-a?"),
        ("unknown directory crop", "did you mean corp?"),
        ("unknown channel dbb", "did you mean dba?"),
    ]
    assert check(tmp_path, *documents, names=None) == []


def test_names_come_from_settings() -> None:
    raw = {"repository": {"url": "x"}, "secrets": {"a": {"env": "A"}}, "etcd": {"e": {"endpoints": ["http://x"]}}}
    assert SettingsNames.of(Settings.model_validate(raw)) == SettingsNames(
        secrets=frozenset({"a"}), etcd=frozenset({"e"})
    )
    raw["secrets"] = {"*": {"env": "X"}}
    assert SettingsNames.of(Settings.model_validate(raw)).secrets is None


@pytest.mark.parametrize(
    "broken",
    [
        "a: [\n",
        group("own", "superuser: 3"),
        group("fed", "members: {directory: corp}"),
        group("zz", "role: own", "login: 3"),
        doc("Cluster", "c1", "databases: 3"),
        doc("Estate", "e", "policy: 3"),
    ],
)
def test_what_a_broken_document_declares_is_no_second_fault(tmp_path: Path, broken: str) -> None:
    documents = [broken, user("app", "memberOf: [own]")]
    if "kind: Cluster" not in broken:
        documents.append(C1)
    faults = check(tmp_path, *documents)
    assert {f.position.file for f in faults if f.position} == {"0.yaml"}


def test_other_names_are_still_checked_beside_a_broken_document(tmp_path: Path) -> None:
    faults = check(tmp_path, C1, group("own", "superuser: 3"), user("app", "memberOf: [own, typo]"))
    assert [f.path for f in faults] == ["spec.superuser", "spec.memberOf[1]"]


@pytest.mark.parametrize(
    ("documents", "where", "words"),
    [
        ([C1, user("a", "role: x"), user("b", "role: x")], "2.yaml:6:9", ["role x of cluster c1", "1.yaml:6:3"]),
        ([C1, user("x"), group("x", on="{all: true}")], "2.yaml:3:18", ["role x of cluster c1", "1.yaml:3:12"]),
        (
            [C1, doc("Database", "db", "clusters: {all: true}")],
            "1.yaml:3:18",
            ["database db of cluster c1", "0.yaml:6:16"],
        ),
        (
            [cluster("c1", "databases: [{name: a}, {name: a}]")],
            "0.yaml:6:33",
            ["database a of cluster c1", "0.yaml:6:16"],
        ),
        ([cluster("c1", "databases: [{name: a, schemas: [{name: s}, {name: s}]}]")], "0.yaml:6:46", ["schema s"]),
        ([cluster("c1", "databases: [{name: a, extensions: [x, {name: x}]}]")], "0.yaml:6:41", ["extension x"]),
        ([C1, cluster("c2", host="C1:5432")], "1.yaml:5:24", ["c1:5432 is a host of cluster c1", "0.yaml:5:24"]),
        ([cluster("c1", host="[::1]"), cluster("c2", host="[::1]:5432")], "1.yaml:5:24", ["[::1]:5432 is a host of"]),
    ],
)
def test_one_owner_an_object(tmp_path: Path, documents: list[str], where: str, words: list[str]) -> None:
    [fault] = check(tmp_path, *documents)
    assert str(fault.position) == where
    for word in words:
        assert word in fault.message


def test_same_name_on_other_clusters_and_other_ports_is_fine(tmp_path: Path) -> None:
    documents = [C1, cluster("c2", host="c1:5433"), user("a", "role: x"), user("b", "role: x", on="{names: [c2]}")]
    assert check(tmp_path, *documents) == []


def test_membership_circles(tmp_path: Path) -> None:
    faults = check(
        tmp_path,
        C1,
        cluster("c2"),
        group("a", "memberOf: [b]", on="{all: true}"),
        group("b", "memberOf: [c]", on="{all: true}"),
        group("c", on="{all: true}"),
        group("a2", "members: {roles: [a2]}"),
        group("top", "members: {roles: [c]}", on="{all: true}"),
        group("bottom", "members: {roles: [top]}", on="{all: true}"),
        user("u", "memberOf: [a]"),
    )
    assert [f.message for f in faults] == ["roles are members of each other: a2 in a2"]
    (tmp_path / "4.yaml").write_text(group("c", "memberOf: [a]", on="{all: true}"))
    circles = [f.message for f in check(tmp_path)]
    assert circles[0] == "roles are members of each other: a in b in c in a; see 3.yaml:6:14; see 4.yaml:6:14"
    assert len(circles) == 2


def test_a_long_chain_of_memberships(tmp_path: Path) -> None:
    chain = "---\n".join(group(f"g{n}", f"memberOf: [g{n + 1}]") for n in range(1500)) + "---\n" + group("g1500")
    assert check(tmp_path, C1, chain) == []


def job(steps: str = "[{name: a, sql: x}]", zone: str = "UTC", databases: str = "[db]") -> str:
    schedule = f"schedule: {{cron: '@daily', timeZone: {zone}}}"
    return doc("Job", "j", "clusters: {all: true}", schedule, f"databases: {databases}", f"steps: {steps}")


@pytest.mark.parametrize(
    ("text", "path", "message", "hint"),
    [
        (
            job(zone="Europe/Amsterdm"),
            "spec.schedule.timeZone",
            "unknown time zone Europe/Amsterdm",
            "Europe/Amsterdam",
        ),
        (job(zone="/etc/passwd"), "spec.schedule.timeZone", "unknown time zone /etc/passwd", ""),
        (job(zone="Europe"), "spec.schedule.timeZone", "unknown time zone Europe", ""),
        (job(databases="[bd]"), "spec.databases[0]", "database bd is not declared on cluster c1", "did you mean db?"),
        (job("[{name: aa, sql: x, needs: [ab]}]"), "spec.steps[0].needs[0]", "unknown step ab", "did you mean aa?"),
        (job("[{name: a, sql: x, needs: [a]}]"), "spec.steps[0].needs[0]", "steps need each other: a needs a", ""),
        (
            job("[{name: a, sql: x, needs: [b]}, {name: b, sql: x, needs: [a]}]"),
            "spec.steps[0].needs[0]",
            "steps need each other: a needs b needs a",
            "",
        ),
        (
            job("[{name: a, sql: x}, {name: a, sql: x}]"),
            "spec.steps[1].name",
            "a second step a; the first one is at 1.yaml:8:12",
            "",
        ),
        (job("[{name: a, file: no.sql}]"), "spec.steps[0].file", "there is no file no.sql in the estate", ""),
        (
            job("[{name: a, file: ../x.sql}]"),
            "spec.steps[0].file",
            "a file is named by its path inside the estate, found ../x.sql",
            "",
        ),
        (
            job("[{name: a, file: sub/../../x.sql}]"),
            "spec.steps[0].file",
            "a file is named by its path inside the estate, found sub/../../x.sql",
            "",
        ),
        (
            job("[{name: a, file: /etc/passwd}]"),
            "spec.steps[0].file",
            "a file is named by its path inside the estate, found /etc/passwd",
            "",
        ),
        (
            job('[{name: a, file: "x\\0.sql"}]'),
            "spec.steps[0].file",
            "a file is named by its path inside the estate, found x\\x00.sql",
            "",
        ),
        (job("[{name: a, file: link.sql}]"), "spec.steps[0].file", "link.sql is or goes through a symbolic link", ""),
        (
            job("[{name: a, file: folder/x.sql}]"),
            "spec.steps[0].file",
            "folder/x.sql is or goes through a symbolic link",
            "",
        ),
        (job("[{name: a, file: sub}]"), "spec.steps[0].file", "sub is not a file", ""),
        (
            job(f"[{{name: a, file: {'x' * 300}}}]"),
            "spec.steps[0].file",
            f"there is no file {'x' * 80} in the estate",
            "",
        ),
    ],
)
def test_jobs(tmp_path: Path, text: str, path: str, message: str, hint: str) -> None:
    root = tmp_path / "estate"
    (root / "sub").mkdir(parents=True)
    (tmp_path / "x.sql").write_text("outside")
    (root / "link.sql").symlink_to(tmp_path / "x.sql")
    (root / "folder").symlink_to(tmp_path)
    faults = [f for f in check(root, C1, text) if f.severity == "error"]
    assert [(f.path, f.message) for f in faults] == [(path, message)]
    assert hint in faults[0].hint


def test_a_job_with_files_is_clean(tmp_path: Path) -> None:
    (tmp_path / "sql").mkdir()
    (tmp_path / "sql" / "a.sql").write_text("SELECT 1")
    assert check(tmp_path, C1, job("[{name: a, file: sql/a.sql}, {name: b, sql: x, needs: [a]}]", "Asia/Tokyo")) == []


def test_profiles_of_the_estate_and_built_in_ones(tmp_path: Path) -> None:
    assert set(BUILT_IN) == set(BUILT_IN_PROFILES)
    estate = doc("Estate", "e", "profiles: {own: {table: [SELECT]}}")
    grants = ", ".join(f"{{profile: {name}, database: db}}" for name in (*BUILT_IN, "own"))
    assert check(tmp_path, C1, estate, user("a", f"privileges: [{grants}]")) == []


def test_of_a_tombstone_only_the_heir_counts(tmp_path: Path) -> None:
    grants = "privileges: [{profile: none, database: none}]"
    gone = user("gone", "ensure: absent", "memberOf: [nobody]", grants, "heir: zz")
    assert [path for _, path, _ in told(tmp_path, C1, gone)] == ["spec.heir"]


# --- rotation

ROTATE = "auth: {{method: scram, password: {{secret: {secret}}}, rotate: {{every: 30d{more}}}}}"


def rotating(name: str, *lines: str, secret: str = "orders-app", more: str = "") -> str:
    return user(name, ROTATE.format(secret=secret, more=more), *lines)


def test_the_logins_of_a_rotation_are_roles_like_others(tmp_path: Path) -> None:
    documents = [
        rotating("app", "memberOf: [own]"),
        group("own", "memberOf: [pg_monitor]"),
        group("more", "members: {roles: [app_a, app_b]}"),
    ]
    assert check(tmp_path, C1, *documents) == []


def test_a_login_that_somebody_else_declares(tmp_path: Path) -> None:
    (found,) = told(tmp_path, C1, rotating("app"), user("app_b"))
    assert found[2] == "role app_b of cluster c1 is declared twice; the other one is at 1.yaml:6:57"
    (found,) = told(tmp_path, C1, rotating("app", more=", roles: [app, x]"), group("app_b"))
    assert "role app of cluster c1 is declared twice" in found[2]
    assert found[1] == "spec.auth.rotate.roles[0]"


def test_a_circle_through_a_login(tmp_path: Path) -> None:
    (found,) = told(tmp_path, C1, rotating("app", "memberOf: [app_a]"))
    assert found[2].startswith("roles are members of each other: app in app_a in app")


def test_a_fault_of_what_the_logins_share_is_told_once(tmp_path: Path) -> None:
    lines = ("heir: nobody", "memberOf: [noone]", "databaseSettings: {nodb: {work_mem: 8MB}}")
    found = told(tmp_path, C1, rotating("app", *lines))
    assert sorted(message.split(" on ")[0] for _, _, message in found) == [
        "database nodb is not declared",
        "unknown role nobody",
        "unknown role noone",
    ]
    gone = told(tmp_path, C1, rotating("app", "ensure: absent", "heir: nobody"))
    assert [(path, message) for _, path, message in gone] == [("spec.heir", "unknown role nobody on cluster c1")]


def test_a_secret_of_a_rotation_is_its_own(tmp_path: Path) -> None:
    plain = user("etl", "auth: {method: scram, password: {secret: orders-app}}")
    (found,) = told(tmp_path, C1, plain, rotating("app"))
    assert found[1:] == (
        "spec.auth.password.secret",
        "this secret holds the logins of the user at 2.yaml:6:36",
    )
    assert found[0].startswith("1.yaml")
    (found,) = told(tmp_path, C1, rotating("app"), rotating("web"))
    assert found[2].startswith("this secret holds the logins of the user at")


def test_names_and_settings_that_a_rotation_can_not_have(tmp_path: Path) -> None:
    found = told(tmp_path, C1, user("app", f"role: {'r' * 62}", ROTATE.format(secret="orders-app", more="")))
    assert [message.split("r" * 62)[1] for _, _, message in found] == [
        "_a is longer than 63 bytes",
        "_b is longer than 63 bytes",
    ]
    (fault,) = told(tmp_path, C1, rotating("app", "settings: {Role: x}"))
    assert fault[1:] == ("spec.settings.Role", "the logins of a rotation act as app: `role` can't be set besides")


def test_a_rotation_of_a_document_that_failed_has_logins(tmp_path: Path) -> None:
    found = told(tmp_path, C1, rotating("app", "wrong: 1"), group("own", "members: {roles: [app_a]}"))
    assert [path for _, path, _ in found] == ["spec.wrong"]


@pytest.mark.parametrize(
    ("window", "path", "message"),
    [
        ("from: '02:00', to: '04:00', timeZone: Europe/Amsterdam", "", ""),
        ("from: 02:00, to: 04:00, labels: {env: prod}", "", ""),
        ("from: '22:00', to: '22:00', days: [sat]", "", ""),
        ("from: '2:00', to: '04:00'", "spec.policy.windows[0].from", "from 00:00 to 23:59"),
        ("from: '02:00', to: '24:00'", "spec.policy.windows[0].to", "23:59"),
        ("from: '02:00'", "spec.policy.windows[0]", "to"),
        ("from: '02:00', to: '04:00', days: []", "spec.policy.windows[0].days", "1"),
        ("from: '02:00', to: '04:00', days: [Sat]", "spec.policy.windows[0].days[0]", "sat"),
        (
            "from: '02:00', to: '04:00', timeZone: Europe/Amsterdm",
            "spec.policy.windows[0].timeZone",
            "did you mean Europe/Amsterdam?",
        ),
        ("from: '02:00', to: '04:00', timeZone: CET/../../x", "spec.policy.windows[0].timeZone", "an IANA time zone"),
        ("from: '02:00', to: '04:00', timeZone: /etc/passwd", "spec.policy.windows[0].timeZone", "unknown time zone"),
        ("from: '02:00', to: '04:00', labels: {env: x}", "spec.policy.windows[0].labels", "no cluster has the labels"),
        ("form: '02:00', to: '04:00'", "spec.policy.windows[0].form", "from"),
    ],
)
def test_windows(tmp_path: Path, window: str, path: str, message: str) -> None:
    estate = doc("Estate", "e", f"policy: {{windows: [{{{window}}}]}}")
    found = check(tmp_path, C1, estate)
    if not message:
        assert found == []
        return
    assert path in [f.path for f in found], found
    assert any(message in str(f) for f in found), found
