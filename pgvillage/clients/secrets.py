"""Secrets from environment, file, command or a store; resolved when needed, never shown, kept nowhere else."""

from __future__ import annotations

import os
import re
import secrets as randomness
import string
import subprocess
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pgvillage.clients.secret_stores import FilePlace, OpenStores, SecretPlace
from pgvillage.core.errors import PgVillageError, SecretError, SecretMissing
from pgvillage.core.rotation import active_password
from pgvillage.core.secret import Absent, Secret, SecretsFound
from pgvillage.settings import PlainSource, SecretSource

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,126}\Z")
_MAX_BYTES = 64 * 1024
_COMMAND_SECONDS = 30
PARALLEL = 8
_ALPHABET = string.ascii_letters + string.digits + "-_"


def read_secret(source: PlainSource, what: str, name: str = "", stores: OpenStores | None = None) -> Secret:
    """The value behind `source`; `what` says in errors whose secret it is.

    Raises SecretError, which never holds the value nor what a command printed; SecretMissing when there is none yet.
    """
    if source.env is not None:
        variable = _fill(source.env, name)
        value = os.environ.get(variable)
        if value is None:
            raise SecretError(f"{what}: the environment variable {variable} is not set")
    elif source.command is not None:
        value = _from_command([_fill(arg, name) for arg in source.command], what)
    elif stores is not None:
        value = _text(place_of(source, what, name, stores).read(), what)
    else:
        with OpenStores(read_secret) as own:
            value = _text(place_of(source, what, name, own).read(), what)
    if not value:
        raise SecretError(f"{what}: the secret is empty")
    if "\0" in value:
        raise SecretError(f"{what}: the secret holds a zero byte")
    return Secret(value)


def named_secret(secrets: Mapping[str, SecretSource], name: str, stores: OpenStores | None = None) -> Secret:
    """The secret that manifests call `name`, by its own entry of the settings or by the one for `*`.

    Of the logins of a rotation it is the password in use. Raises SecretError when the settings know no such secret or
    it can't be read.
    """
    found = read_secret(source_of(secrets, name), called(name), name, stores)
    return active_password(found, called(name))


def look_up(secrets: Mapping[str, SecretSource], names: Iterable[str]) -> SecretsFound:
    """Every one that can be had here, and why the others can't; nothing is made or written."""
    values: dict[str, Secret] = {}
    absent: dict[str, Absent] = {}

    def one(name: str) -> Secret | Absent:
        try:
            return named_secret(secrets, name, stores)
        except SecretMissing as error:
            return Absent(reason_of(error, name), generates=source_of(secrets, name).generate is not None)
        except PgVillageError as error:
            return Absent(reason_of(error, name))

    listed = list(names)
    with OpenStores(read_secret) as stores, ThreadPoolExecutor(PARALLEL) as pool:
        for name, found in zip(listed, pool.map(one, listed), strict=True):
            if isinstance(found, Secret):
                values[name] = found
            else:
                absent[name] = found
    return SecretsFound(values, absent)


def obtain(secrets: Mapping[str, SecretSource], name: str) -> Secret:
    """The secret as an apply needs it: where its place is empty and it may be generated, it is made and stored first.

    Of two that do so at once one is the first; the other takes what is there then.
    """
    try:
        return named_secret(secrets, name)
    except SecretMissing:
        source = source_of(secrets, name)
        if source.generate is None:
            raise
        with OpenStores(read_secret) as stores:
            place = place_of(source, called(name), name, stores)
            place.create(new_password(source.generate.length))
    return named_secret(secrets, name)


def new_password(length: int) -> str:
    return "".join(randomness.choice(_ALPHABET) for _ in range(length))


def source_of(secrets: Mapping[str, SecretSource], name: str) -> SecretSource:
    if not _NAME.match(name):
        raise SecretError(f"{name!r} is not a secret's name: expected letters, digits, '.', '_' and '-'")
    source = secrets.get(name) or secrets.get("*")
    if source is None:
        raise SecretError(f"the settings know no secret {name!r}: add it under `secrets:`")
    return source


def called(name: str) -> str:
    return f"secret {name!r}"


def reason_of(error: PgVillageError, name: str) -> str:
    return str(error).removeprefix(f"{called(name)}: ")


def _fill(template: str, name: str) -> str:
    return template.replace("{name}", name) if name else template


def place_of(source: PlainSource, what: str, name: str, stores: OpenStores) -> SecretPlace:
    if isinstance(source, SecretSource) and source.vault is not None:
        return stores.in_vault(source, _fill(source.vault, name), what)
    if isinstance(source, SecretSource) and source.sops is not None:
        return stores.in_sops(source, _fill(source.sops, name))
    assert source.file is not None
    return FilePlace(Path(_fill(source.file, name)), what, _MAX_BYTES)


def _from_command(argv: list[str], what: str) -> str:
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            timeout=_COMMAND_SECONDS, check=False,
        )  # fmt: skip
    except OSError as error:
        raise SecretError(f"{what}: cannot run {argv[0]}: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise SecretError(f"{what}: {argv[0]} gave no answer within {_COMMAND_SECONDS} s") from None
    if done.returncode:
        raise SecretError(f"{what}: {argv[0]} ended with exit code {done.returncode}")
    return _text(done.stdout, what)


def _text(data: bytes, what: str) -> str:
    if len(data) > _MAX_BYTES:
        raise SecretError(f"{what}: the secret is larger than {_MAX_BYTES} bytes")
    try:
        return data.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise SecretError(f"{what}: the secret is not UTF-8 text") from None
