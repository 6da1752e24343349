"""The file that keeps what is remembered: written whole or not at all, held by one process, forgotten on request."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

from pgvillage.core.errors import SettingsError
from pgvillage.routing.memory import Memory, read, written

_LARGEST = 64 << 20


@dataclass(frozen=True)
class MemoryFile:
    """`path` and beside it a lock, and a folder where the command line leaves the names of groups to forget."""

    path: Path

    @property
    def _wishes(self) -> Path:
        return self.path.with_name(self.path.name + ".forget")

    @contextmanager
    def held(self) -> Iterator[None]:
        """By this process alone, until it ends however it ends. Raises SettingsError."""
        place = self.path.with_name(self.path.name + ".lock")
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            number = os.open(place, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise SettingsError(f"routing.memory: can't write {place}: {error.strerror}") from None
        with os.fdopen(number, "r+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise SettingsError(
                    f"routing.memory: another pgvillage routing keeps {self.path}; give this one a file of its own"
                ) from None
            yield

    def read(self) -> dict[str, Memory]:
        """{} where nothing was written yet. Raises SettingsError: what can't be read was a split brain, maybe."""
        try:
            with self.path.open("rb") as file:
                return read(file.read(_LARGEST).decode())
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise SettingsError(f"routing.memory: can't read {self.path}: {error.strerror}") from None
        except ValueError as error:
            raise SettingsError(
                f"routing.memory: {self.path} is damaged ({error}): look which node is the primary, then move the "
                "file away; with it goes all that is remembered of split brains"
            ) from None

    def write(self, memories: Mapping[str, Memory]) -> None:
        """Whole and on disk before anybody sees it. Raises OSError."""
        fresh = self.path.with_name(self.path.name + ".new")
        number = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(number, "w", encoding="utf-8") as file:
            file.write(written(memories))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self.path)
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def wish_to_forget(self, group: str) -> Path:
        """Who may write here may ask for it. Raises OSError."""
        self._wishes.mkdir(mode=0o700, parents=True, exist_ok=True)
        place = self._wishes / quote(group, safe="")
        place.touch()
        return place

    def wishes(self) -> tuple[str, ...]:
        with contextlib.suppress(OSError):
            return tuple(sorted(unquote(place.name) for place in self._wishes.iterdir()))
        return ()

    def granted(self, group: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            (self._wishes / quote(group, safe="")).unlink()
