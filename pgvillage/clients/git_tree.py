"""An estate's files: as a commit holds them, as a folder holds them, and the one written out to the other.

Nothing is ever checked out: blobs are copied byte by byte, so filters, LFS and line endings have no say.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from subprocess import PIPE
from types import TracebackType
from typing import Any, Self

from pgvillage.core.errors import SourceError

_LOG = logging.getLogger(__name__)
_MAX_PATH = 1024
_MAX_TREE = 32 << 20
_LINK, _SUBMODULE = 0o120000, 0o160000


class Damaged(Exception):
    """The clone does not hold what it should; making it again helps."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What belongs to an estate: regular files under `folder`, within the limits of the settings."""

    folder: str
    max_file_size: int
    max_files: int

    def leave_out(self, path: str, why: str) -> None:
        """Say that `path` is no part of the estate; raises SourceError when it is a manifest, which may not be lost."""
        if path.lower().endswith((".yaml", ".yml")):
            raise SourceError(f"{_quoted(self.folder, path)} {why}")
        _LOG.info("%s %s: left out", _quoted(self.folder, path), why)

    def fits(self, path: str, size: int) -> bool:
        if size > self.max_file_size:
            self.leave_out(path, f"has {size} bytes, more than repository.maxFileSize ({self.max_file_size})")
        return size <= self.max_file_size

    def count(self, number: int, what: str) -> None:
        if number > self.max_files:
            where = self.folder or "the repository"
            raise SourceError(f"{where} holds more than {self.max_files} {what} (repository.maxFiles)")

    def check_name(self, above: str, name: str) -> str:
        """The path of `name` in `above`. Refuses what a file system, a terminal or a log could take for another."""
        path = above + name
        odd = not name.isprintable() or "/" in name or "\\" in name or name.lower() in {"", ".", "..", ".git"}
        if odd or len(os.fsencode(path)) > _MAX_PATH or len(os.fsencode(name)) > 255:
            quoted = _quoted(self.folder, path)[:200]
            raise SourceError(f"{quoted} is not a name that an estate's file may have: rename it")
        return path


class Objects:
    """Reads the objects of a clone by GitPython, with git's environment cleaned."""

    def __init__(self, clone: Path, environment: Mapping[str, str]) -> None:
        from git.cmd import Git

        # GitPython adds to the environment it finds; env -i starts from none.
        self._git = ["env", "-i", *(f"{key}={value}" for key, value in environment.items()), "git"]
        self._git.append(f"--git-dir={clone}")
        self._run = Git(clone)
        self._started: dict[str, Any] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for reader in self._started.values():
            for stream in (reader.proc.stdin, reader.proc.stdout, reader.proc.stderr):
                stream.close()
            reader.proc.kill()
            reader.proc.wait()

    def output(self, *args: str) -> tuple[int, bytes]:
        """Exit code and output of a reading git command."""
        code, out, _ = self._run.execute(
            [*self._git, *args], with_extended_output=True, with_exceptions=False, stdout_as_string=False,
            strip_newline_in_stdout=False,
        )  # fmt: skip
        return code, out if isinstance(out, bytes) else out.encode()

    def size(self, oid: str) -> int:
        """Bytes of a blob, without reading it. Raises Damaged."""
        return self._ask("--batch-check", oid, "blob")[1]

    def read(self, oid: str, kind: str, limit: int) -> bytes:
        """The content of an object, checked against its name. Raises Damaged; SourceError beyond `limit` bytes."""
        reader, size = self._ask("--batch", oid, kind)
        if size > limit:
            raise SourceError(f"the {kind} {oid} has {size} bytes: too large")
        data = reader.proc.stdout.read(size + 1)[:size]
        if object_id(kind, data, len(oid)) != oid:
            raise Damaged(f"{kind} {oid} is damaged")
        return bytes(data)

    def _ask(self, mode: str, oid: str, kind: str) -> tuple[Any, int]:
        reader: Any = self._started.get(mode)
        if reader is None:
            reader = self._run.execute([*self._git, "cat-file", mode], istream=PIPE, as_process=True)
            self._started[mode] = reader
        try:
            reader.proc.stdin.write(f"{oid}\n".encode())
            reader.proc.stdin.flush()
            words = reader.proc.stdout.readline().split()
        except BrokenPipeError:
            words = []
        if len(words) != 3 or words[1] != kind.encode():
            raise Damaged(f"{kind} {oid} is missing")
        return reader, int(words[2])


def object_id(kind: str, data: bytes, length: int = 40) -> str:
    """Git's name for an object; SHA-256 when names have 64 digits."""
    framed = f"{kind} {len(data)}\0".encode() + data
    return (
        hashlib.sha256(framed).hexdigest() if length == 64 else hashlib.sha1(framed, usedforsecurity=False).hexdigest()
    )


