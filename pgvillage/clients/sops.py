"""SOPS files (YAML or JSON, encrypted with age): reading a value, adding one, the MAC checked either way."""

from __future__ import annotations

import fcntl
import os
import re
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from pgvillage.clients.secret_stores import sync_folder, written_beside
from pgvillage.clients.sops_tree import Broken, Tree, read_tree, with_other_value, with_value
from pgvillage.core.errors import SecretError, SecretMissing
from pgvillage.core.secret import Secret

_MAX_BYTES = 8 << 20
_IDENTITY = re.compile(r"AGE-SECRET-KEY-1[0-9A-Z]+")


class SopsFile:
    """One file, decrypted when first needed. Raises SecretError, which never holds what is in the file."""

    def __init__(self, path: Path, identity: Callable[[], Secret]) -> None:
        self._path = path
        self._identity = identity
        self._tree: Tree | None = None
        self._lock = threading.Lock()

    def read(self, key: str, *, fresh: bool = False) -> bytes:
        with self._lock:
            if self._tree is None or fresh:
                self._tree = self._open(self._bytes())
            tree = self._tree
        value = tree.leaf(key.split("/"))
        if value is None:
            raise SecretMissing(f"{self._path} has no key {key!r}")
        if not isinstance(value, bytes):
            raise SecretError(f"{self._path}: {key!r} is no single value")
        return value

    def create(self, key: str, value: str) -> bool:
        return self.swap(key, None, value)

    def swap(self, key: str, old: bytes | None, value: str) -> bool:
        """Put the value in the place of `old` (None: of nothing), or do nothing when something else is there.

        Under a lock of the folder, so that of two writers neither loses what the other writes.
        """
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            data = self._bytes()
            tree = self._open(data)
            if tree.leaf(key.split("/")) != old:
                return False
            self._replace(self._changed(tree, data, key, value))
        except OSError as error:
            raise SecretError(f"cannot write {self._path}: {error.strerror}") from None
        finally:
            os.close(folder)
        self._tree = None
        return True

    def _changed(self, tree: Tree, data: bytes, key: str, value: str) -> bytes:
        path = key.split("/")
        is_new = tree.leaf(path) is None
        write = with_value if is_new else with_other_value
        try:
            new = write(tree, data.decode(), path, value, datetime.now(UTC))
        except Broken as error:
            raise SecretError(f"{self._path}: {error}; set the key with `sops set` yourself") from None
        written = self._open(new.encode())
        if written.leaf(path) != value.encode() or len(written.values) != len(tree.values) + is_new:
            raise SecretError(f"{self._path}: its layout is unfamiliar; set the key with `sops set` yourself")
        return new.encode()

    def _replace(self, data: bytes) -> None:
        mode = self._path.stat().st_mode & 0o777
        temporary = written_beside(self._path, data)
        try:
            temporary.chmod(mode)
            temporary.replace(self._path)
        except OSError:
            with suppress(FileNotFoundError):
                temporary.unlink()
            raise
        sync_folder(self._path.parent)

    def _bytes(self) -> bytes:
        try:
            with self._path.open("rb") as file:
                data = file.read(_MAX_BYTES + 1)
        except OSError as error:
            raise SecretError(f"cannot read {self._path}: {error.strerror}") from None
        if len(data) > _MAX_BYTES:
            raise SecretError(f"{self._path} is larger than {_MAX_BYTES} bytes")
        return data

    def _open(self, data: bytes) -> Tree:
        try:
            tree = read_tree(data.decode(), json_file=self._path.suffix == ".json", data_key=self._data_key)
        except UnicodeDecodeError:
            raise SecretError(f"{self._path} is not UTF-8 text") from None
        except Broken as error:
            raise SecretError(f"{self._path}: {error}") from None
        return tree

    def _data_key(self, encrypted: list[str]) -> bytes:
        """The file's data key, by the first of our identities that opens one of its copies."""
        import pyrage

        found = _IDENTITY.findall(self._identity().reveal())
        try:
            identities = [pyrage.x25519.Identity.from_str(text) for text in found]
        except pyrage.IdentityError:
            identities = []
        if not identities:
            raise SecretError("the age identity of `sops` is none: expected AGE-SECRET-KEY-1…")
        for text in encrypted:
            try:
                key = pyrage.decrypt(text.encode(), identities)
            except pyrage.DecryptError:
                continue
            if len(key) == 32:
                return bytes(key)
        raise Broken("the age identity of `sops` is none of those it is encrypted for")
