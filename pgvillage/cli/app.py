"""The command line put together; the one place where errors become exit codes."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer

from pgvillage.cli import (
    adopt,
    apply,
    ask,
    demo,
    directory,
    doctor,
    drift,
    dsn,
    explain,
    get,
    history,
    import_,
    init,
    job_history,
    job_run,
    job_views,
    notify,
    password_hash,
    plan,
    render,
    routing,
    schema,
    serve,
    suspend,
    switchover,
    validate,
    who_can,
)

app = typer.Typer(
    name="pgvillage",
    help="Declarative GitOps for PostgreSQL estates: what Git says is what your clusters are.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("init")(init.command)
app.command("import")(import_.command)
app.command("validate")(validate.command)
app.command("schema")(schema.command)
app.command("plan")(plan.command)
app.command("apply")(apply.command)
app.command("drift")(drift.command)
app.command("explain")(explain.command)
app.command("adopt")(adopt.command)
app.command("who-can")(who_can.command)
app.command("get")(get.get)
app.command("describe")(get.describe)
app.command("events")(history.events)
app.command("history")(history.history)
app.command("reconcile")(ask.reconcile)
app.command("approve")(ask.approve)
app.command("dsn")(dsn.command)
app.command("connect")(dsn.connect)
app.command("suspend")(suspend.suspend)
app.command("resume")(suspend.resume)
app.command("switchover")(switchover.switchover)
app.command("failover")(switchover.failover)
app.command("serve")(serve.command)
app.command("routing")(routing.command)
app.command("render")(render.command)
app.command("doctor")(doctor.command)
app.command("password-hash")(password_hash.command)
app.command("directory")(directory.command)
app.command("notify")(notify.command)
app.command("demo")(demo.command)
jobs = typer.Typer(help="Jobs: what runs when, and how it went.", no_args_is_help=True, rich_markup_mode=None)
jobs.command("list")(job_views.list_jobs)
jobs.command("next")(job_views.next_jobs)
jobs.command("run")(job_run.command)
jobs.command("history")(job_history.history)
jobs.command("logs")(job_history.logs)
jobs.command("cancel")(job_history.cancel)
app.add_typer(jobs, name="job")


def _version(value: bool) -> None:
    if value:
        from pgvillage import __version__

        typer.echo(f"pgvillage {__version__}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    _version_flag: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Show the version."),
) -> None:
    """Declarative GitOps for PostgreSQL estates: what Git says is what your clusters are."""
    context.obj = run  # the demo plays commands


def run(arguments: Sequence[str] | None = None) -> int:  # noqa: PLR0911 - one return an error, in one place
    """The exit code. No traceback reaches a user, except of a bug, which says so."""
    from pgvillage.core.errors import ManifestError, PgVillageError

    try:
        code = app(args=list(arguments) if arguments is not None else None, standalone_mode=False)
    except typer.Exit as done:
        return done.exit_code
    except typer.Abort:
        return _say("aborted", 130)
    except KeyboardInterrupt:
        return _say("interrupted; what was done stays done, run again to go on", 130)
    except BrokenPipeError:
        return 0
    except ManifestError as error:
        count = sum(d.severity == "error" for d in error.diagnostics)
        return _say(f"{error}\n\n{count} error{'' if count == 1 else 's'} in the estate", error.exit_code)
    except PgVillageError as error:
        return _say(f"pgvillage: {error}", error.exit_code)
    except ExceptionGroup as group:
        return _of_group(group)
    except Exception as error:  # noqa: BLE001 - click's own usage errors have a private base in typer
        return _usage_or_bug(error)
    return code if isinstance(code, int) else 0


def _say(text: str, code: int) -> int:
    print(text, file=sys.stderr)
    return code


def _of_group(group: ExceptionGroup) -> int:
    from pgvillage.core.errors import PgVillageError
    from pgvillage.usecases.outcome import weightiest

    known = [e for e in group.exceptions if isinstance(e, PgVillageError)]
    if len(known) < len(group.exceptions):
        raise group
    for error in known:
        _say(f"pgvillage: {error}", 1)
    return weightiest(error.exit_code for error in known)


def _usage_or_bug(error: Exception) -> int:
    text = getattr(error, "format_message", None)
    if text is None:
        raise error
    context = getattr(error, "ctx", None)
    usage = f"{context.get_usage()}\n" if context else ""
    return _say(f"{usage}pgvillage: {text()}", 64)
