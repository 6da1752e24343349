"""pgvillage password-hash."""

from __future__ import annotations

import sys

import typer

_LEAST = 10


def command() -> int:
    """Read a password from standard input and print its hash, for `dashboard.users` of the settings."""
    import getpass

    from pgvillage.core.errors import UsageError
    from pgvillage.core.password_hash import hash_password

    if sys.stdin.isatty():
        password = getpass.getpass("Password: ")
        if getpass.getpass("Again: ") != password:
            raise UsageError("the two passwords differ")
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    if len(password) < _LEAST:
        raise UsageError(f"a password needs at least {_LEAST} characters, found {len(password)}")
    typer.echo(hash_password(password))
    return 0