def committed_files(objects: Objects, tree: str, rules: Rules) -> dict[str, str]:
    """Path (below the estate's folder) to blob of every file of the estate. Raises SourceError, Damaged."""
    files: dict[str, str] = {}
    folders = [("", _estate_tree(objects, tree, rules))]
    seen = 0  # a few trees that name each other many times over unfold to billions of folders
    while folders:
        prefix, oid = folders.pop()
        for mode, name, target in _entries(objects, oid):
            path = rules.check_name(prefix, name)
            seen += 1
            rules.count(seen // 2, "files and folders")
            if stat.S_ISDIR(mode):
                folders.append((f"{path}/", target))
            elif mode == _LINK:
                link = objects.read(target, "blob", 1 << 16).decode(errors="replace")
                rules.leave_out(path, f"is a symbolic link (to {link[:200]!a})")
            elif mode != _SUBMODULE and rules.fits(path, objects.size(target)):
                if files.setdefault(path, target) != target:
                    raise SourceError(f"{_quoted(rules.folder, path)} is in the commit twice")
                rules.count(len(files), "files")
    return files


def _estate_tree(objects: Objects, tree: str, rules: Rules) -> str:
    for part in PurePosixPath(rules.folder).parts:
        folders = {name: oid for mode, name, oid in _entries(objects, tree) if stat.S_ISDIR(mode)}
        if part not in folders:
            near = ", ".join(ascii(name) for name in sorted(folders)[:5]) or "none"
            raise SourceError(f"repository.path: the commit has no folder {rules.folder!r} (folders there: {near})")
        tree = folders[part]
    return tree


def _entries(objects: Objects, tree: str) -> Iterator[tuple[int, str, str]]:
    data, width = objects.read(tree, "tree", _MAX_TREE), len(tree) // 2
    at = 0
    try:
        while at < len(data):
            space, zero = data.index(b" ", at), data.index(b"\0", at)
            # bytes that are no UTF-8 become surrogates, which check_name refuses as unprintable
            mode, name = int(data[at:space], 8), os.fsdecode(data[space + 1 : zero])
            at = zero + 1 + width
            yield stat.S_IFMT(mode), name, data[zero + 1 : at].hex()
    except ValueError:
        raise SourceError(f"the tree {tree} of the commit is malformed") from None


def folder_files(root: Path, paths: Iterable[str], rules: Rules, length: int = 40) -> dict[str, str]:
    """The same for those of `paths` that are in the folder `root`: path to the name git would give the content."""
    files: dict[str, str] = {}
    real: dict[Path, bool] = {root: True}
    for path in sorted(set(paths)):
        file = root / path
        if not _really_below(root, file.parent, real):
            continue
        try:
            status = file.lstat()
        except FileNotFoundError:
            continue
        above, slash, name = path.rpartition("/")
        rules.check_name(above + slash, name)
        if stat.S_ISLNK(status.st_mode):
            rules.leave_out(path, f"is a symbolic link (to {str(file.readlink())[:200]!a})")
        elif not stat.S_ISREG(status.st_mode):
            rules.leave_out(path, "is not a regular file")
        elif rules.fits(path, status.st_size):
            rules.count(len(files) + 1, "files")
            files[path] = object_id("blob", _read(file, rules.max_file_size), length)
    return files


def _really_below(root: Path, folder: Path, real: dict[Path, bool]) -> bool:
    """Whether `folder` is reached from `root` through folders only, not through links."""
    if folder not in real:
        above = folder != root and _really_below(root, folder.parent, real)
        real[folder] = above and folder.is_dir() and not folder.is_symlink()
    return real[folder]


def _read(file: Path, limit: int) -> bytes:
    with os.fdopen(os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as stream:
        return stream.read(limit + 1)


def content_hash(files: Mapping[str, str]) -> str:
    """12 digits that stand for the names and contents of `files`."""
    lines = "".join(f"{path}\0{oid}\n" for path, oid in sorted(files.items()))
    return hashlib.sha256(lines.encode(errors="surrogateescape")).hexdigest()[:12]


def write_out(objects: Objects, files: Mapping[str, str], target: Path, rules: Rules) -> Path:
    """The estate's folder in `target`, exactly `files`: one from before is kept if it holds just that."""
    root = target / rules.folder
    if not _holds(root, files, rules):
        target.parent.mkdir(mode=0o700, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=".new-", dir=target.parent))
        (fresh / rules.folder).mkdir(parents=True, exist_ok=True)
        for path, oid in files.items():
            file = fresh / rules.folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("xb") as stream:
                stream.write(objects.read(oid, "blob", rules.max_file_size))
        remove(target)
        fresh.rename(target)
    os.utime(target)
    return root


def _holds(root: Path, files: Mapping[str, str], rules: Rules) -> bool:
    if not root.is_dir():
        return False
    found = [str(path.relative_to(root)) for path in root.rglob("*") if path.is_symlink() or not path.is_dir()]
    length = len(next(iter(files.values()), ""))
    try:
        return len(found) == len(files) and folder_files(root, found, rules, length) == files
    except (SourceError, OSError):
        return False


def remove(path: Path) -> None:
    """Remove a file, a link or a folder, whatever is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def keep_newest(trees: Path, number: int) -> None:
    """Remove what a killed run left behind, and all but the `number` trees used last."""
    for half in trees.glob(".new-*"):
        remove(half)
    by_use = sorted(trees.iterdir(), key=lambda tree: tree.lstat().st_mtime_ns, reverse=True)
    for tree in by_use[number:]:
        remove(tree)


def _quoted(folder: str, path: str) -> str:
    return ascii(f"{folder}/{path}" if folder else path)
