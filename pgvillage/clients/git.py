"""The estate repository: the commit to follow, fetched and laid out as plain files."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import TypeVar

from pgvillage.clients.git_merge import merged, tip
from pgvillage.clients.git_mirror import Mirror
from pgvillage.clients.git_remote import Git, NotInRepository, OtherObjectFormat
from pgvillage.clients.git_signed import refusal
from pgvillage.clients.git_tree import (
    Damaged,
    Objects,
    Rules,
    committed_files,
    content_hash,
    folder_files,
    keep_newest,
    write_out,
)
from pgvillage.clients.git_url import parse_remote, plain
from pgvillage.core.errors import SourceError, UnsignedError
from pgvillage.settings import Repository, Signatures

Result = TypeVar("Result")
_KEPT_TREES = 5
_NO_COMMIT = "0" * 40
_HASH = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")


@dataclass(frozen=True, slots=True)
class Checkout:
    """An estate's files as they were read, and which commit they are.

    `revision` is the commit's hash; where `dirty`, followed by `+dirty.` and a hash of the files, which are then read
    from the work tree itself. `committed_at` is in UTC; without any commit it is 1970 and the texts are empty.
    `refused` says why a newer commit is not this one: signatures are required, and it has none that counts.
    """

    root: Path
    revision: str
    dirty: bool
    subject: str
    author: str
    committed_at: datetime
    refused: str = ""


class EstateSource:
    """One repository of the settings, with its clone and its newest trees in the folder `cache`.

    Every method raises SourceError, which says what to do and never holds a secret.
    """

    def __init__(self, repository: Repository, cache: Path) -> None:
        self._repository = repository
        self._cache = cache.absolute()
        self._rules = Rules(_estate_folder(repository.path), repository.max_file_size, repository.max_files)

    def checkout(self, *, revision: str | None = None) -> Checkout:
        """The estate at `revision` (a full or short hash, a branch, a tag), or at what the settings follow."""
        return self._locked(lambda mirror: self._checkout(mirror, revision))

    def merged(self, base: str, head: str | None = None) -> tuple[Checkout, Checkout]:
        """The estate as merging `head` (or what the settings follow) into `base` would leave it, and that of `base`.

        Of a branch it is the newest commit that counts. Where signatures are required, `refused` of the first says
        what would not be applied after the merge; that of the second, why its files can't be read.
        """
        return self._locked(lambda mirror: self._merged(mirror, base, head))

    def _merged(self, mirror: Mirror, base: str, head: str | None) -> tuple[Checkout, Checkout]:
        into = mirror.bring(base) if _HASH.fullmatch(base) else tip(mirror, base)
        asked = head or self._repository.commit
        what = mirror.bring(asked) if asked else self._follow(mirror)
        if what is None:
            raise SourceError(f"{mirror.git.remote.shown} has no commits yet: there is nothing to merge")
        result = self._laid_out(mirror, merged(mirror, into, what))
        signatures = self._repository.signatures
        why = refusal(mirror, signatures, into, what) if signatures and signatures.required else ""
        refused = f"after the merge this would be refused: {why} (repository.signatures)" if why else ""
        with Objects(mirror.folder, mirror.git.environment()) as objects:
            subject = self._described(objects, what, result.root).subject
        try:
            before = self._laid_out(mirror, into)
        except SourceError as error:
            before = replace(result, revision=into, refused=str(error))
        return replace(result, subject=subject, refused=refused), before

    def head(self) -> str:
        """The commit that the settings follow, asked of the repository without fetching; zeros if there is none yet."""
        if self._repository.commit:
            return self._repository.commit
        try:
            mirror = self._mirror()
            ref = self._followed(mirror)
            asked = [ref, f"{ref}^{{}}"] if self._repository.tag else [ref]
            listed = mirror.git.reach("ls-remote", "--quiet", "--end-of-options", mirror.git.remote.argument, *asked)
        except OSError as error:
            raise self._unusable(error) from None
        lines = (line.partition("\t") for line in listed.decode(errors="replace").splitlines())
        found = {name: commit for commit, _, name in lines if name in asked and _HASH.fullmatch(commit)}
        commit = found.get(asked[-1]) or found.get(ref)
        if commit is None and not (mirror.git.remote.in_place and ref == "HEAD"):
            raise self._absent(mirror, ref)
        return commit or _NO_COMMIT

    def descends(self, old: str, new: str) -> bool:
        """Whether `old` is `new` or in its history; False when `old` is not known. A dirty revision is its commit."""
        before, after = old.partition("+")[0], new.partition("+")[0]
        if before == after:
            return True
        if not (_HASH.fullmatch(before) and _HASH.fullmatch(after)) or after == _NO_COMMIT:
            return False
        return self._locked(lambda mirror: self._descends(mirror, before, after))

    def _descends(self, mirror: Mirror, old: str, new: str) -> bool:
        new = mirror.bring(new)
        return mirror.knows(old) and mirror.is_ancestor(old, new)

    def _mirror(self) -> Mirror:
        remote = parse_remote(self._repository.url)
        if remote.in_place and remote.folder:
            _check_local(remote.folder)
        self._cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        return Mirror(Git(self._repository, remote, self._cache), self._cache)

    def _locked(self, use: Callable[[Mirror], Result]) -> Result:
        try:
            mirror = self._mirror()
            with mirror.lock():
                mirror.prepare()
                try:
                    return use(mirror)
                except (Damaged, OtherObjectFormat) as error:
                    mirror.rebuild(other_format=isinstance(error, OtherObjectFormat))
                    return use(mirror)
        except Damaged as error:
            raise SourceError(f"{self._cache}: a new clone is damaged as well: {error}") from None
        except OSError as error:
            raise self._unusable(error) from None

    def _unusable(self, error: OSError) -> SourceError:
        return SourceError(f"{error.filename or self._cache}: {error.strerror or error}")

    def _followed(self, mirror: Mirror) -> str:
        if self._repository.branch is not None:
            return mirror.named("refs/heads/", self._repository.branch)
        if self._repository.tag is not None:
            return mirror.named("refs/tags/", self._repository.tag)
        return "HEAD"

    def _absent(self, mirror: Mirror, ref: str) -> SourceError:
        if ref == "HEAD":
            return NotInRepository(f"{mirror.git.remote.shown} has no commits yet, or no default branch: set branch")
        kind, name = ("branch", ref[11:]) if ref.startswith("refs/heads/") else ("tag", ref[10:])
        return NotInRepository(f"{mirror.git.remote.shown} has no {kind} {name!r}")

    def _checkout(self, mirror: Mirror, revision: str | None) -> Checkout:
        asked = revision or self._repository.commit
        commit = mirror.bring(asked) if asked else self._follow(mirror)
        signatures = self._repository.signatures
        if signatures is not None and signatures.required:
            return self._signed(mirror, signatures, commit, asked)
        folder = mirror.git.remote.folder
        named = asked or self._repository.branch or self._repository.tag
        in_place = folder if mirror.git.remote.in_place and not named and folder and _has_work_tree(folder) else None
        with Objects(mirror.folder, mirror.git.environment()) as objects:
            files, refused = self._committed(objects, commit)
            if in_place and (dirty := self._dirty(mirror, in_place, commit, files)):
                return self._described(objects, commit, in_place / self._rules.folder, dirty)
            if refused:
                raise refused
            if commit is None:
                raise SourceError(f"{mirror.git.remote.shown} has no commits and no files: add manifests")
            return self._kept(mirror, objects, commit, files)

    def _laid_out(self, mirror: Mirror, commit: str) -> Checkout:
        """A commit's files, whatever a work tree holds."""
        with Objects(mirror.folder, mirror.git.environment()) as objects:
            files = committed_files(objects, _tree(objects, commit), self._rules)
            return self._kept(mirror, objects, commit, files)

    def _kept(self, mirror: Mirror, objects: Objects, commit: str, files: dict[str, str]) -> Checkout:
        root = write_out(objects, files, self._cache / "trees" / commit, self._rules)
        keep_newest(self._cache / "trees", _KEPT_TREES)
        mirror.tidy()
        return self._described(objects, commit, root)

    def _signed(self, mirror: Mirror, signatures: Signatures, commit: str | None, asked: str | None) -> Checkout:
        """Only what is signed: the commit that was good last stays while a newer one is refused."""
        memory = self._cache / "signed"
        good = memory.read_text().strip() if memory.is_file() else ""
        if commit is None:
            raise SourceError(
                f"{mirror.git.remote.shown} has no commits, and repository.signatures asks for signed ones"
            )
        why = refusal(mirror, signatures, good, commit)
        if not why:
            if not asked and commit != good:
                fresh = memory.with_suffix(".new")
                fresh.write_text(commit)
                fresh.replace(memory)
            return self._laid_out(mirror, commit)
        words = f"{commit[:12]} is refused: {why} (repository.signatures)"
        if asked or not mirror.knows(good):
            raise UnsignedError(words)
        return replace(self._laid_out(mirror, good), refused=f"{words}; {good[:12]} stays")

    def _committed(self, objects: Objects, commit: str | None) -> tuple[dict[str, str], SourceError | None]:
        """The commit's files, or why it is refused; a work tree where that is put right counts all the same."""
        try:
            return committed_files(objects, _tree(objects, commit), self._rules) if commit else {}, None
        except SourceError as error:
            return {}, error

    def _follow(self, mirror: Mirror) -> str | None:
        ref = self._followed(mirror)
        try:
            return mirror.follow(ref)
        except NotInRepository:
            if ref == "HEAD" and mirror.git.remote.in_place:
                return None
            raise self._absent(mirror, ref) from None

    def _dirty(self, mirror: Mirror, work_tree: Path, commit: str | None, files: dict[str, str]) -> str:
        """The hash of the work tree's estate, or nothing when it is as committed."""
        paths = [*files, *mirror.untracked(work_tree, self._rules.folder)]
        root = work_tree
        for part in PurePosixPath(self._rules.folder).parts:
            root /= part
            if root.is_symlink():
                raise SourceError(f"repository.path: {root} is a symbolic link, not a folder")
        found = folder_files(root, paths, self._rules, len(commit or _NO_COMMIT))
        return content_hash(found) if found != files else ""

    def _described(self, objects: Objects, commit: str | None, root: Path, dirty: str = "") -> Checkout:
        revision = f"{commit or _NO_COMMIT}+dirty.{dirty}" if dirty else commit or _NO_COMMIT
        if commit is None:
            return Checkout(root, revision, bool(dirty), "", "", datetime.fromtimestamp(0, UTC))
        code, out = objects.output("log", "-1", "--no-show-signature", "--format=%an <%ae>%x00%ct%x00%B", commit)
        author, _, rest = out.decode(errors="replace").partition("\0")
        seconds, _, message = rest.partition("\0")
        try:
            when = datetime.fromtimestamp(int(seconds), UTC)
        except (ValueError, OverflowError, OSError):
            raise SourceError(f"the commit {commit} has no date that can be read (git ended with {code})") from None
        subject = plain(message.lstrip("\r\n").partition("\n")[0])
        return Checkout(root, revision, bool(dirty), subject, plain(author), when)


