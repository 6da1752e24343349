"""Places that hold the two logins of a rotation: a JSON file, the keys of a Vault's record, a SOPS entry of JSON."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from pgvillage.clients.secret_stores import FilePlace, SopsPlace, VaultPlace, sync_folder, written_beside
from pgvillage.core.errors import SecretError, SecretMissing
from pgvillage.core.rotation import KEYS

Values = Mapping[str, str]


class Found(NamedTuple):
    """What is there (None: nothing), and the version that a swap names."""

    values: Mapping[str, Any] | None
    version: Any


class LoginStore(Protocol):
    def read(self) -> Found:
        """Raises SecretError when the place can't be looked at, or holds something else."""
        ...

    def swap(self, version: Any, values: Values) -> bool:
        """These values, whole and for good, if nothing changed since `version`; else False and nothing done."""
        ...


@dataclass(frozen=True, slots=True)
class LoginFile:
    place: FilePlace

    def read(self) -> Found:
        try:
            data = self.place.read()
        except SecretMissing:
            return Found(None, None)
        return Found(_parsed(data, self.place.what), data)

    def swap(self, version: Any, values: Values) -> bool:
        path, text = self.place.path, _text(values)
        if version is None:
            return self.place.create(text)
        try:
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                fcntl.flock(folder, fcntl.LOCK_EX)
                if self.place.read() != version:
                    return False
                _replace(path, text.encode() + b"\n")
            finally:
                os.close(folder)
        except SecretMissing:
            return False
        except OSError as error:
            raise SecretError(f"{self.place.what}: cannot write {path}: {error.strerror}") from None
        return True


def _replace(path: Path, data: bytes) -> None:
    """In one move; who could read the file still can, as far as we may give it to the same group."""
    old = path.stat()
    temporary = written_beside(path, data)
    try:
        with suppress(PermissionError):
            os.chown(temporary, -1, old.st_gid)
            temporary.chmod(old.st_mode & 0o777)
        temporary.replace(path)
    except OSError:
        with suppress(FileNotFoundError):
            temporary.unlink()
        raise
    sync_folder(path.parent)


@dataclass(frozen=True, slots=True)
class LoginRecord:
    """Keys of one record, beside keys of others that stay."""

    place: VaultPlace

    def read(self) -> Found:
        place = self.place
        if place.key != "password":
            raise SecretError(
                f"{place.what}: logins are the keys username, password, … of a record of their own: "
                f"end its place with #password, found #{place.key}"
            )
        record = place.client.read(place.path, place.what, fresh=True)
        values = {key: record.data[key] for key in KEYS if key in record.data}
        return Found(values or None, record)

    def swap(self, version: Any, values: Values) -> bool:
        rest = {key: value for key, value in version.data.items() if key not in KEYS}
        return self.place.client.write(self.place.path, {**rest, **values}, version.version, self.place.what)


@dataclass(frozen=True, slots=True)
class LoginEntry:
    place: SopsPlace
    what: str

    def read(self) -> Found:
        try:
            data = self.place.file.read(self.place.key, fresh=True)
        except SecretMissing:
            return Found(None, None)
        return Found(_parsed(data, self.what), data)

    def swap(self, version: Any, values: Values) -> bool:
        return self.place.file.swap(self.place.key, version, _text(values))


def _text(values: Values) -> str:
    return json.dumps(values, ensure_ascii=False)


def _parsed(data: bytes, what: str) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise SecretError(f"{what}: its place holds something else than logins: name a new secret for them")
    return found
