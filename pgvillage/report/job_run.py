"""What a run of a Job would do, and how its runs went: for people and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from pgvillage.core.job_run import RunRecord, RunStatus, StepRecord
from pgvillage.core.run_key import RunKey
from pgvillage.estate.job_sql import FileFault, read_script
from pgvillage.estate.manifest import Job
from pgvillage.estate.manifest.job_command import Check, Command
from pgvillage.estate.manifest.user import SecretName
from pgvillage.jobs.fault import TextFault
from pgvillage.report.words import show_text

if TYPE_CHECKING:
    from pgvillage.core.job_run import Scalar

_LONGEST = 4_000
_MARKS = {
    RunStatus.SUCCEEDED: ("✓", "green"),
    RunStatus.SKIPPED: ("-", "dim"),
    RunStatus.RUNNING: ("…", "cyan"),
    RunStatus.DUE: ("…", "cyan"),
}


def place(key: RunKey) -> str:
    parts = [key.cluster, *([f"database {key.database}"] if key.database else []), *([key.node] if key.node else [])]
    return show_text(", ".join(parts), 200)


def command_document(command: Command, job: Job, root: Path) -> dict[str, Any]:
    """What a step or a check would send; secrets by their names."""
    found: dict[str, Any] = {"name": getattr(command, "name", ""), "needs": list(getattr(command, "needs", ()))}
    for key in ("when", "matrix"):
        if value := getattr(command, key, None):
            found[key] = value
    if command.is_sql:
        found |= _sql(command, job, root)
    elif command.shell is not None:
        shell = command.shell
        found |= {"shell": {"command": shell.command, "script": shell.script, "on": shell.on, "env": _shown(shell.env)}}
    elif command.http is not None:
        call = command.http
        found |= {"http": {"method": call.method, "url": call.url, "headers": _shown(call.headers)}}
    if isinstance(command, Check):
        found["expect"] = command.expect.model_dump(exclude_none=True)
    return found


def _sql(command: Command, job: Job, root: Path) -> dict[str, Any]:
    try:
        script = read_script(root, command)
    except (FileFault, TextFault) as fault:
        return {"sql": None, "error": str(fault)}
    assert script is not None
    parameters = {name: value for name, value in job.spec.parameters.items() if name in script.names()}
    transaction = getattr(command, "transaction", None)
    return {
        "sql": script.text,
        "file": command.file,
        "role": command.role or job.spec.role,
        "parameters": _shown(parameters),
        "transaction": transaction is not False and not isinstance(command, Check),
    }


def _shown(values: Mapping[str, Scalar | SecretName]) -> dict[str, Any]:
    return {n: {"secret": v.secret} if isinstance(v, SecretName) else v for n, v in values.items()}


def dry_document(job: Job, scheduled: datetime, keys: Sequence[RunKey], root: Path) -> dict[str, Any]:
    return {
        "job": job.metadata.name,
        "scheduled": scheduled.isoformat(),
        "target": job.spec.target,
        "runs": [
            {"id": key.id, "cluster": key.cluster, "database": key.database or None, "node": key.node or None}
            for key in keys
        ],
        "steps": [command_document(step, job, root) for step in job.spec.steps],
        "checks": [command_document(check, job, root) for check in job.spec.checks],
    }


def print_dry(console: Console, document: Mapping[str, Any]) -> None:
    runs = document["runs"]
    many = f"{len(runs)} run{'' if len(runs) == 1 else 's'}"
    console.print(f"Job {document['job']}, {_time(document['scheduled'])}: {many}. Nothing is run now.")
    for run in runs:
        where = [run["cluster"], *([f"database {run['database']}"] if run["database"] else [])]
        where += [f"node {run['node']}" if run["node"] else f"node: {document['target']}"]
        console.print(f"  {show_text(', '.join(where), 200)}", soft_wrap=True)
    for title in ("steps", "checks"):
        for command in document[title]:
            console.print()
            for line in _lines(title.removesuffix("s"), command):
                console.print(line, soft_wrap=True)


def _lines(what: str, command: Mapping[str, Any]) -> Iterator[str]:
    extras = [f"after {', '.join(command['needs'])}"] if command["needs"] else []
    extras += [f"when {command['when']}"] if "when" in command else []
    extras += [f"for each {name} of {values}" for name, values in command.get("matrix", {}).items()]
    if "role" in command:
        extras += [f"as {command['role']}" if command["role"] else "as the login itself"]
        how = "in one transaction" if command["transaction"] else "each statement for itself"
        extras += ["read only" if "expect" in command else how]
    yield show_text(f"{what} {command['name']}" + (f" ({'; '.join(extras)})" if extras else ""), _LONGEST)
    if command.get("error"):
        yield f"    {show_text(command['error'], _LONGEST)}"
    for line in (command.get("sql") or "").strip("\n").splitlines():
        yield f"    {show_text(line, _LONGEST)}"
    for name, value in command.get("parameters", {}).items():
        yield f"    :{name} = {_value(value)}"
    shell, call = command.get("shell"), command.get("http")
    if shell:
        yield f"    on {shell['on']}: " + show_text(shell["script"] or " ".join(shell["command"]), _LONGEST)
        yield from (f"    {name}={_value(value)}" for name, value in shell["env"].items())
    if call:
        yield f"    {call['method']} {show_text(call['url'], _LONGEST)}"
        yield from (f"    {name}: {_value(value)}" for name, value in call["headers"].items())
    if "expect" in command:
        yield "    expects " + ", ".join(f"{key}: {_value(value)}" for key, value in command["expect"].items())


def _value(value: object) -> str:
    if isinstance(value, dict):
        return f"the secret {value['secret']}"
    if isinstance(value, bool):
        return "true" if value else "false"
    return show_text(str(value), _LONGEST)


def _time(text: str) -> str:
    return f"{datetime.fromisoformat(text):%Y-%m-%d %H:%M:%S} UTC"


def run_document(key: RunKey, record: RunRecord | None, *, taken: bool, error: str) -> dict[str, Any]:
    document = {
        "id": key.id,
        "cluster": key.cluster,
        "database": key.database or None,
        "node": key.node or None,
        "status": record.status.value if record else None,
        "byAnother": taken,
        "error": error or None,
    }
    if record is None:
        return document
    times = {name: getattr(record, name) for name in ("begun", "ended")}
    return document | {
        "why": record.why or None,
        "owner": record.owner,
        "attempt": record.attempt,
        "revision": record.revision or None,
        **{name: at.isoformat() if at else None for name, at in times.items()},
    }


def step_line(record: StepRecord) -> str:
    """One line for a person: how a try of a step or a check went."""
    values = ", ".join(f"{name}={value}" for name, value in record.values)
    name = f"{'check' if record.check else 'step'} {record.step}" + (f" [{values}]" if values else "")
    facts = []
    if record.already:
        facts.append("an earlier try has committed it")
    if record.rows is not None:
        facts.append(f"{record.rows} row{'' if record.rows == 1 else 's'}")
    if record.begun and record.ended:
        facts.append(f"{(record.ended - record.begun).total_seconds():.1f} s")
    facts += [record.error] if record.error else []
    return show_text(f"{name}: {record.outcome.value}" + (f" ({'; '.join(facts)})" if facts else ""), _LONGEST)


def print_end(console: Console, key: RunKey, record: RunRecord | None, *, taken: bool, error: str) -> None:
    if record is None:
        console.print(f"✗ {place(key)}: {show_text(error or 'not known', _LONGEST)}", style="red", soft_wrap=True)
        return
    mark, style = _MARKS.get(record.status, ("✗", "red"))
    words = record.status.value
    if record.begun and record.ended:
        words += f" in {(record.ended - record.begun).total_seconds():.1f} s"
    if record.attempt > 1:
        words += f", try {record.attempt}"
    if taken:
        at = record.ended or record.begun
        when = f", {at:%Y-%m-%d %H:%M:%S} UTC" if at else ""
        words = f"not run again: {record.status.value} by {record.owner or 'somebody'}{when}"
    words += f": {record.why}" if record.why else ""
    console.print(f"{mark} {place(key)}: {show_text(words, _LONGEST)}", style=style, soft_wrap=True)
