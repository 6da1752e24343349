"""Turns a command of a Job into what is sent: texts read from the checkout, secrets looked up right before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pgvillage.core.errors import SecretError
from pgvillage.core.job_run import Scalar
from pgvillage.core.job_work import HttpWork, ShellWork, SqlStatement, SqlWork
from pgvillage.core.secret import Secret
from pgvillage.estate.job_sql import read_script
from pgvillage.estate.manifest.duration import duration_of
from pgvillage.estate.manifest.job_command import Check, Command, JobStep
from pgvillage.estate.manifest.user import SecretName
from pgvillage.jobs.graph import Instance
from pgvillage.running.means import Means, Order

Work = SqlWork | ShellWork | HttpWork
_SHELL_LIMIT, _HTTP_LIMIT = 3600.0, 60.0  # seconds, where no limit is written


@dataclass(frozen=True, slots=True)
class Made:
    """What is sent, and the secrets in it: they are taken out of all that is recorded."""

    work: Work
    secrets: tuple[Secret, ...] = ()


def is_transaction(command: Command) -> bool:
    """Whether the target's ledger can say that it was done."""
    return isinstance(command, JobStep) and command.is_sql and command.transaction is not False


def key_name(command: Command) -> str:
    """What its idempotency key is made of; no step's name has a space."""
    name = command.name if isinstance(command, JobStep | Check) else ""
    return f"check {name}" if isinstance(command, Check) else name


async def made(means: Means, order: Order, token: int, command: Command, instance: Instance) -> Made:
    """Raises SecretError, FileFault, TextFault, ReadError: all of them words for people."""
    key = order.key.step_key(key_name(command), instance.number)
    if command.is_sql:
        return _sql(means, order, token, command, instance)
    if command.shell is not None:
        return await _shell(means, order, command, instance, key)
    assert command.http is not None
    return _http(means, command, key)


def _sql(means: Means, order: Order, token: int, command: Command, instance: Instance) -> Made:
    spec = order.job.spec
    script = read_script(order.root, command)
    assert script is not None
    values, secrets = _revealed(means, {**spec.parameters, **dict(instance.values)})
    used = script.names()
    work = SqlWork(
        statements=tuple(
            SqlStatement(each.bound, each.names, each.at, each.alone, script.text.count("\n", 0, each.at) + 1)
            for each in script.statements
            if not each.empty
        ),
        key=order.key.step_key(key_name(command), instance.number),
        run=order.key.id,
        step=key_name(command),
        token=token,
        role=command.role or spec.role,
        transaction=is_transaction(command),
        read_only=isinstance(command, Check),
        values={name: value for name, value in values.items() if name in used},
        statement_timeout=_milliseconds(command.statement_timeout or spec.statement_timeout),
        lock_timeout=_milliseconds(command.lock_timeout or spec.lock_timeout),
        keep=means.keep,
    )
    return Made(work, secrets)


async def _shell(means: Means, order: Order, command: Command, instance: Instance, key: str) -> Made:
    shell, where = command.shell, order.key
    assert shell is not None
    env, secrets = _revealed(means, shell.env)
    matrix = {f"PGV_MATRIX_{name.upper()}": _text(value) for name, value in instance.values}
    host = None
    if shell.on == "host":
        host = await means.host_of(where.cluster, order.job.spec.target, where.node)
    own = {
        "PGV_JOB": where.job,
        "PGV_RUN": where.id,
        "PGV_CLUSTER": where.cluster,
        "PGV_DATABASE": where.database,
        "PGV_SCHEDULED": where.scheduled.isoformat(),
        "PGV_KEY": key,
    }
    work = ShellWork(
        command=tuple(shell.command) if shell.command is not None else None,
        script=shell.script,
        host=host,
        key=key,
        env={**own, **matrix, **{name: _text(value) for name, value in env.items()}},
        folder=shell.folder,
        seconds=limit_of(command) or _SHELL_LIMIT,
        keep=means.keep,
    )
    return Made(work, secrets)


def _http(means: Means, command: Command, key: str) -> Made:
    call = command.http
    assert call is not None
    headers, secrets = _revealed(means, call.headers)
    work = HttpWork(
        method=call.method,
        url=call.url,
        key=key,
        headers={name: _text(value) for name, value in headers.items()},
        body=call.body,
        status=tuple(call.status),
        seconds=limit_of(command) or _HTTP_LIMIT,
        keep=means.keep,
    )
    return Made(work, secrets)


def limit_of(command: Command) -> float | None:
    """Seconds."""
    return duration_of(command.max_runtime).total_seconds() if command.max_runtime is not None else None


def _revealed(
    means: Means, given: Mapping[str, Scalar | SecretName]
) -> tuple[dict[str, Scalar | Secret], tuple[Secret, ...]]:
    names = {value.secret for value in given.values() if isinstance(value, SecretName)}
    found = means.secrets(names) if names else None
    values: dict[str, Scalar | Secret] = {}
    for name, value in given.items():
        if not isinstance(value, SecretName):
            values[name] = value
            continue
        assert found is not None
        if value.secret not in found.values:
            absent = found.absent.get(value.secret)
            why = absent.reason if absent is not None else "it can't be had here"
            raise SecretError(f"secret {value.secret}: {why}")
        values[name] = found.values[value.secret]
    return values, tuple(value for value in values.values() if isinstance(value, Secret))


def _text(value: Scalar | Secret) -> str | Secret:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, Secret) else str(value)


def _milliseconds(text: str | None) -> int:
    return int(duration_of(text).total_seconds() * 1000) if text is not None else 0