def _estate_folder(path: str) -> str:
    parts = PurePosixPath(path.strip("/")).parts
    if path.startswith("/") or not path.isprintable() or any(part in {"..", ".git"} for part in parts):
        raise SourceError(f"repository.path {path!a} must be a folder inside the repository")
    return "/".join(parts)


def _tree(objects: Objects, commit: str) -> str:
    code, out = objects.output("rev-parse", "--verify", "--quiet", f"{commit}^{{tree}}")
    if code:
        raise Damaged(f"the commit {commit} is missing")
    return out.decode().strip()


def _has_work_tree(folder: Path) -> bool:
    return (folder / ".git").exists()


def _check_local(folder: Path) -> None:
    """Raises SourceError unless `folder` is the top of a work tree, or a bare repository."""
    if not folder.is_dir():
        raise SourceError(f"repository.url: there is no folder {folder}")
    if _has_work_tree(folder) or ((folder / "HEAD").is_file() and (folder / "objects").is_dir()):
        return
    for above in folder.parents:
        if _has_work_tree(above):
            raise SourceError(
                f"{folder} is a folder of the repository {above}: set repository.url to {above} "
                f"and repository.path to {folder.relative_to(above)}"
            )
    raise SourceError(f"{folder} is not a git repository: run `git init` there and commit the estate")
