"""`pgvillage import`: what is made of each tool's file, kept beside it; broken and hostile files are diagnosed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgvillage.cli.app import run
from pgvillage.core.errors import ManifestError, PgVillageError, UsageError
from pgvillage.estate.loader import load_manifests, load_settings
from pgvillage.estate.references import SettingsNames
from pgvillage.imports.formats import FORMATS
from pgvillage.imports.scope import Scope
from pgvillage.usecases.import_ import Imported, import_file
from pgvillage.usecases.init import Repositories

FIXTURES = Path(__file__).parents[1] / "fixtures/imports"
NO_GIT = Repositories(lambda _: None, lambda _: None)
CASES = {
    "pgfga": ("pgfga.yaml", "pgfga", Scope()),
    "ldap2pg": ("ldap2pg.yml", "ldap2pg", Scope()),
    "ldap2pg-v5": ("ldap2pg.yml", "ldap2pg", Scope()),
    "pgbedrock": ("spec.yml", "pgbedrock", Scope(databases=("books",))),
    "pgroute66": ("pgroute66.yaml", "pgroute66", Scope()),
    "terraform": ("terraform.tfstate", "terraform", Scope(cluster="shop", hosts=("pg1.shop.test:5432",))),
}


def imported(source: Path, folder: Path, scope: Scope = Scope(), name: str | None = None) -> Imported:  # noqa: B008
    return import_file(source, folder, scope, name, NO_GIT)


def written(folder: Path, text: str, name: str | None = None, scope: Scope = Scope()) -> Imported:  # noqa: B008
    source = folder / "source.yml"
    source.write_text(text)
    return imported(source, folder / "out", scope, name)


def texts(folder: Path) -> str:
    return "\n".join(p.read_text() for p in folder.rglob("*") if p.is_file())


@pytest.mark.parametrize("case", CASES)
def test_what_is_made_of_it_is_what_stands_beside_it(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, name, scope = CASES[case]
    monkeypatch.chdir(FIXTURES / case)
    done = imported(Path(file), tmp_path, scope)
    assert done.format == name
    found = {p.relative_to(tmp_path).as_posix(): p.read_text() for p in tmp_path.glob("estate/**/*.yaml")}
    found |= {"pgvillage.yaml": (tmp_path / "pgvillage.yaml").read_text()}
    found |= {"notes.txt": "".join(f"{note}\n" for note in done.notes)}
    expected = FIXTURES / case / "expected"
    if os.environ.get("GOLDEN") == "write":
        for path, text in found.items():
            (expected / path).parent.mkdir(parents=True, exist_ok=True)
            (expected / path).write_text(text)
    kept = {p.relative_to(expected).as_posix(): p.read_text() for p in expected.rglob("*") if p.is_file()}
    assert found == kept


@pytest.mark.parametrize("case", CASES)
def test_it_loads_with_the_settings_that_are_written(case: str, tmp_path: Path) -> None:
    file, _, scope = CASES[case]
    done = imported(FIXTURES / case / file, tmp_path, scope)
    names = SettingsNames.of(load_settings(tmp_path / "pgvillage.yaml"))
    manifests = load_manifests(tmp_path / "estate", names)
    assert manifests.clusters
    assert done.counts["User"] == len(manifests.users)
    assert done.counts["Group"] == len(manifests.groups)


@pytest.mark.parametrize("case", CASES)
def test_no_secret_is_copied_or_shown(case: str, tmp_path: Path) -> None:
    file, _, scope = CASES[case]
    planted = (FIXTURES / case / file).read_text().count("planted")
    done = imported(FIXTURES / case / file, tmp_path, scope)
    assert "planted" not in texts(tmp_path)
    assert not [note for note in done.notes if "planted" in str(note)]
    assert planted == 0 or [note for note in done.notes if "not copied" in note.why or "password" in note.why]


def test_the_command_tells_what_it_did_and_what_it_did_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    source = str(FIXTURES / "pgfga/pgfga.yaml")
    assert run(["import", source, "--to", "one"]) == 0
    out = capsys.readouterr().out
    assert "1 cluster, 1 database, 8 groups, 4 users" in out
    assert "Not carried over (" in out
    assert "pgfga.yaml:49: users.web.optoins: unknown key, nothing was made of it; did you mean options?" in out
    assert run(["import", source, "--to", "two", "-o", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["format"] == "pgfga"
    assert {"file", "line", "key", "why", "advice"} == set(found["notCarriedOver"][0])
    assert run(["validate", "--settings", "two/pgvillage.yaml", "two/estate"]) == 0


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "pgvillage.yaml").write_text("mine\n")
    with pytest.raises(UsageError, match="exists already"):
        imported(FIXTURES / "pgfga/pgfga.yaml", tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["pgvillage.yaml"]


def test_a_pgbedrock_spec_needs_the_name_of_its_database(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--database NAME"):
        imported(FIXTURES / "pgbedrock/spec.yml", tmp_path)


def test_a_file_like_none_asks_for_the_format(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--format"):
        written(tmp_path, "a: 1\n")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("users: {a: {auth: [", "source.yml:1:"),
        ("users:\n  a: {auth: sorcery}\n", "source.yml:2:"),
        ("users:\n  a: [1]\ngeneral: {}\n", "source.yml:2:"),
        ("rules: 7\n", "source.yml:1:"),
        ("rules:\n- roles: [{options: LOGIN}]\n", "source.yml:2:"),
        ("a: &a [x, x, x, x]\nb: &b [*a, *a, *a, *a]\nrules: [" + "*b, " * 5000 + "]\n", "aliases"),
        ("x: 1\n---\nrules: []\n", "expected one document"),
        ("rules: !!python/object:os.system {}\n", "source.yml:1:"),
    ],
)
def test_a_broken_file_is_told_by_place(text: str, place: str, tmp_path: Path) -> None:
    with pytest.raises(ManifestError) as error:
        written(tmp_path, text)
    assert place in str(error.value)
    assert not (tmp_path / "out").exists()


def test_a_broken_file_shows_no_line_of_it(tmp_path: Path) -> None:
    with pytest.raises(ManifestError) as error:
        written(tmp_path, 'me:\n  attributes:\n  - PASSWORD "planted": [\n')
    assert "planted" not in str(error.value)


def test_products_of_long_lists_are_refused(tmp_path: Path) -> None:
    names = ", ".join(f"n{i}" for i in range(400))
    text = (
        "privileges: {ro: [__select_on_tables__]}\nrules:\n- grant: "
        f"{{privilege: ro, roles: [{names}], databases: [{names}], schemas: [{names}], owner: x}}\n"
    )
    with pytest.raises(ManifestError, match="more than 200000"):
        written(tmp_path, text)


def test_circles_of_profiles_and_members_end(tmp_path: Path) -> None:
    text = (
        "privileges: {a: [b], b: [a, __connect__]}\nrules: [{role: {name: x, parent: y}}, {role: {name: y, parent: x}}]"
    )
    done = written(tmp_path, text)
    assert [note for note in done.notes if "memberOf" in note.why]
    load_manifests(tmp_path / "out/estate")


def test_of_two_keys_that_mean_the_same_one_is_named(tmp_path: Path) -> None:
    done = written(tmp_path, "rules:\n- role: x\n  roles: y\n")
    assert [note.key for note in done.notes if "means the same" in note.why] == ["rules[0].role"]


def test_what_no_manifest_can_say_is_left_out_and_named(tmp_path: Path) -> None:
    text = "users:\n  pg_bad: {auth: ldap-user}\n  good: {auth: ldap-user}\n" + f"  {'x' * 80}: {{auth: ldap-user}}\n"
    done = written(tmp_path, text)
    assert done.counts["User"] == 1
    assert {note.position.line for note in done.notes if "left out" in note.why} == {2, 4}


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 10**12) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize("case", CASES)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_any_value_anywhere_is_diagnosed_or_carried(
    case: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Put anything in the place of one value of the file: there is an estate that loads, or an error with words."""
    file, name, scope = CASES[case]
    content = FIXTURES / case / file
    from pgvillage.imports.reading import read_source

    root = json.loads(json.dumps(read_source(content).content))
    parent, key = root, data.draw(st.sampled_from(sorted(root)))
    for _ in range(data.draw(st.integers(0, 5))):
        inner = parent[key]
        if not isinstance(inner, dict | list) or not inner:
            break
        steps = sorted(inner) if isinstance(inner, dict) else list(range(len(inner)))
        parent, key = inner, data.draw(st.sampled_from(steps))
    parent[key] = data.draw(_VALUES)
    folder = tmp_path_factory.mktemp("any")
    (folder / "file").write_text(json.dumps(root))
    try:
        imported(folder / "file", folder / "out", scope, name)
    except PgVillageError:
        assert not (folder / "out").exists()
        return
    load_manifests(folder / "out/estate")


def test_every_format_is_offered() -> None:
    from pgvillage.cli.import_ import Format

    assert {each.value for each in Format} == set(FORMATS)
