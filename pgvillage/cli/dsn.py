"""pgvillage dsn, pgvillage connect."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pgvillage.cli.options import (
    DEFAULT_SETTINGS,
    RevisionOption,
    SettingsOption,
    TextOrJson,
    TextOrJsonOption,
    world_of,
)
from pgvillage.core.client_target import ClientTls, Driver, Role

if TYPE_CHECKING:
    from pgvillage.core.client_target import ClientTarget
    from pgvillage.report.dsn import Dsn
    from pgvillage.usecases.dsn import Found

ClusterArgument = Annotated[str, typer.Argument(help="A cluster of the estate.", metavar="CLUSTER")]
RoleOption = Annotated[Role, typer.Option("--role", help="Which of its nodes.")]
DatabaseOption = Annotated[
    str, typer.Option("--database", "-d", help="The database. [default: the only one the Cluster lists, or postgres]")
]
UserOption = Annotated[str, typer.Option("--user", "-U", help="The user. [default: left to the driver]")]
SslModeOption = Annotated[
    str, typer.Option("--sslmode", help="Another sslmode. [default: the stricter of manifest and credential]")
]
RootCertOption = Annotated[str, typer.Option("--sslrootcert", help="CA file on the client's machine, or `system`.")]
CertOption = Annotated[str, typer.Option("--sslcert", help="The client's certificate, a file on its machine.")]
KeyOption = Annotated[str, typer.Option("--sslkey", help="The key of --sslcert.")]
DirectOption = Annotated[bool, typer.Option("--direct", help="The nodes, also where the manifest names a proxy.")]


def command(
    cluster: ClusterArgument,
    role: RoleOption = Role.PRIMARY,
    driver: Annotated[Driver, typer.Option("--for", help="The driver that reads it.")] = Driver.LIBPQ,
    database: DatabaseOption = "",
    user: UserOption = "",
    sslmode: SslModeOption = "",
    sslrootcert: RootCertOption = "",
    sslcert: CertOption = "",
    sslkey: KeyOption = "",
    direct: DirectOption = False,
    service_file: Annotated[bool, typer.Option("--service-file", help="Print a section of pg_service.conf.")] = False,
    snippet: Annotated[bool, typer.Option("--snippet", help="Print a few lines of a program.")] = False,
    settings: SettingsOption = DEFAULT_SETTINGS,
    output: TextOrJsonOption = TextOrJson.TEXT,
    revision: RevisionOption = None,
) -> int:
    """Print how a client connects to a cluster, in the words of its driver; never a password."""
    from pgvillage.core.errors import UsageError
    from pgvillage.report.dsn import render

    if service_file + snippet + (output is TextOrJson.JSON) > 1:
        raise UsageError("--service-file, --snippet and -o json are three ways to print: choose one")
    if service_file and driver is not Driver.LIBPQ:
        raise UsageError("--service-file is libpq's: leave --for out")
    tls = ClientTls(_checked(sslmode), sslrootcert, sslcert, sslkey)
    found = _found(settings, cluster, role, (database, user), tls, direct, revision)
    dsn = render(found.target, driver)
    if output is TextOrJson.JSON:
        _print_json(found, driver, dsn)
        return 0
    for warning in (*found.warnings, *dsn.warnings):
        typer.echo(f"warning: {warning}", err=True)
    typer.echo(_text(found.target, driver, dsn, "service" if service_file else "snippet" if snippet else ""))
    return 0


def connect(
    cluster: ClusterArgument,
    arguments: Annotated[list[str] | None, typer.Argument(help="What psql is given, after `--`.")] = None,
    role: RoleOption = Role.PRIMARY,
    database: DatabaseOption = "",
    user: UserOption = "",
    sslmode: SslModeOption = "",
    sslrootcert: RootCertOption = "",
    sslcert: CertOption = "",
    sslkey: KeyOption = "",
    direct: DirectOption = False,
    settings: SettingsOption = DEFAULT_SETTINGS,
    revision: RevisionOption = None,
) -> int:
    """Open psql on a cluster with a login of your own; PgVillage's credential is not used."""
    import os
    import shutil

    from pgvillage.core.errors import PgVillageError
    from pgvillage.report.dsn import libpq_environment

    tls = ClientTls(_checked(sslmode), sslrootcert, sslcert, sslkey)
    found = _found(settings, cluster, role, (database, user), tls, direct, revision)
    for warning in found.warnings:
        typer.echo(f"warning: {warning}", err=True)
    psql = shutil.which("psql")
    if psql is None:
        raise PgVillageError("no psql on PATH: install PostgreSQL's client (Debian: postgresql-client)")
    environment = libpq_environment(found.target, os.environ)
    os.execve(psql, ["psql", *(arguments or ())], environment)  # noqa: S606 - its place is taken, no shell is asked


def _checked(sslmode: str) -> str:
    import difflib

    from pgvillage.core.errors import UsageError
    from pgvillage.settings import SSL_MODES

    if sslmode and sslmode not in SSL_MODES:
        near = difflib.get_close_matches(sslmode, SSL_MODES, 1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(SSL_MODES)}"
        raise UsageError(f"--sslmode {sslmode!r}: {hint}")
    return sslmode


def _found(
    settings: Path, cluster: str, role: Role, login: tuple[str, str], tls: ClientTls, direct: bool, revision: str | None
) -> Found:
    import asyncio

    from pgvillage.usecases.dsn import Wishes, client_target

    wishes = Wishes(role, *login, tls, direct)
    return asyncio.run(client_target(world_of(settings), cluster, wishes, revision))


def _print_json(found: Found, driver: Driver, dsn: Dsn) -> None:
    import json

    from pgvillage.report.dsn_json import dsn_document

    document = dsn_document(found.target, driver, dsn, found.through, found.warnings)
    typer.echo(json.dumps(document, indent=2, ensure_ascii=False))


def _text(target: ClientTarget, driver: Driver, dsn: Dsn, form: str) -> str:
    from pgvillage.report.dsn import service_section
    from pgvillage.report.dsn_snippets import snippet

    if form == "service":
        return service_section(target, target.cluster)
    return snippet(target, driver, dsn) if form == "snippet" else "\n".join(dsn.strings)
