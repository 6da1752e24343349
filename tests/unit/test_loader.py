"""Loading an estate: which files, what errors read like, all of them at once."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from pgvillage.core.errors import Diagnostic, ManifestError, Position, SettingsError
from pgvillage.estate.loader import load_manifests, load_settings
from pgvillage.estate.references import SettingsNames

EXAMPLES = Path(__file__).parents[2] / "examples"
USER = "apiVersion: pgvillage/v1\nkind: User\nmetadata: {name: app}\nspec:\n  clusters: {all: true}\n"
CLUSTER = (
    "apiVersion: pgvillage/v1\nkind: Cluster\nmetadata: {name: orders}\n"
    "spec: {connection: {hosts: [pg1], credential: c}}\n"
)


def _write(root: Path, **files: str) -> None:
    for name, text in files.items():
        (root / f"{name}.yaml").write_text(text, encoding="utf-8")


def _faults(root: Path) -> list[Diagnostic]:
    with pytest.raises(ManifestError) as caught:
        load_manifests(root)
    return list(caught.value.diagnostics)


def _told(root: Path, text: str) -> list[tuple[str, str, str]]:
    _write(root, a=text)
    return [(str(f.position), f.path, f.message) for f in _faults(root)]


def test_examples_load_with_their_settings() -> None:
    settings = load_settings(EXAMPLES / "pgvillage.yaml")
    manifests = load_manifests(EXAMPLES / "estate-repo", SettingsNames.of(settings))
    assert manifests.warnings == ()
    assert manifests.estate is not None
    assert set(manifests.clusters) == {"orders", "billing"}
    assert set(manifests.groups) == {"orders_owner", "orders_rw", "orders_readers"}
    assert manifests.users["orders-app"].document.role == "orders_app"
    assert manifests.users["orders-app"].at("spec", "role") == Position("users/orders-app.yaml", 7, 3)
    assert "users/orders-app.yaml" in manifests.files


def test_at_goes_to_the_nearest_part_that_is_written(tmp_path: Path) -> None:
    _write(tmp_path, a=USER)
    user = load_manifests(tmp_path).users["app"]
    assert user.at("spec", "memberOf", 0) == Position("a.yaml", 4, 1)
    assert user.at() == Position("a.yaml", 1, 1)


def test_errors_of_all_files_come_at_once_and_sorted(tmp_path: Path) -> None:
    _write(tmp_path, b=USER + "  superusr: true\n  login: 3\n", a="a: [\n", c=CLUSTER.replace("v1", "v2"))
    assert [str(f.position) for f in _faults(tmp_path)] == ["a.yaml:1:5", "b.yaml:6:3", "b.yaml:7:10", "c.yaml:1:13"]


def test_a_whole_message(tmp_path: Path) -> None:
    _write(tmp_path, a=USER + "  superusr: true\n")
    with pytest.raises(ManifestError) as caught:
        load_manifests(tmp_path)
    assert str(caught.value) == (
        "a.yaml:6:3: spec.superusr: unknown key `superusr`\n    superusr: true\n    ^\n  hint: did you mean superuser?"
    )


@pytest.mark.parametrize(
    ("more", "where", "path", "message", "hint"),
    [
        ("  superuser: yes", "6:14", "spec.superuser", "expected true or false, found the text 'yes'", "YAML 1.2"),
        ("  connectionLimit: '5'", "6:20", "spec.connectionLimit", "expected a whole number, found the text", "quotes"),
        ("  connectionLimit: -2", "6:20", "spec.connectionLimit", "expected at least -1, found the number -2", ""),
        ("  comment: 5", "6:12", "spec.comment", "expected text, found the number 5", "quotes"),
        ("  auth: {}", "6:3", "spec.auth", "the key `method` is missing", ""),
        ("  auth: {method: scarm}", "6:18", "spec.auth.method", "expected scram, certificate, ldap or none", "scram?"),
        ("  auth: {method: scram}", "6:3", "spec.auth", "method scram needs `password: {secret: NAME}`", ""),
        ("  memberOf: [3]", "6:14", "spec.memberOf[0]", "expected text or a mapping, found the number 3", ""),
        ("  memberOf: [{rol: a}]", "6:14", "spec.memberOf[0]", "the key `role` is missing", ""),
        ("  memberOf: ['']", "6:14", "spec.memberOf[0]", "expected at least 1 character, found the text ''", ""),
        ("  memberOf:", "6:12", "spec.memberOf", "expected a list, found nothing (null)", ""),
        ("  settings: {a: [1]}", "6:17", "spec.settings.a", "expected text, true or false or a number", ""),
        ("  validUntil: soon", "6:15", "spec.validUntil", "expected a date such as 2027-06-30", ""),
        ("  validUntil: 20270630", "6:15", "spec.validUntil", "expected a date such as 2027-06-30", ""),
        ("  validUntil: 2027-02-30", "6:15", "spec.validUntil", "no such day or time", ""),
        ("  role: pg_x", "6:9", "spec.role", "names that begin with pg_ belong to PostgreSQL", ""),
        (f"  heir: {'é' * 40}", "6:9", "spec.heir", "the name is 80 bytes long; PostgreSQL allows 63", ""),
        ("  auth: {method: ldap, password: hunter2}", "6:34", "spec.auth.password", "found text (hidden)", ""),
    ],
)
def test_one_clear_message(tmp_path: Path, more: str, where: str, path: str, message: str, hint: str) -> None:
    _write(tmp_path, a=USER + more + "\n")
    fault = _faults(tmp_path)[0]
    assert (str(fault.position), fault.path) == (f"a.yaml:{where}", path)
    assert message in fault.message
    assert hint in fault.hint
    assert "hunter2" not in str(fault)
    if "rol: a" not in more:
        assert len(_faults(tmp_path)) == 1


def test_union_with_words_is_one_message(tmp_path: Path) -> None:
    text = CLUSTER.replace(
        "credential: c}", "credential: c}, ha: {engine: stolon, etcd: e, timings: fst, synchronous: true}"
    )
    assert [(path, message) for _, path, message in _told(tmp_path, text)] == [
        ("spec.ha.timings", "expected default, fast or a mapping, found the text 'fst'"),
        ("spec.ha.synchronous", "expected false or a mapping, found true"),
    ]


@pytest.mark.parametrize(
    ("text", "where", "message", "hint"),
    [
        ("a: 1\n", "1:1", "neither `apiVersion` nor `kind`", ".pgvillageignore"),
        ("- a\n", "1:1", "found a list", ".pgvillageignore"),
        ("just text\n", "1:1", "found the text 'just text'", ".pgvillageignore"),
        (USER.replace("v1", "v2"), "1:13", "reads pgvillage/v1, found the text 'pgvillage/v2'", "pgvillage/v1"),
        (USER.removeprefix("apiVersion: pgvillage/v1\n"), "1:1", "the key `apiVersion` is missing", ""),
        (USER.replace("kind: User\n", ""), "1:1", "the key `kind` is missing", "Cluster"),
        (USER.replace("kind: User", "kind: Usr"), "2:7", "unknown kind, found the text 'Usr'", "did you mean User?"),
        (USER.replace("kind: User", "kind: [User]"), "2:7", "unknown kind, found a list", "known kinds"),
    ],
)
def test_documents_that_are_no_manifest(tmp_path: Path, text: str, where: str, message: str, hint: str) -> None:
    _write(tmp_path, a=text)
    [fault] = _faults(tmp_path)
    assert str(fault.position) == f"a.yaml:{where}"
    assert message in fault.message
    assert hint in fault.hint


def test_same_name_twice_in_a_kind(tmp_path: Path) -> None:
    _write(tmp_path, a=USER, b=CLUSTER + "---\n" + USER.replace("app}", "app}\n# twice"))
    [fault] = _faults(tmp_path)
    assert str(fault.position) == "b.yaml:8:18"
    assert "a.yaml:3:12" in fault.message


def test_two_estates(tmp_path: Path) -> None:
    estate = "apiVersion: pgvillage/v1\nkind: Estate\nmetadata: {name: NAME}\n"
    _write(tmp_path, a=estate.replace("NAME", "a"), b=estate.replace("NAME", "b"))
    [fault] = _faults(tmp_path)
    assert "a second Estate; the first one is at a.yaml:2:1" in fault.message


def test_which_files_are_read(tmp_path: Path) -> None:
    for folder in (".github", "deep/er", "ci", "x/ci", "y"):
        (tmp_path / folder).mkdir(parents=True)
    broken = "not a manifest\n"
    for name in (
        ".gitlab-ci.yml",
        ".github/a.yaml",
        "ci/a.yaml",
        "x/ci/a.yaml",
        "docker-compose.yml",
        "y/z.yaml",
        "README.md",
    ):
        (tmp_path / name).write_text(broken)
    (tmp_path / "deep/er/user.yml").write_text(USER)
    (tmp_path / ".pgvillageignore").write_text("# not ours\nci/\n\ndocker-*.yml\n/y/z.yaml\n")
    assert load_manifests(tmp_path).files == ("deep/er/user.yml",)


def test_links_are_never_followed(tmp_path: Path) -> None:
    outside, root = tmp_path / "outside", tmp_path / "root"
    outside.mkdir()
    root.mkdir()
    _write(outside, secret=USER)
    (root / "a.yaml").symlink_to(outside / "secret.yaml")
    (root / "folder").symlink_to(outside)
    manifests = load_manifests(root)
    assert manifests.files == ()
    assert [str(w.position) for w in manifests.warnings] == ["a.yaml:1:1", "folder:1:1", ".:1:1"]


def test_files_that_can_not_be_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.yaml")
    (tmp_path / "big.yaml").write_text("#" * 2000)
    (tmp_path / "utf.yaml").write_bytes(b"a: 1\n\xff")
    (tmp_path / "bad\n\x1b\xff.yaml".encode("latin-1").decode("latin-1")).write_text("[")
    with pytest.raises(ManifestError) as caught:
        load_manifests(tmp_path, max_file_size=1000)
    told = {(str(f.position), f.message.split(" (")[0]) for f in caught.value.diagnostics}
    assert ("fifo.yaml:1:1", "not a regular file") in told
    assert ("big.yaml:1:1", "2000 bytes are more than the 1000 allowed") in told
    assert ("utf.yaml:2:1", "not UTF-8: byte 0xff") in told
    assert any(place.startswith("bad\\n\\x1b") for place, _ in told)


def test_a_folder_that_can_not_be_read_is_not_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "locked").mkdir()
    real = os.scandir

    def scandir(path: str) -> object:
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    [fault] = _faults(tmp_path)
    assert "locked can't be read: Permission denied" in fault.message


def test_an_ignore_file_must_be_a_file(tmp_path: Path) -> None:
    (tmp_path / ".pgvillageignore").symlink_to("/etc/hostname")
    assert [f.message.split(":")[0] for f in _faults(tmp_path)] == [".pgvillageignore"]


def test_no_folder_too_many_and_none(tmp_path: Path) -> None:
    assert [f.message for f in _faults(tmp_path / "nowhere")] == ["not a folder"]
    assert [w.message for w in load_manifests(tmp_path).warnings] == ["no manifests here"]
    _write(tmp_path, a=USER, b=USER)
    with pytest.raises(ManifestError, match="2 manifests are more than the 1 allowed"):
        load_manifests(tmp_path, max_files=1)


def test_deterministic(tmp_path: Path) -> None:
    rng = random.Random(1)
    for number in rng.sample(range(30), 30):
        _write(tmp_path, **{f"f{number}": USER.replace("app", f"app{number}") + "  supersuer: 1\n"})
    assert [str(f) for f in _faults(tmp_path)] == [str(f) for f in _faults(tmp_path)]
    assert len(_faults(tmp_path)) == 30


SETTINGS = "repository: {url: /srv/estate}\ncredentials:\n  a: {user: u, hosts: [h]}\n"


def test_settings(tmp_path: Path) -> None:
    path = tmp_path / "pgvillage.yaml"
    path.write_text(SETTINGS + "state: ./var\n")
    assert load_settings(path).state == Path("var")
    assert load_settings(path).credentials["a"].user == "u"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (SETTINGS + "credential: 1\n", ["4:1: credential: unknown key", "did you mean credentials?"]),
        (SETTINGS.replace("user: u, ", "pasword: x, "), ["the key `user` is missing", "did you mean password?"]),
        (SETTINGS + "secrets: {a: hunter2}\n", ["secrets.a: expected a mapping"]),
        (SETTINGS.replace("user: u", "user: u, password: hunter2"), ["expected a mapping, found text (hidden)", "***"]),
        (SETTINGS + "a: &a [*a]\n", ["inside its own anchor"]),
        ("- a\n", ["found a list"]),
        ("", ["found none"]),
        (SETTINGS + "---\nb: 1\n", ["found 2"]),
        (SETTINGS + "parallel: 0\n", ["parallel: expected at least 1, found the number 0"]),
    ],
)
def test_settings_errors_read_like_those_of_manifests(tmp_path: Path, text: str, words: list[str]) -> None:
    path = tmp_path / "pgvillage.yaml"
    path.write_text(text)
    with pytest.raises(SettingsError) as caught:
        load_settings(path)
    for word in (*words, str(path)):
        assert word in str(caught.value)
    if "secrets:" not in text:
        assert "hunter2" not in str(caught.value)


def test_settings_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="can't be read: No such file"):
        load_settings(tmp_path / "none.yaml")


def test_a_pattern_with_a_slash_at_its_end_is_about_folders(tmp_path: Path) -> None:
    (tmp_path / ".pgvillageignore").write_text("user.yaml/\n")
    _write(tmp_path, user=USER)
    assert load_manifests(tmp_path).files == ("user.yaml",)
