"""The bare clone in the cache: locked, fetched into, and made again when it is damaged."""

from __future__ import annotations

import fcntl
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pgvillage.clients.git_remote import Git, NotInRepository, OtherObjectFormat
from pgvillage.clients.git_tree import Damaged, remove
from pgvillage.core.errors import SourceError

_COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_SHORT = re.compile(r"[0-9a-f]{7,63}")
_CONFIG = {
    "sha1": "[core]\n\trepositoryformatversion = 0\n\tbare = true\n",
    "sha256": "[core]\n\trepositoryformatversion = 1\n\tbare = true\n[extensions]\n\tobjectformat = sha256\n",
}
_MANY_PACKS = 50
_FOLLOWED, _ASKED = "refs/pgvillage/followed", "refs/pgvillage/asked"


class Mirror:
    """Used under `lock()` only. What was fetched stays, so a force-pushed branch's old commits are known for long."""

    def __init__(self, git: Git, cache: Path) -> None:
        self.git = git
        self.folder = cache / "mirror.git"
        self._source = self.folder / "pgvillage-source"
        self._lock_file = cache / "lock"
        self._lock: int | None = None
        self._format = "sha1"

    @contextmanager
    def lock(self) -> Iterator[None]:
        """One process at a time. Git runs inherit the lock, so one that outlives a killed parent still holds it."""
        lock = os.open(self._lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._wait_for(lock)
            self._lock = lock
            yield
        finally:
            self._lock = None
            os.close(lock)

    def _wait_for(self, lock: int) -> None:
        limit = max(30.0, 2 * self.git.repository.timeout)
        deadline = time.monotonic() + limit
        while True:
            try:
                return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise SourceError(f"another process has used {self.folder.parent} for {limit:g} s") from None
                time.sleep(0.05)

    def prepare(self) -> None:
        """Make the clone ready to fetch into: a new one unless what is there is whole and of the same URL."""
        if not self._whole():
            self.rebuild()
        for left in ("*.lock", "refs/**/*.lock", "objects/pack/tmp_*", "objects/pack/*.keep"):
            for file in self.folder.glob(left):
                remove(file)  # of a killed git: ours is the only one that runs, see lock()

    def _whole(self) -> bool:
        try:
            config = (self.folder / "config").read_text()
            source = self._source.read_text()
            same = source == self.git.remote.argument and config in _CONFIG.values()
            self._format = "sha256" if config == _CONFIG["sha256"] else "sha1"
        except (OSError, ValueError):
            return False
        parts = (self.folder / "objects", self.folder / "refs")
        # A clone of a shallow one stays shallow, even when the repository has more by now.
        return same and all(part.is_dir() for part in parts) and not (self.folder / "shallow").exists()

    def rebuild(self, other_format: bool = False) -> None:
        if other_format:
            self._format = "sha256" if self._format == "sha1" else "sha1"
        remove(self.folder)
        made = self.git.run(
            "init", "--quiet", "--bare", "--template=", f"--object-format={self._format}", str(self.folder),
            locked=self._lock,
        )  # fmt: skip
        if made.code:
            raise SourceError(f"git cannot make a clone in {self.folder}: {made.stderr.strip()[:200]}")
        (self.folder / "config").write_text(_CONFIG[self._format])
        self._source.write_text(self.git.remote.argument)

    def follow(self, name: str) -> str:
        """Fetch a ref of the repository (`HEAD`, `refs/heads/…`); the commit it stands for."""
        self._fetch(f"+{name}:{_FOLLOWED}")
        return self._fetched(_FOLLOWED)

    def bring(self, revision: str) -> str:
        """The commit that a full or short hash, a branch or a tag stands for; fetched unless it is here."""
        if _COMMIT.fullmatch(revision):
            return self._resolve(revision) or self._bring_commit(revision)
        for place in ("refs/heads/", "refs/tags/"):
            try:
                self._fetch(f"+{self.named(place, revision)}:{_ASKED}")
                return self._fetched(_ASKED)
            except NotInRepository:
                continue
        if _SHORT.fullmatch(revision) and (commit := self._from_everything(revision)):
            return commit
        raise NotInRepository(f"{self.git.remote.shown} has no branch, tag or commit {revision!r}")

    def _bring_commit(self, commit: str) -> str:
        try:
            self._fetch(f"+{commit}:{_ASKED}")
            found = self._resolve(commit)
        except NotInRepository:  # or a server that only gives what a ref points to
            found = self._from_everything(commit)
        if found is None:
            raise NotInRepository(f"{self.git.remote.shown} has no commit {commit}")
        return found

    def _from_everything(self, revision: str) -> str | None:
        self._fetch("+refs/heads/*:refs/pgvillage/heads/*", "+refs/tags/*:refs/pgvillage/tags/*")
        return self._resolve(revision)

    def named(self, place: str, name: str) -> str:
        """The ref of a branch or tag. Raises SourceError for what git does not allow as a name."""
        ref = place + name
        if name.startswith("-") or not ref.isprintable() or self.git.run("check-ref-format", ref).code:
            raise SourceError(f"{name!a} is not a name that a branch or tag can have")
        return ref

    def _fetch(self, *refspecs: str) -> None:
        try:
            self.git.reach(
                f"--git-dir={self.folder}", "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--prune",
                "--update-shallow", "--no-recurse-submodules", "--no-auto-maintenance", "--end-of-options",
                self.git.remote.argument, *refspecs, locked=self._lock,
            )  # fmt: skip
        except (NotInRepository, OtherObjectFormat):
            raise
        except SourceError as error:
            if self._run("fsck", "--connectivity-only", "--no-dangling", "--no-progress")[0]:
                raise Damaged(str(error)) from None
            raise

    def _fetched(self, ref: str) -> str:
        commit = self._resolve(ref)
        if commit is None:
            raise Damaged(f"{ref} is not a commit, or its commit is missing")
        return commit

    def _resolve(self, revision: str) -> str | None:
        code, out = self._run("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
        return out.strip() if code == 0 else None

    def knows(self, commit: str) -> bool:
        return self._resolve(commit) is not None

    def is_ancestor(self, old: str, new: str) -> bool:
        """Whether `new` has `old` in its history; both are known. Raises Damaged when history is missing."""
        code, _ = self._run("merge-base", "--is-ancestor", old, new)
        if code not in {0, 1}:
            raise Damaged("history is missing")
        return code == 0

    def untracked(self, work_tree: Path, folder: str) -> list[str]:
        """Files of `folder` in a work tree that .gitignore does not exclude, by this clone's empty index.

        The work tree's own repository is never opened: its settings could name programs to run.
        """
        exclude = work_tree / ".git" / "info" / "exclude"
        own = [f"--exclude-from={exclude}"] if exclude.is_file() and not exclude.is_symlink() else []
        listed = self.git.run(
            f"--git-dir={self.folder}", f"--work-tree={work_tree}", "-C", str(work_tree), "ls-files", "-z", "--others",
            "--exclude-standard", *own, "--", *([folder] if folder else []), locked=self._lock,
        )  # fmt: skip
        if listed.code:
            raise SourceError(f"{work_tree}: git cannot list the files: {listed.stderr.strip()[:200]}")
        below = f"{folder}/" if folder else ""
        paths = (os.fsdecode(path) for path in listed.stdout.split(b"\0"))
        # a path with a slash at its end is a repository in the repository, which is no part of this one
        return [path.removeprefix(below) for path in paths if path.startswith(below) and path[-1:] not in {"", "/"}]

    def output(self, *args: str) -> tuple[int, str]:
        """Exit code and output of a git command that stays in the clone, without its last line's end."""
        code, out = self._run(*args)
        return code, out.rstrip("\n")

    def tidy(self) -> None:
        """Put many small packs together, unreachable objects too: see `is_ancestor`."""
        if sum(1 for _ in self.folder.glob("objects/pack/*.pack")) > _MANY_PACKS:
            self._run("repack", "-a", "-d", "-k", "--quiet")

    def _run(self, *args: str) -> tuple[int, str]:
        answer = self.git.run(f"--git-dir={self.folder}", *args, locked=self._lock)
        return answer.code, answer.stdout.decode(errors="replace")
