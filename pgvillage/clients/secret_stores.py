"""Places that hold secrets and can take a new one: a file, a key in a Vault, a key in a SOPS file."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self

from pgvillage.core.errors import SecretError, SecretMissing
from pgvillage.core.secret import Secret
from pgvillage.settings import PlainSource, SecretSource

if TYPE_CHECKING:
    from pgvillage.clients.sops import SopsFile
    from pgvillage.clients.vault import VaultClient

ReadSecret = Callable[[PlainSource, str], Secret]


class SecretPlace(Protocol):
    def read(self) -> bytes:
        """Raises SecretMissing when the place is empty, SecretError when it can't be looked at."""
        ...

    def create(self, value: str) -> bool:
        """Put the value there, whole and for good, if there is none; False when somebody else was faster."""
        ...


@dataclass(frozen=True, slots=True)
class FilePlace:
    path: Path
    what: str
    most: int

    def read(self) -> bytes:
        try:
            with self.path.open("rb") as file:
                return file.read(self.most + 1)
        except FileNotFoundError as error:
            raise SecretMissing(f"{self.what}: cannot read {self.path}: {error.strerror}") from None
        except OSError as error:
            raise SecretError(f"{self.what}: cannot read {self.path}: {error.strerror}") from None

    def create(self, value: str) -> bool:
        """A link to a file that is complete: nobody ever sees a part, and an existing file is never replaced."""
        try:
            temporary = written_beside(self.path, value.encode() + b"\n")
            try:
                os.link(temporary, self.path)
            finally:
                temporary.unlink()
            sync_folder(self.path.parent)
        except FileExistsError:
            return False
        except OSError as error:
            raise SecretError(f"{self.what}: cannot write {self.path}: {error.strerror}") from None
        return True


def written_beside(path: Path, data: bytes) -> Path:
    """A new file of mode 0600 in the same folder, on the disk before anything refers to it."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return Path(name)


def sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@dataclass(frozen=True, slots=True)
class VaultPlace:
    client: VaultClient
    path: str
    key: str
    what: str

    def read(self) -> bytes:
        record = self.client.read(self.path, self.what)
        value = record.data.get(self.key)
        if value is None:
            raise SecretMissing(f"{self.what}: {self.client.called} has no {self.key!r} at {self.path}")
        if not isinstance(value, str):
            raise SecretError(f"{self.what}: {self.key!r} at {self.path} of {self.client.called} is not text")
        return value.encode()

    def create(self, value: str) -> bool:
        record = self.client.read(self.path, self.what, fresh=True)
        if self.key in record.data:
            return False
        return self.client.write(self.path, {**record.data, self.key: value}, record.version, self.what)


@dataclass(frozen=True, slots=True)
class SopsPlace:
    file: SopsFile
    key: str

    def read(self) -> bytes:
        return self.file.read(self.key)

    def create(self, value: str) -> bool:
        return self.file.create(self.key, value)


class OpenStores:
    """A context in which each vault is logged in to once, and each record and file is read once."""

    def __init__(self, read_secret: ReadSecret) -> None:
        self._read_secret = read_secret
        self._stack = ExitStack()
        self._lock = threading.Lock()
        self._vaults: dict[str, VaultClient] = {}
        self._files: dict[Path, SopsFile] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def in_vault(self, source: SecretSource, place: str, what: str) -> VaultPlace:
        from pgvillage.clients.vault import VaultClient

        vaults = source.stores.vaults
        name = source.store or next(iter(vaults))
        with self._lock:
            if name not in self._vaults:
                client = VaultClient(name, vaults[name], self._read_secret)
                self._vaults[name] = self._stack.enter_context(client)
        path, _, key = place.partition("#")
        return VaultPlace(self._vaults[name], path, key, what)

    def in_sops(self, source: SecretSource, place: str) -> SopsPlace:
        from pgvillage.clients.sops import SopsFile

        settings = source.stores.sops
        assert settings is not None
        text, _, key = place.partition("#")
        path = Path(text)
        with self._lock:
            if path not in self._files:
                identity = settings.identity
                self._files[path] = SopsFile(path, lambda: self._read_secret(identity, "the age identity of `sops`"))
        return SopsPlace(self._files[path], key)
