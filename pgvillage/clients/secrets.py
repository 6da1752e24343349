"""Secrets from environment, file or command; resolved when needed, never stored, never shown."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

from pgvillage.core.errors import SecretError
from pgvillage.core.secret import Secret
from pgvillage.settings import SecretSource

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,126}\Z")
_MAX_BYTES = 64 * 1024
_COMMAND_SECONDS = 30


def read_secret(source: SecretSource, what: str, name: str = "") -> Secret:
    """The value behind `source`; `what` says in errors whose secret it is.

    Raises SecretError, which never holds the value nor what a command printed.
    """
    if source.env is not None:
        variable = _fill(source.env, name)
        value = os.environ.get(variable)
        if value is None:
            raise SecretError(f"{what}: the environment variable {variable} is not set")
    elif source.file is not None:
        value = _from_file(_fill(source.file, name), what)
    else:
        value = _from_command([_fill(arg, name) for arg in source.command or ()], what)
    if not value:
        raise SecretError(f"{what}: the secret is empty")
    if "\0" in value:
        raise SecretError(f"{what}: the secret holds a zero byte")
    return Secret(value)


def named_secret(secrets: Mapping[str, SecretSource], name: str) -> Secret:
    """The secret that manifests call `name`, by its own entry of the settings or by the one for `*`.

    Raises SecretError when the settings know no such secret or it can't be read.
    """
    if not _NAME.match(name):
        raise SecretError(f"{name!r} is not a secret's name: expected letters, digits, '.', '_' and '-'")
    source = secrets.get(name) or secrets.get("*")
    if source is None:
        raise SecretError(f"the settings know no secret {name!r}: add it under `secrets:`")
    return read_secret(source, f"secret {name!r}", name)


def _fill(template: str, name: str) -> str:
    return template.replace("{name}", name) if name else template


def _from_file(path: str, what: str) -> str:
    try:
        with Path(path).open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise SecretError(f"{what}: cannot read {path}: {error.strerror}") from None
    return _text(data, what)


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
