"""The merge of two commits, made in the clone alone."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from pgvillage.clients.git import EstateSource
from pgvillage.core.errors import SourceError
from pgvillage.settings import Repository
from tests.integration.test_git import Repo


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    """`main` and `feature` that each added a file of its own to the first commit."""
    made = Repo(tmp_path / "repo")
    made.commit("first", a_yaml="a")
    made.git("checkout", "-qb", "feature")
    made.commit("on feature", b_yaml="b")
    made.git("checkout", "-q", "main")
    made.commit("on main", c_yaml="c")
    return made


def source(url: str | Path, cache: Path, **more: Any) -> EstateSource:
    return EstateSource(Repository.model_validate({"url": str(url), **more}), cache)


def files(root: Path) -> set[str]:
    return {path.name for path in root.iterdir()}


def test_both_sides_are_there_and_the_base_apart(repo: Repo, tmp_path: Path) -> None:
    result, base = source(f"file://{repo.folder}", tmp_path / "cache").merged("main", "feature")
    assert files(result.root) == {"a.yaml", "b.yaml", "c.yaml"}
    assert files(base.root) == {"a.yaml", "c.yaml"}
    assert result.subject == "on feature"
    assert base.revision == repo.git("rev-parse", "main")
    assert repo.git("cat-file", "-t", "HEAD") == "commit"
    assert repo.git("rev-list", "--all", "--count") == "3", "nothing is written to the repository itself"


def test_two_clones_make_the_same_merge(repo: Repo, tmp_path: Path) -> None:
    found = {source(f"file://{repo.folder}", tmp_path / name).merged("main", "feature")[0].revision for name in "ab"}
    assert len(found) == 1


def test_the_merge_is_known_to_descend(repo: Repo, tmp_path: Path) -> None:
    one = source(f"file://{repo.folder}", tmp_path / "cache")
    merge = one.merged("main", "feature")[0].revision
    assert all(one.descends(repo.git("rev-parse", branch), merge) for branch in ("main", "feature"))
    assert not one.descends(merge, repo.git("rev-parse", "main"))


def test_what_needs_no_merge(repo: Repo, tmp_path: Path) -> None:
    one = source(f"file://{repo.folder}", tmp_path / "cache")
    main, first = repo.git("rev-parse", "main"), repo.git("rev-parse", "main~1")
    assert one.merged("main", first)[0].revision == main, "merged already"
    repo.git("checkout", "-q", "feature")
    repo.git("merge", "-q", "main")
    assert one.merged("main", "feature")[0].revision == repo.git("rev-parse", "feature"), "a fast-forward"


def test_a_checkout_that_a_ci_made(repo: Repo, tmp_path: Path) -> None:
    """A detached head, and the target branch is the remote's alone; what lies about in the work tree is not read."""
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", str(repo.folder), str(clone)], check=True)
    subprocess.run(["git", "-C", str(clone), "checkout", "-q", "origin/feature"], check=True)
    subprocess.run(["git", "-C", str(clone), "branch", "-qD", "main"], check=True)
    (clone / "lying-about.yaml").write_text("x")
    result, base = source(clone, tmp_path / "cache").merged("main")
    assert files(result.root) == {"a.yaml", "b.yaml", "c.yaml"}
    assert base.revision == repo.git("rev-parse", "main")


def test_conflicts_name_the_files(repo: Repo, tmp_path: Path) -> None:
    repo.git("checkout", "-q", "feature")
    repo.commit("theirs", a_yaml="theirs")
    repo.git("checkout", "-q", "main")
    repo.commit("ours", a_yaml="ours")
    with pytest.raises(SourceError, match=r"does not merge into .*: conflicts in 'a\.yaml'; merge or rebase"):
        source(f"file://{repo.folder}", tmp_path / "cache").merged("main", "feature")


def test_histories_that_never_met(repo: Repo, tmp_path: Path) -> None:
    repo.git("checkout", "-q", "--orphan", "stranger")
    repo.commit("from nowhere", z_yaml="z")
    with pytest.raises(SourceError, match="no history in common"):
        source(f"file://{repo.folder}", tmp_path / "cache").merged("main", "stranger")


@pytest.mark.parametrize("name", ["nothing", "--upload-pack=x", "a..b"])
def test_a_base_that_is_not_there(repo: Repo, tmp_path: Path, name: str) -> None:
    with pytest.raises(SourceError, match=r"has no branch, tag or commit|is not a name"):
        source(f"file://{repo.folder}", tmp_path / "cache").merged(name, "feature")


def test_an_estate_that_the_base_does_not_have_yet(repo: Repo, tmp_path: Path) -> None:
    repo.git("checkout", "-q", "feature")
    (repo.folder / "estate").mkdir()
    (repo.folder / "estate/e.yaml").write_text("e")
    repo.git("add", "-A")
    repo.git("commit", "-qm", "an estate")
    result, base = source(f"file://{repo.folder}", tmp_path / "cache", path="estate").merged("main", "feature")
    assert files(result.root) == {"e.yaml"}
    assert "no folder 'estate'" in base.refused
