"""One daemon a state folder: a lock that the system lets go when its holder dies."""

from __future__ import annotations

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from pgvillage.core.errors import SettingsError

_NAME = "daemon.lock"


@contextmanager
def folder_lock(folder: Path, *, note: bool = True) -> Iterator[None]:
    """Held while inside, also against other processes, with a note of whose it is. Raises SettingsError saying so."""
    path = folder / _NAME
    try:
        folder.mkdir(parents=True, exist_ok=True)
        number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise SettingsError(
            f"state: can't write {path}: {error.strerror}; the daemon needs a folder of its own"
        ) from None
    with os.fdopen(number, "r+", encoding="utf-8", errors="replace") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SettingsError(
                f"another pgvillage serve uses the state folder {folder}{_holder(file.read(4096))}. Stop it, or give "
                "this one a folder of its own (`state`) and let both share the targets (`serve.replicas`)"
            ) from None
        except OSError as error:
            raise SettingsError(
                f"state: can't lock {path}: {error.strerror}; use a file system that has locks"
            ) from None
        if note:
            now = datetime.now(UTC).isoformat(timespec="seconds")
            file.truncate(0)
            json.dump({"pid": os.getpid(), "host": socket.gethostname(), "since": now}, file)
            file.flush()
        yield


def _holder(text: str) -> str:
    """What the holder wrote, where it had the time to."""
    try:
        found = json.loads(text)
        return f" (process {int(found['pid'])} on {found['host']!s}, since {found['since']!s})"
    except (ValueError, KeyError, TypeError):
        return ""
