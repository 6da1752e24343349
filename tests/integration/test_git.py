"""The estate repository through real git: local, file, https and ssh; hostile, damaged, shared and silent ones."""

from __future__ import annotations

import base64
import fcntl
import multiprocessing
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trustme

from pgvillage.clients.git import EstateSource
from pgvillage.clients.git_remote import Git
from pgvillage.clients.git_url import parse_remote
from pgvillage.core.errors import SourceError
from pgvillage.settings import Repository
from tests.servers import wait_until
from tests.servers.git_http import serving
from tests.servers.sshd import Sshd, make_key, pin, running_sshd

TOKEN = "tok-5up3rs3cr3t-%:/@"
ROLE = "kind: User\nmetadata: {name: a}\n"
DATE = "2026-03-04T05:06:07+02:00"


class Repo:
    """A repository that a test writes to, as its users would."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        self.git("init", "-q", "-b", "main", *options)

    def git(self, *args: str, stdin: bytes | None = None, **env: str) -> str:
        base = {"PATH": os.environ["PATH"], "HOME": str(self.folder.parent), "GIT_CONFIG_NOSYSTEM": "1",
                "GIT_AUTHOR_NAME": "Ann", "GIT_AUTHOR_EMAIL": "ann@example.org", "GIT_AUTHOR_DATE": DATE,
                "GIT_COMMITTER_NAME": "Ann", "GIT_COMMITTER_EMAIL": "ann@example.org",
                "GIT_COMMITTER_DATE": DATE}  # fmt: skip
        done = subprocess.run(
            ["git", *args], cwd=self.folder, env={**base, **env}, input=stdin, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.decode().strip()

    def write(self, **files: str) -> None:
        for name, text in files.items():
            self.put(name.replace("__", "/").replace("_yaml", ".yaml"), text)

    def put(self, path: str, text: str | bytes) -> Path:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return file

    def commit(self, message: str = "change", **files: str) -> str:
        self.write(**files)
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD")

    def commit_tree(self, *entries: tuple[bytes, bytes, str]) -> str:
        """A commit of a tree that no work tree could hold: (mode, name, object) as they are."""
        data = b"".join(mode + b" " + name + b"\0" + bytes.fromhex(oid) for mode, name, oid in entries)
        tree = self.git("hash-object", "-t", "tree", "-w", "--stdin", "--literally", stdin=data)
        commit = self.git("commit-tree", tree, "-m", "hostile")
        self.git("update-ref", "refs/heads/main", commit)
        return commit

    def blob(self, text: bytes) -> str:
        return self.git("hash-object", "-w", "--stdin", stdin=text)


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    made = Repo(tmp_path / "estate")
    made.commit("first\n\nbody", a_yaml=ROLE, sub__b_yaml=ROLE + "# b\n")
    return made


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def source(url: str | Path, cache: Path, **settings: Any) -> EstateSource:
    return EstateSource(Repository(url=str(url), **settings), cache)


def files(root: Path) -> dict[str, str]:
    found = (path for path in root.rglob("*") if path.is_file() and ".git" not in path.parts)
    return {str(path.relative_to(root)): path.read_text() for path in found}


# --- a local folder ---------------------------------------------------------------------------------------------------


def test_clean_local_folder_is_read_from_its_commit(repo: Repo, cache: Path) -> None:
    head = repo.git("rev-parse", "HEAD")
    repo.put(".git/info/exclude", "scratch.yaml\n")
    repo.put("scratch.yaml", "ignored")
    checkout = source(repo.folder, cache).checkout()
    assert (checkout.revision, checkout.dirty, checkout.subject) == (head, False, "first")
    assert checkout.author == "Ann <ann@example.org>"
    assert checkout.committed_at == datetime(2026, 3, 4, 3, 6, 7, tzinfo=UTC)
    assert files(checkout.root) == {"a.yaml": ROLE, "sub/b.yaml": ROLE + "# b\n"}
    assert checkout.root.is_relative_to(cache)
    assert source(repo.folder, cache).head() == head


@pytest.mark.parametrize("change", ["edit", "add", "delete", "stage"])
def test_changed_local_folder_is_read_in_place(repo: Repo, cache: Path, change: str) -> None:
    clean = source(repo.folder, cache).checkout()
    if change == "delete":
        (repo.folder / "a.yaml").unlink()
    else:
        repo.put("a.yaml" if change != "add" else "new.yaml", "kind: Group\n")
    if change == "stage":
        repo.git("add", "-A")
    dirty = source(repo.folder, cache).checkout()
    assert dirty.dirty
    assert dirty.root == repo.folder
    assert re.fullmatch(clean.revision + r"\+dirty\.[0-9a-f]{12}", dirty.revision)
    assert source(repo.folder, cache).checkout().revision == dirty.revision
    repo.put("a.yaml", "kind: Database\n")
    assert source(repo.folder, cache).checkout().revision != dirty.revision


def test_dirty_folder_with_a_named_revision_is_read_from_the_commit(repo: Repo, cache: Path) -> None:
    repo.put("a.yaml", "changed")
    for named in ({"branch": "main"}, {"commit": repo.git("rev-parse", "HEAD")}):
        checkout = source(repo.folder, cache, **named).checkout()
        assert not checkout.dirty
        assert files(checkout.root)["a.yaml"] == ROLE
    assert files(source(repo.folder, cache).checkout(revision="main").root)["a.yaml"] == ROLE


def test_subfolder_is_the_estate_and_changes_beside_it_do_not_count(repo: Repo, cache: Path) -> None:
    repo.put("a.yaml", "changed")
    inside = source(repo.folder, cache, path="sub/")
    clean = inside.checkout()
    assert not clean.dirty
    assert files(clean.root) == {"b.yaml": ROLE + "# b\n"}
    repo.put("sub/c.yaml", "new")
    assert inside.checkout().root == repo.folder / "sub"


def test_new_subfolder_that_is_not_committed_yet(repo: Repo, cache: Path) -> None:
    with pytest.raises(SourceError, match=r"no folder 'new' \(folders there: 'sub'\)"):
        source(repo.folder, cache, path="new").checkout()
    repo.put("new/a.yaml", ROLE)
    assert source(repo.folder, cache, path="new").checkout().dirty


@pytest.mark.parametrize("path", ["../x", "/etc", "a/../b", ".git", "a\nb"])
def test_subfolder_stays_in_the_repository(repo: Repo, cache: Path, path: str) -> None:
    with pytest.raises(SourceError, match="must be a folder inside"):
        source(repo.folder, cache, path=path)


def test_folder_without_git_says_what_to_do(tmp_path: Path, repo: Repo, cache: Path) -> None:
    (tmp_path / "plain").mkdir()
    with pytest.raises(SourceError, match="not a git repository: run `git init`"):
        source(tmp_path / "plain", cache).checkout()
    with pytest.raises(SourceError, match="there is no folder"):
        source(tmp_path / "absent", cache).head()
    with pytest.raises(SourceError, match=re.escape(f"repository.url to {repo.folder} and repository.path to sub")):
        source(repo.folder / "sub", cache).checkout()


def test_repository_without_commits(tmp_path: Path, cache: Path) -> None:
    empty = Repo(tmp_path / "empty")
    with pytest.raises(SourceError, match="no commits and no files"):
        source(empty.folder, cache).checkout()
    empty.put("a.yaml", ROLE)
    checkout = source(empty.folder, cache).checkout()
    assert re.fullmatch(r"0{40}\+dirty\.[0-9a-f]{12}", checkout.revision)
    assert source(empty.folder, cache).head() == "0" * 40
    with pytest.raises(SourceError, match="no commits yet"):
        source(f"file://{empty.folder}", cache).head()


def test_linked_worktree_bare_and_shallow_repositories(repo: Repo, cache: Path, tmp_path: Path) -> None:
    repo.commit("second", a_yaml="second")
    head = repo.git("rev-parse", "HEAD")
    repo.git("worktree", "add", "-q", "--detach", str(tmp_path / "linked"), "HEAD~1")
    repo.git("clone", "-q", "--bare", str(repo.folder), str(tmp_path / "bare"))
    repo.git("clone", "-q", "--depth=1", f"file://{repo.folder}", str(tmp_path / "shallow"))
    assert source(tmp_path / "linked", cache).checkout().subject == "first"
    assert source(tmp_path / "bare", cache).checkout().revision == head
    shallow = source(tmp_path / "shallow", cache)
    assert shallow.checkout().revision == head
    assert not shallow.descends(repo.git("rev-parse", "HEAD~1"), head)
    subprocess.run(["git", "fetch", "-q", "--unshallow"], cwd=tmp_path / "shallow", check=True)
    assert shallow.descends(repo.git("rev-parse", "HEAD~1"), head)


def test_sha256_repository(tmp_path: Path, cache: Path) -> None:
    made = Repo(tmp_path / "long", "--object-format=sha256")
    head = made.commit("long", a_yaml=ROLE)
    long = source(made.folder, cache)
    checkout = long.checkout()
    assert (checkout.revision, checkout.dirty, long.head()) == (head, False, head)
    assert len(head) == 64
    made.commit("longer", b_yaml=ROLE)
    assert long.descends(head, long.head())


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a repository to another uid")
def test_repository_of_another_uid(repo: Repo, cache: Path) -> None:
    for path in [repo.folder, *repo.folder.rglob("*")]:
        os.chown(path, 12345, 12345)
    assert source(repo.folder, cache).checkout().subject == "first"


# --- which revision ---------------------------------------------------------------------------------------------------


def test_branch_tag_commit_and_file_url(repo: Repo, cache: Path) -> None:
    first = repo.git("rev-parse", "HEAD")
    repo.git("tag", "-a", "v1", "-m", "one")
    repo.git("tag", "light")
    second = repo.commit("second", a_yaml="second")
    repo.git("branch", "feature/x.y")
    third = repo.commit("third", a_yaml="third")
    url = f"file://{repo.folder}"
    followed = [({}, third), ({"branch": "feature/x.y"}, second), ({"tag": "v1"}, first), ({"tag": "light"}, first),
                ({"commit": second}, second)]  # fmt: skip
    for named, commit in followed:
        one = source(url, cache, **named)
        assert one.head() == commit
        assert one.checkout().revision == commit
    repo.put("a.yaml", "uncommitted")
    for asked, commit in [("feature/x.y", second), ("v1", first), (second, second), (first[:8], first), (None, third)]:
        assert source(url, cache).checkout(revision=asked).revision == commit


def test_commit_that_no_branch_holds_any_more(repo: Repo, cache: Path) -> None:
    lost = repo.commit("lost", a_yaml="lost")
    repo.git("reset", "-q", "--hard", "HEAD~1")
    assert source(repo.folder, cache).checkout(revision=lost).subject == "lost"


@pytest.mark.parametrize("named", [{"branch": "gone"}, {"tag": "gone"}, {"commit": "1" * 40}])
def test_revision_that_is_not_there(repo: Repo, cache: Path, named: dict[str, str]) -> None:
    with pytest.raises(SourceError, match=r"has no (branch 'gone'|tag 'gone'|commit 1111)"):
        source(repo.folder, cache, **named).checkout()


def test_tag_of_a_file_is_refused(repo: Repo, cache: Path) -> None:
    repo.git("tag", "odd", repo.blob(b"text"))
    with pytest.raises(SourceError, match="not a commit"):
        source(repo.folder, cache, tag="odd").checkout()


ODD_NAMES = ["--upload-pack=touch {marker}", "-b", "a..b", "a b", "x.lock", "@{-1}", "a\nb", "*", "", "a:b", "/x"]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_branch_names_do_no_harm(repo: Repo, cache: Path, tmp_path: Path, name: str) -> None:
    marker = tmp_path / "marker"
    one = source(repo.folder, cache, branch=name.replace("{marker}", str(marker)))
    for call in (one.checkout, one.head, lambda: source(repo.folder, cache).checkout(revision=name or "-")):
        with pytest.raises(SourceError, match="is not a name that a branch or tag can have"):
            call()
    assert not marker.exists()


def test_force_push_and_descends(repo: Repo, cache: Path) -> None:
    url = f"file://{repo.folder}"
    one = source(url, cache, branch="main")
    base = repo.git("rev-parse", "HEAD")
    old = repo.commit("old", a_yaml="old")
    assert one.checkout().revision == old
    assert one.descends(base, old)
    assert one.descends(old, old)
    assert not one.descends(old, base)
    repo.git("reset", "-q", "--hard", base)
    new = repo.commit("new", a_yaml="new")
    repo.git("reflog", "expire", "--expire=now", "--all")
    repo.git("gc", "-q", "--prune=now")
    assert one.checkout().revision == new
    assert not one.descends(old, new)
    assert one.descends(f"{base}+dirty.0123456789ab", new)
    assert one.checkout(revision=old).subject == "old", "the clone still knows what was applied"
    shutil.rmtree(cache)
    assert not one.descends(old, new), "unknown is not an ancestor"
    assert not one.descends("nonsense", new)


def test_packs_are_put_together_and_nothing_is_lost(repo: Repo, cache: Path) -> None:
    one = source(repo.folder, cache)
    lost = repo.commit("lost", a_yaml="lost")
    one.checkout()
    repo.git("reset", "-q", "--hard", "HEAD~1")
    for number in range(55):
        repo.commit("more", a_yaml=f"{number}")
        source(repo.folder, cache).checkout()
    repo.git("reflog", "expire", "--expire=now", "--all")
    repo.git("gc", "-q", "--prune=now")
    assert len(list(cache.glob("mirror.git/objects/pack/*.pack"))) < 20
    assert len(list(cache.glob("trees/*"))) == 5
    assert one.checkout(revision=lost).subject == "lost"


# --- hostile repositories ---------------------------------------------------------------------------------------------


def test_programs_of_a_local_repository_do_not_run(repo: Repo, cache: Path, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    program = repo.put(".git/evil.sh", f"#!/bin/sh\necho \"$0 $@\" >> '{marker}'\ncat\n")
    program.chmod(0o755)
    keys = ["core.fsmonitor", "core.sshCommand", "core.alternateRefsCommand", "core.pager", "core.editor",
            "uploadpack.packObjectsHook", "filter.evil.clean", "filter.evil.smudge", "filter.evil.process",
            "diff.external", "credential.helper", "gpg.program", "core.askPass",
            "remote.origin.uploadpack"]  # fmt: skip
    for key in keys:
        repo.git("config", key, str(program))
    repo.git("config", "alias.upload-pack", f"!{program}")
    repo.git("config", "core.hooksPath", str(repo.folder / ".git/hooks"))
    for hook in ("post-checkout", "post-index-change", "reference-transaction", "pre-auto-gc", "post-upload-pack"):
        shutil.copy(program, repo.folder / ".git/hooks" / hook)
    repo.put(".gitattributes", "*.yaml filter=evil ident diff=evil\n")
    repo.put(".git/info/attributes", "*.yaml filter=evil\n")
    marker.unlink(missing_ok=True)
    one = source(repo.folder, cache)
    assert one.checkout().dirty
    one.checkout(revision="main")
    one.head()
    assert not marker.exists()
    # the traps are armed: git itself steps into them
    subprocess.run(["git", "status"], cwd=repo.folder, capture_output=True, check=False)
    assert marker.exists()


def test_missing_objects_of_a_partial_clone_are_not_fetched(repo: Repo, cache: Path, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    program = repo.put(".git/evil.sh", f"#!/bin/sh\ntouch '{marker}'\n")
    program.chmod(0o755)
    for key, value in {
        "core.repositoryFormatVersion": "1", "extensions.partialClone": "origin", "remote.origin.promisor": "true",
        "remote.origin.url": f"{repo.folder}/.git", "remote.origin.uploadpack": str(program),
    }.items():  # fmt: skip
        repo.git("config", key, value)
    blob = repo.git("rev-parse", "HEAD:a.yaml")
    (repo.folder / ".git/objects" / blob[:2] / blob[2:]).unlink()
    with pytest.raises(SourceError):
        source(repo.folder, cache).checkout()
    assert not marker.exists()
    subprocess.run(["git", "cat-file", "-p", blob], cwd=repo.folder, capture_output=True, check=False)
    assert marker.exists(), "the trap is armed"


def test_content_is_that_of_the_commit_whatever_attributes_say(repo: Repo, cache: Path) -> None:
    text = "a: $Id$\nb: gr\u00fc\u00df\n"
    repo.put(".gitattributes", "*.yaml text eol=crlf ident working-tree-encoding=UTF-16 filter=lfs\n")
    oid = repo.blob(text.encode())
    attributes = repo.git("hash-object", "-w", "--no-filters", ".gitattributes")
    repo.commit_tree((b"100644", b".gitattributes", attributes), (b"100644", b"a.yaml", oid))
    assert (source(repo.folder, cache, branch="main").checkout().root / "a.yaml").read_bytes() == text.encode()


@pytest.mark.parametrize("target", ["/etc/passwd", "../../x", "b.yaml"])
def test_symbolic_links(repo: Repo, cache: Path, target: str) -> None:
    (repo.folder / "docs").symlink_to("/etc")
    (repo.folder / "readme").symlink_to(target)
    commit = repo.commit("links")
    checkout = source(repo.folder, cache).checkout()
    assert checkout.revision == commit
    assert not checkout.dirty
    assert set(files(checkout.root)) == {"a.yaml", "sub/b.yaml"}
    assert not [path for path in checkout.root.rglob("*") if path.is_symlink()]
    (repo.folder / "sub/link.yaml").symlink_to(target)
    refused = rf"'sub/link.yaml' is a symbolic link \(to '{re.escape(target)}'\)"
    with pytest.raises(SourceError, match=refused):
        source(repo.folder, cache).checkout()
    repo.commit("linked manifest")
    with pytest.raises(SourceError, match=refused):
        source(repo.folder, cache, branch="main").checkout()


def test_work_tree_folders_that_are_links_are_not_followed(repo: Repo, cache: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "b.yaml").write_text("secret")
    shutil.rmtree(repo.folder / "sub")
    (repo.folder / "sub").symlink_to(outside)
    one = source(repo.folder, cache)
    before = one.checkout()
    (outside / "b.yaml").write_text("another secret")
    assert before.dirty
    assert one.checkout().revision == before.revision, "what is behind the link was not read"
    with pytest.raises(SourceError, match="is a symbolic link, not a folder"):
        source(repo.folder, cache, path="sub").checkout()


def test_submodules_and_nested_repositories_are_ignored(repo: Repo, cache: Path) -> None:
    oid = repo.git("rev-parse", "HEAD:a.yaml")
    repo.commit_tree((b"100644", b"a.yaml", oid), (b"160000", b"module.yaml", "1" * 40))
    assert set(files(source(repo.folder, cache, branch="main").checkout().root)) == {"a.yaml"}
    shutil.rmtree(repo.folder / "sub")
    Repo(repo.folder / "nested").commit("inner", x_yaml=ROLE)
    assert not source(repo.folder, cache).checkout().dirty


@pytest.mark.parametrize("name", [b"..", b".", b".git", b".GIT", b"a\nb.yaml", b"a\\b.yaml", b"\xff\xfe.yaml",
                                  b"/etc/x.yaml", b"../up.yaml", b"a/b.yaml", b"\xe2\x80\xaegpj.yaml",
                                  b""])  # fmt: skip
@pytest.mark.parametrize("mode", [b"100644", b"40000"])
def test_names_that_do_harm_are_refused(repo: Repo, cache: Path, tmp_path: Path, name: bytes, mode: bytes) -> None:
    oid = repo.blob(b"x") if mode == b"100644" else repo.git("rev-parse", "HEAD:sub")
    repo.commit_tree((mode, name, oid))
    with pytest.raises(SourceError) as refused:
        source(repo.folder, cache, branch="main").checkout()
    assert str(refused.value).isprintable()
    assert not list(cache.glob("trees/*/*"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "estate"]


def test_names_that_look_like_options_are_just_names(repo: Repo, cache: Path) -> None:
    repo.put("-rf", "x")
    repo.put("--upload-pack=x.yaml", ROLE)
    repo.put(":(top)glob*.yaml", ROLE)
    repo.commit("options")
    checkout = source(repo.folder, cache).checkout()
    assert not checkout.dirty
    assert {"-rf", "--upload-pack=x.yaml", ":(top)glob*.yaml"} < set(files(checkout.root))
    repo.put("-b/-x.yaml", ROLE)
    assert source(repo.folder, cache, path="-b").checkout().root == repo.folder / "-b"


def test_one_name_twice_in_a_tree(repo: Repo, cache: Path) -> None:
    repo.commit_tree((b"100644", b"a.yaml", repo.blob(b"x")), (b"100644", b"a.yaml", repo.blob(b"y")))
    with pytest.raises(SourceError, match=r"'a\.yaml' is in the commit twice"):
        source(repo.folder, cache, branch="main").checkout()
    repo.commit_tree((b"100644", b"a", repo.blob(b"x")), (b"40000", b"a", repo.git("rev-parse", "HEAD:")))
    with pytest.raises(SourceError):
        source(repo.folder, cache, branch="main").checkout()


def test_tree_that_unfolds_to_billions(repo: Repo, cache: Path) -> None:
    tree = repo.git("mktree", stdin=b"")
    for _ in range(12):
        lines = "".join(f"040000 tree {tree}\td{number}\n" for number in range(10))
        tree = repo.git("mktree", stdin=lines.encode())
    repo.git("update-ref", "refs/heads/main", repo.git("commit-tree", tree, "-m", "bomb"))
    started = time.monotonic()
    with pytest.raises(SourceError, match="more than 20000 files and folders"):
        source(repo.folder, cache, branch="main").checkout()
    assert time.monotonic() - started < 30


def test_limits_hold_for_commits_and_work_trees(repo: Repo, cache: Path) -> None:
    repo.put("big.bin", "x" * 200)
    repo.commit("big")
    for branch in (None, "main"):
        small = source(repo.folder, cache, maxFileSize=100, branch=branch)
        assert "big.bin" not in files(small.checkout().root)
        with pytest.raises(SourceError, match=r"holds more than 2 files \(repository.maxFiles\)"):
            source(repo.folder, cache, maxFiles=2, branch=branch).checkout()
    repo.put("sub/big.yaml", "x" * 101)
    too_big = r"'sub/big.yaml' has 101 bytes, more than repository.maxFileSize \(100\)"
    with pytest.raises(SourceError, match=too_big):
        source(repo.folder, cache, maxFileSize=100).checkout()
    repo.commit("big manifest")
    with pytest.raises(SourceError, match=too_big):
        source(repo.folder, cache, maxFileSize=100, branch="main").checkout()


def test_pipe_in_place_of_a_manifest_is_refused(repo: Repo, cache: Path) -> None:
    (repo.folder / "a.yaml").unlink()
    os.mkfifo(repo.folder / "a.yaml")
    with pytest.raises(SourceError, match=r"'a\.yaml' is not a regular file"):
        source(repo.folder, cache).checkout()


def test_message_and_author_cannot_write_to_a_terminal(repo: Repo, cache: Path) -> None:
    repo.git("commit", "-q", "--allow-empty", "-m", "red \x1b[31m\u202ealarm\x07\r\nmore", GIT_AUTHOR_NAME="E\x1bve")
    checkout = source(repo.folder, cache).checkout()
    assert (checkout.subject, checkout.author) == ("red [31malarm", "Eve <ann@example.org>")


def test_environment_of_the_caller_has_no_say(repo: Repo, cache: Path, tmp_path: Path, monkeypatch: Any) -> None:
    marker = tmp_path / "marker"
    head = repo.git("rev-parse", "HEAD")
    (tmp_path / ".gitconfig").write_text(f"[url 'ext::touch {marker} ']\n insteadOf = /\n[core]\n fsmonitor = x\n")
    for name, value in {"HOME": tmp_path, "GIT_DIR": "/nowhere", "GIT_WORK_TREE": "/", "GIT_INDEX_FILE": "/x",
                        "GIT_OBJECT_DIRECTORY": "/x", "GIT_COMMON_DIR": "/x", "GIT_CONFIG_COUNT": "x",
                        "GIT_TRACE": marker}.items():  # fmt: skip
        monkeypatch.setenv(name, str(value))
    assert source(repo.folder, cache).checkout().revision == head
    repo.put("a.yaml", "dirty")
    assert source(repo.folder, cache).checkout().dirty
    assert not marker.exists()


# --- URLs -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("https://ann:s3cret@example.org/x.git", "holds a password"),
        ("https://ann:s3cret/x@example.org/x.git", "is not a URL|holds a password|holds a login"),
        ("https://s3cret@example.org/x.git", "holds a login"),
        ("https://example.org/x.git?token=s3cret", "without `\\?`"),
        ("ssh://git:s3cret@example.org/x.git", "holds a password"),
        ("git:s3cret@example.org:x.git", "is not understood"),
        ("ext::sh -c s3cret", "is not understood"),
        ("ssh://-oProxyCommand=s3cret/x", "needs a host"),
        ("-oProxyCommand=s3cret:x", "is not understood"),
        ("http://example.org/s3cret@x.git", "must be a local path"),
        ("git://example.org/x.git", "must be a local path"),
        ("file://example.org/x.git", "must be file:///PATH"),
        ("https://example.org", "needs a host and a path"),
        ("a\nb", "control characters"),
    ],
)
def test_urls_that_are_refused(cache: Path, url: str, why: str) -> None:
    with pytest.raises(SourceError, match=why) as refused:
        source(url, cache).head()
    if "@" in url or "token" in url:
        assert "s3cret" not in str(refused.value).replace("/s3cret@x.git", "")
    assert not cache.exists()


def test_url_is_shown_without_user(cache: Path) -> None:
    assert parse_remote("ssh://git@example.org:2222/x.git").shown == "ssh://example.org:2222/x.git"
    assert parse_remote("git@example.org:x/y.git").shown == "example.org:x/y.git"


def test_missing_git(repo: Repo, cache: Path, monkeypatch: Any, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for call in (source(repo.folder, cache).checkout, source(repo.folder, cache).head):
        with pytest.raises(SourceError, match="git is not installed: apt-get install git"):
            call()


# --- https ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def ca(tmp_path: Path, monkeypatch: Any) -> trustme.CA:
    made = trustme.CA()
    made.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.delenv("GIT_SSL_CAINFO", raising=False)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    monkeypatch.setenv("TEST_GIT_TOKEN", TOKEN)
    return made


def test_https_with_a_token(repo: Repo, cache: Path, ca: trustme.CA, tmp_path: Path) -> None:
    with serving(ca, tmp_path, token=TOKEN) as (url, seen):
        one = source(f"{url}/estate/.git", cache, token={"env": "TEST_GIT_TOKEN"})
        assert one.checkout().revision == one.head() == repo.git("rev-parse", "HEAD")
        old, new = one.head(), repo.commit("more", a_yaml="more")
        assert one.descends(old, new)
        assert seen
        assert None not in seen
    stored = b"".join(path.read_bytes() for path in cache.rglob("*") if path.is_file())
    assert TOKEN.encode() not in stored
    assert base64.b64encode(f"oauth2:{TOKEN}".encode()) not in stored


def test_token_is_not_in_any_argument_list(repo: Repo, cache: Path, ca: trustme.CA, monkeypatch: Any) -> None:
    started: list[str] = []
    popen = subprocess.Popen

    def spy(args: Any, **options: Any) -> Any:
        started.append(" ".join(map(str, args)))
        return popen(args, **options)

    monkeypatch.setattr(subprocess, "Popen", spy)
    with serving(ca, repo.folder.parent, token=TOKEN) as (url, _):
        source(f"{url}/estate/.git", cache, token={"env": "TEST_GIT_TOKEN"}).checkout()
    assert any(" fetch " in line for line in started)
    encoded = base64.b64encode(f"oauth2:{TOKEN}".encode()).decode()
    assert not [line for line in started if TOKEN in line or encoded in line]


def test_wrong_and_missing_token(repo: Repo, cache: Path, ca: trustme.CA, tmp_path: Path) -> None:
    with serving(ca, tmp_path, token="another") as (url, _):
        for token, says in (({"env": "TEST_GIT_TOKEN"}, "check repository.token"), (None, "set repository.token")):
            one = source(f"{url}/estate/.git", cache, token=token)
            for call in (one.checkout, one.head):
                with pytest.raises(SourceError, match=f"the server refused access: .*{says}") as refused:
                    call()
                assert TOKEN not in str(refused.value)
                assert "b2F1dGgy" not in str(refused.value)


def test_token_does_not_follow_a_redirect(repo: Repo, cache: Path, ca: trustme.CA, tmp_path: Path) -> None:
    with serving(ca, tmp_path) as (other, seen), serving(ca, tmp_path, redirect=other) as (url, first):
        with pytest.raises(SourceError, match="redirects elsewhere"):
            source(f"{url}/estate/.git", cache, token={"env": "TEST_GIT_TOKEN"}).checkout()
        assert first
        assert seen == []


def test_token_with_a_line_break_is_refused(repo: Repo, cache: Path, ca: trustme.CA, monkeypatch: Any) -> None:
    monkeypatch.setenv("TEST_GIT_TOKEN", "abc\r\nX-Evil: 1")
    with pytest.raises(SourceError, match="a character that HTTP cannot carry") as refused:
        source("https://127.0.0.1:1/x.git", cache, token={"env": "TEST_GIT_TOKEN"}).head()
    assert "Evil" not in str(refused.value)


def test_certificate_must_be_trusted(repo: Repo, cache: Path, ca: trustme.CA, tmp_path: Path, monkeypatch: Any) -> None:
    with serving(ca, tmp_path) as (url, _):
        monkeypatch.delenv("SSL_CERT_FILE")
        monkeypatch.setenv("GIT_SSL_NO_VERIFY", "1")
        with pytest.raises(SourceError, match="certificate is not trusted"):
            source(f"{url}/estate/.git", cache).checkout()


def test_http_on_loopback_and_unknown_repository(repo: Repo, cache: Path, tmp_path: Path) -> None:
    with serving(None, tmp_path) as (url, _):
        assert source(f"{url}/estate/.git", cache).checkout().subject == "first"
        with pytest.raises(SourceError, match="there is no git repository there"):
            source(f"{url}/absent.git", cache).checkout()


@pytest.mark.parametrize("scheme", ["https", "ssh"])
def test_server_that_never_answers(cache: Path, tmp_path: Path, scheme: str) -> None:
    known_hosts = tmp_path / "known_hosts"
    known_hosts.write_text("")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        one = source(f"{scheme}://127.0.0.1:{port}/x.git", cache, timeout=1, knownHosts=known_hosts)
        started = time.monotonic()
        for call in (one.head, one.checkout):
            with pytest.raises(SourceError, match=r"no answer within 1 s \(repository.timeout\)"):
                call()
        assert time.monotonic() - started < 8
        left = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
        assert f":{port}/x.git" not in left
        assert f"-p {port}" not in left


# --- ssh --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    if not Path("/usr/sbin/sshd").exists():
        pytest.skip("sshd is not installed: apt-get install openssh-server")
    with running_sshd(tmp_path_factory.mktemp("sshd with space")) as server:
        yield server


def over_ssh(sshd: Sshd, repo: Repo, cache: Path, **settings: Any) -> EstateSource:
    url = f"ssh://{sshd.user}@127.0.0.1:{sshd.port}{repo.folder}"
    return source(url, cache, **{"sshKey": sshd.key, "knownHosts": sshd.known_hosts, **settings})


def test_ssh_with_a_pinned_host_key(sshd: Sshd, repo: Repo, cache: Path, tmp_path: Path) -> None:
    pinned = sshd.known_hosts.read_text()
    one = over_ssh(sshd, repo, cache)
    assert one.checkout().revision == one.head() == repo.git("rev-parse", "HEAD")
    key = shutil.copy(sshd.key, tmp_path / "100%h key")
    assert over_ssh(sshd, repo, tmp_path / "again", sshKey=key).checkout().subject == "first"
    assert sshd.known_hosts.read_text() == pinned


def test_ssh_refusals(sshd: Sshd, repo: Repo, cache: Path, tmp_path: Path) -> None:
    wrong = pin(tmp_path / "wrong", sshd.port, make_key(tmp_path / "another"))
    (tmp_path / "none").write_text("")
    open_key = Path(shutil.copy(sshd.key, tmp_path / "open"))
    open_key.chmod(0o644)
    refusals: list[tuple[dict[str, Any], str]] = [
        ({"knownHosts": None}, "needs repository.knownHosts"),
        ({"knownHosts": tmp_path / "absent"}, "repository.knownHosts: there is no file"),
        ({"knownHosts": wrong}, "host key is not the one pinned"),
        ({"knownHosts": tmp_path / "none"}, "host key is not in"),
        ({"sshKey": sshd.other_key}, "refused the ssh key"),
        ({"sshKey": tmp_path / "absent"}, "repository.sshKey: there is no file"),
        ({"sshKey": open_key}, "chmod 600"),
    ]
    for settings, says in refusals:
        for call in (over_ssh(sshd, repo, cache, **settings).head, over_ssh(sshd, repo, cache, **settings).checkout):
            with pytest.raises(SourceError, match=says):
                call()


# --- the cache --------------------------------------------------------------------------------------------------------


def first_of(folder: Path, pattern: str) -> Path:
    return next(folder.rglob(pattern))


def truncate_pack(mirror: Path) -> None:
    pack = first_of(mirror, "*.pack")
    pack.chmod(0o644)
    pack.write_bytes(pack.read_bytes()[:40])


def garble_pack(mirror: Path) -> None:
    pack = first_of(mirror, "*.pack")
    pack.chmod(0o644)
    data = pack.read_bytes()
    pack.write_bytes(data[:20] + bytes(byte ^ 0x55 for byte in data[20:-20]) + data[-20:])


def swap_object(mirror: Path) -> None:
    """A well-formed object with another content than its name says."""
    pack = first_of(mirror, "*.pack").rename(mirror / "old.pack")
    first_of(mirror, "*.idx").unlink()
    git = ["git", f"--git-dir={mirror}"]
    subprocess.run([*git, "unpack-objects", "-q"], input=pack.read_bytes(), check=True)
    oid = subprocess.check_output([*git, "rev-parse", "refs/pgvillage/followed:a.yaml"], text=True).strip()
    file = mirror / "objects" / oid[:2] / oid[2:]
    file.chmod(0o644)
    file.write_bytes(zlib.compress(b"blob 5\0evil\n"))


BREAK: dict[str, Callable[[Path], object]] = {
    "nothing": lambda _: None,
    "gone": shutil.rmtree,
    "a file": lambda mirror: mirror.rename(mirror.with_name("old")) and mirror.write_text("x"),
    "no HEAD": lambda mirror: (mirror / "HEAD").unlink(),
    "no config": lambda mirror: (mirror / "config").unlink(),
    "odd config": lambda mirror: (mirror / "config").write_text("[core\n"),
    "no objects": lambda mirror: shutil.rmtree(mirror / "objects"),
    "no packs": lambda mirror: shutil.rmtree(mirror / "objects/pack"),
    "no index": lambda mirror: first_of(mirror, "*.idx").unlink(),
    "truncated": truncate_pack,
    "garbled": garble_pack,
    "swapped": swap_object,
    "odd ref": lambda mirror: (mirror / "refs/pgvillage/followed").write_text("garbage\n"),
    "lost ref": lambda mirror: (mirror / "refs/pgvillage/followed").write_text("1" * 40 + "\n"),
    "half a clone": lambda mirror: (mirror / "pgvillage-source").unlink(),
    "other URL": lambda mirror: (mirror / "pgvillage-source").write_text("/another"),
    "locks": lambda mirror: [
        (mirror / name).write_text("")
        for name in ("config.lock", "packed-refs.lock", "shallow.lock", "HEAD.lock", "refs/pgvillage/followed.lock")
    ],
}


@pytest.mark.parametrize("how", BREAK)
@pytest.mark.parametrize("moved", [False, True])
def test_broken_cache_repairs_itself(repo: Repo, cache: Path, how: str, moved: bool) -> None:
    first = repo.git("rev-parse", "HEAD")
    source(repo.folder, cache).checkout()
    BREAK[how](cache / "mirror.git")
    shutil.rmtree(cache / "trees")
    if moved:
        repo.commit("second", a_yaml="second")
    one = source(repo.folder, cache)
    checkout = one.checkout()
    assert checkout.revision == repo.git("rev-parse", "HEAD")
    assert files(checkout.root) == files(repo.folder)
    assert one.descends(first, checkout.revision)


def test_every_object_file_lost(repo: Repo, cache: Path) -> None:
    first, second = repo.git("rev-parse", "HEAD"), repo.commit("second", a_yaml="second")
    one = source(repo.folder, cache)
    one.checkout()
    for pack in (cache / "mirror.git/objects/pack").iterdir():
        pack.unlink()
    assert one.descends(first, second)


def test_unreachable_repository_keeps_the_clone(repo: Repo, cache: Path) -> None:
    url, old = f"file://{repo.folder}", repo.git("rev-parse", "HEAD")
    source(url, cache).checkout()
    repo.folder.rename(repo.folder.with_name("moved"))
    with pytest.raises(SourceError, match="no git repository"):
        source(url, cache).checkout()
    assert source(url, cache).checkout(revision=old).subject == "first"


@pytest.mark.parametrize("how", ["edited", "added", "removed", "link"])
def test_tree_in_the_cache_is_what_the_commit_holds(repo: Repo, cache: Path, how: str) -> None:
    root = source(repo.folder, cache).checkout().root
    if how in {"edited", "added"}:
        (root / ("a.yaml" if how == "edited" else "evil.yaml")).write_text("kind: Evil\n")
    elif how == "removed":
        (root / "a.yaml").unlink()
    else:
        (root / "link").symlink_to("/etc")
    assert files(source(repo.folder, cache).checkout().root) == files(repo.folder)
    assert not (root / "link").is_symlink()


def test_url_changes_and_half_written_trees(repo: Repo, cache: Path, tmp_path: Path) -> None:
    source(repo.folder, cache).checkout()
    (cache / "trees/.new-killed").mkdir()
    other = Repo(tmp_path / "other")
    head = other.commit("other", x_yaml=ROLE)
    assert source(other.folder, cache).checkout().revision == head
    assert not (cache / "trees/.new-killed").exists()


def test_cache_that_cannot_be_written(repo: Repo, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SourceError, match="file"):
        source(repo.folder, tmp_path / "file" / "cache").checkout()


def checkout_many(url: str, cache: Path, times: int) -> None:
    for _ in range(times):
        checkout = source(url, cache).checkout()
        assert (checkout.root / "a.yaml").exists()


def test_two_processes_at_once(repo: Repo, cache: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    both = [spawn.Process(target=checkout_many, args=(f"file://{repo.folder}", cache, 6)) for _ in range(2)]
    for process in both:
        process.start()
    for number in range(8):
        repo.commit("on", a_yaml=f"{number}")
    for process in both:
        process.join(60)
    assert [process.exitcode for process in both] == [0, 0]
    assert source(f"file://{repo.folder}", cache).checkout().revision == repo.git("rev-parse", "HEAD")


def test_killed_during_the_first_clone(repo: Repo, cache: Path, tmp_path: Path) -> None:
    for number in range(300):
        repo.put(f"many/{number}.yaml", os.urandom(2000).hex())
    head = repo.commit("many")
    code = f"from tests.integration.test_git import *; checkout_many('file://{repo.folder}', Path('{cache}'), 1)"
    for delay in (0.5, 0.6, 0.7, 0.8, 0.9, 1.0):
        shutil.rmtree(cache, ignore_errors=True)
        process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
        checkout = source(f"file://{repo.folder}", cache).checkout()
        assert checkout.revision == head
        assert len(files(checkout.root)) == 302


def lock_is_free(cache: Path) -> bool:
    with (cache / "lock").open("r+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def test_git_that_outlives_a_killed_parent_keeps_the_lock(cache: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}/x.git"
        code = f"from tests.integration.test_git import *; source('{url}', Path('{cache}'), timeout=30).checkout()"
        process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
        connection, _ = silent.accept()
        process.kill()
        process.wait()
        assert not lock_is_free(cache)
        connection.close()
    wait_until(lambda: lock_is_free(cache), "the lock")


def test_import_does_not_load_gitpython() -> None:
    code = "import sys, pgvillage.clients.git; sys.exit('git.cmd' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_output_of_git_is_not_asked_for_a_login(repo: Repo, cache: Path) -> None:
    """What every git run gets: no terminal, no settings of the host, only the scheme of the URL."""
    cache.mkdir()
    remote = parse_remote("https://example.org/x.git")
    env = Git(Repository(url="https://example.org/x.git"), remote, cache).environment()
    assert (env["GIT_TERMINAL_PROMPT"], env["GIT_CONFIG_NOSYSTEM"], env["GIT_ALLOW_PROTOCOL"]) == ("0", "1", "https")
    assert env["GIT_CONFIG_GLOBAL"] == "/dev/null"
