"""Which files of an estate are manifests, and their bytes; symbolic links are never followed."""

from __future__ import annotations

import fnmatch
import os
import stat
from pathlib import Path

from pgvillage.core.errors import Diagnostic, Position
from pgvillage.estate.source_text import harmless

IGNORE_FILE = ".pgvillageignore"
SUFFIXES = (".yaml", ".yml")


class Unreadable(Exception):
    """A file that can't be read, in words."""


def find_manifests(root: Path) -> tuple[list[str], list[Diagnostic]]:
    """Paths relative to the root, sorted, and a warning for every link that is not followed.

    Left out: folders and files that begin with a dot, and what .pgvillageignore names. Raises Unreadable.
    """
    patterns = _ignored_patterns(root)
    found: list[str] = []
    warnings: list[Diagnostic] = []
    for folder, folders, files in os.walk(root, onerror=_refuse):
        inside = Path(folder).relative_to(root)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted((*files, *folders)):
            path = (inside / name).as_posix()
            if name.startswith(".") or _ignored(path, patterns):
                continue
            if (root / path).is_symlink():
                if name.endswith(SUFFIXES) or name in folders:
                    warnings.append(_link(path))
            elif name in files and name.endswith(SUFFIXES):
                found.append(path)
    return sorted(found), warnings


def _refuse(error: OSError) -> None:
    """A folder that can't be read is not an empty folder."""
    raise Unreadable(f"the folder {shown(str(error.filename))} can't be read: {error.strerror}") from error


def _link(path: str) -> Diagnostic:
    message = "a symbolic link is not followed"
    return Diagnostic(message, Position(shown(path), 1), hint="put the file itself here", severity="warning")


def shown(path: str) -> str:
    """A file's name as it can be printed, whatever bytes it has."""
    return harmless(path.encode(errors="surrogateescape").decode(errors="backslashreplace"))


def read_manifest(path: Path, limit: int) -> bytes:
    """The bytes of a regular file of at most `limit` bytes.

    Raises Unreadable.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)  # a FIFO must not block
        with os.fdopen(handle, "rb") as stream:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode):
                raise Unreadable("not a regular file")
            data = stream.read(limit + 1)
    except (OSError, ValueError) as error:
        raise Unreadable(f"can't be read: {getattr(error, 'strerror', None) or error}") from error
    if len(data) > limit:
        raise Unreadable(f"{max(status.st_size, len(data))} bytes are more than the {limit} allowed")
    return data


def _ignored_patterns(root: Path) -> list[str]:
    path = root / IGNORE_FILE
    if not os.path.lexists(path):
        return []
    try:
        data = read_manifest(path, 1 << 16)
    except Unreadable as error:
        raise Unreadable(f"{IGNORE_FILE}: {error}") from error
    lines = data.decode(errors="replace").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.strip().startswith("#")]


def _ignored(path: str, patterns: list[str]) -> bool:
    """As in a plain .gitignore: a pattern without `/` is about any part of the path, else about its start."""
    parts = path.split("/")
    for pattern in patterns:
        anchored = "/" in pattern.rstrip("/")
        wanted = pattern.strip("/")
        heads = ["/".join(parts[: count + 1]) for count in range(len(parts))] if anchored else parts
        if pattern.endswith("/"):
            heads = heads[:-1]  # folders only
        if any(fnmatch.fnmatchcase(head, wanted) for head in heads):
            return True
    return False
