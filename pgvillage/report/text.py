"""Plans and runs as text for a terminal; plain when piped."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields as dataclass_fields
from dataclasses import is_dataclass
from typing import Any

from rich.console import Console
from rich.text import Text

from pgvillage.core.change import Action, Change, FieldChange, Origin
from pgvillage.core.plan import Finding, Gate, Plan, Status, System, TargetPlan
from pgvillage.core.run import Outcome, Run, TargetRun
from pgvillage.core.step import NoteStep
from pgvillage.report.words import (
    approval,
    approved_apply,
    counts_line,
    field_line,
    show_text,
    symbol,
    title,
    visible,
)

_COLOURS = {Action.CREATE: "green", Action.UPDATE: "yellow", Action.REPLACE: "magenta", Action.DELETE: "red"}
_FINDING = {"error": ("✗", "red"), "warning": ("!", "yellow"), "info": ("·", "dim")}
_TITLE_WIDTH = 52
_CHANGES_SHOWN = 200
# What PostgreSQL makes of it when nobody says anything
_USUAL: dict[str, dict[str, Any]] = {
    "role": {"login": False},
    "membership": {"admin": False, "inherit": True, "set": True},
}
_SYSTEMS = {System.POSTGRES: "PostgreSQL", System.STOLON: "stolon in etcd", System.PATRONI: "Patroni"}


def print_plan(console: Console, plan: Plan, *, sql: bool = False, heading: str = "Plan") -> None:
    """The whole plan; `sql` adds the statements."""
    dirty = " with uncommitted changes" if plan.dirty else ""
    subject = f" “{show_text(plan.subject, 60)}”" if plan.subject else ""
    line = Text.assemble((heading, "bold"), f" for revision {plan.revision[:12]}{subject}{dirty}")
    console.print(line)
    _print_findings(console, plan.findings)
    for target in plan.targets:
        _print_target(console, target, sql=sql)
    console.print()
    console.print(Text(counts_line(plan), style="bold"))


def _print_target(console: Console, plan: TargetPlan, *, sql: bool) -> None:
    head = Text.assemble("\n", (str(plan.target), "bold cyan"), (f"  {_SYSTEMS[plan.target.system]}", "dim"))
    if plan.status is not Status.PLANNED:
        console.print(head)
        console.print(Text(f"  ✗ {plan.status}: {plan.error}", style="red"))
        return
    if not plan.changes:
        head.append("  no changes", style="green")
    elif plan.steps:
        head.append(f"  digest {plan.digest[:12]}", style="dim")
    console.print(head)
    for change in plan.changes[:_CHANGES_SHOWN]:
        _print_change(console, change)
    if len(plan.changes) > _CHANGES_SHOWN:
        more = len(plan.changes) - _CHANGES_SHOWN
        console.print(Text(f"  … and {more} more changes (-o json shows all)", style="dim"))
    if sql and plan.steps:
        console.print(Text("  SQL" if plan.target.system is System.POSTGRES else "  patch", style="dim"))
        for step in plan.steps:
            place = f"[{show_text(step.database, 63)}] " if step.database else ""
            end = "" if isinstance(step, NoteStep) else ";"
            once = "" if step.transactional else "  -- not in a transaction"
            console.print(Text(f"    {place}{safe_sql(str(step))}{end}{once}"), soft_wrap=True)
    for gate in plan.gates:
        console.print(_gate_line(gate), soft_wrap=True)
        if not gate.open and gate.approvable:
            what = "to allow exactly this" if gate.blocking else "to do it now, with all of this plan"
            console.print(Text(f"    {what}: {_approved(plan)}", style="dim"), soft_wrap=True)
        elif gate.rule == "manifest":
            console.print(Text("    nothing is done here until the manifest is corrected", style="dim"))
    told = {gate.message for gate in plan.gates}
    _print_findings(console, (f for f in plan.findings if not (f.blocks and f.message in told)))


def _approved(plan: TargetPlan) -> str:
    target = str(plan.target)
    return f"{approval(target, plan.digest)}; without a daemon: {approved_apply(target, plan.digest)}"


def _gate_line(gate: Gate) -> Text:
    word, style = ("approved", "green") if gate.open else ("blocked", "bold red")
    if not gate.open and not gate.blocking:
        word, style = "held back", "yellow"
    rule = "" if gate.message.startswith(gate.rule) else f"{word} by {gate.rule}: "
    return Text(f"  {rule}{visible(gate.message)}", style=style)


def safe_sql(text: str) -> str:
    """A statement on screen: line breaks stay, other control characters in names can't reach the terminal."""
    return "".join(c if c.isprintable() or c == "\n" else f"\\u{ord(c):04x}" for c in text)


def _print_change(console: Console, change: Change) -> None:
    style = "dim" if change.held else _COLOURS[change.action]
    line = Text("  ").append(f"{symbol(change.action)} ", style=style)
    line.append(title(change.address).ljust(_TITLE_WIDTH), style=style)
    if change.origin is not Origin.GIT:
        line.append(f"  {change.origin}", style="bold magenta" if change.origin is Origin.DRIFT else "blue")
    line.append(f"  {change.source}", style="dim")
    console.print(line, soft_wrap=True)
    if change.reason:
        console.print(Text(f"      {change.reason}", style="dim"), soft_wrap=True)
    for entry in fields_worth_showing(change):
        console.print(Text(f"      {field_line(change, entry)}"), soft_wrap=True)
    if change.held:
        console.print(Text(f"      held: {change.held}", style="yellow"), soft_wrap=True)
    elif change.impact.restart:
        console.print(Text("      takes effect at the next restart", style="yellow"))


def fields_worth_showing(change: Change) -> list[FieldChange]:
    """Of something new what is not usual, of something that goes its privileges, of anything else every field."""
    if change.action is Action.CREATE and change.after is not None and is_dataclass(change.after):
        usual = {each.name: each.default for each in dataclass_fields(change.after)} | _USUAL.get(
            change.address.kind, {}
        )
        return [
            f
            for f in change.fields
            if f.after not in (None, {}, (), frozenset()) and getattr(change.after, f.name, f) != usual.get(f.name)
        ]
    if change.action is Action.DELETE and not change.address.kind.endswith("privilege"):
        return []
    return list(change.fields)


def _print_findings(console: Console, findings: Iterable[Finding]) -> None:
    for finding in findings:
        mark, style = _FINDING[finding.severity]
        console.print(Text(f"  {mark} {finding.message}", style=style), soft_wrap=True)


def print_run(console: Console, run: Run) -> None:
    """What an apply did, target by target, and what it did not."""
    for target in run.targets:
        if target.outcome is not Outcome.NOTHING or target.notes:
            _print_run(console, target)
    idle = [str(t.target) for t in run.targets if t.outcome is Outcome.NOTHING]
    if idle:
        shown = ", ".join(idle[:5]) + (f" and {len(idle) - 5} more" if len(idle) > 5 else "")
        console.print(Text(f"\n✓ nothing to do: {shown}", style="green"))
    done = sum(len(t.done) for t in run.targets)
    left = sum(len(t.left) for t in run.targets)
    statements = sum(t.statements for t in run.targets)
    line = f"\nApplied: {done} changes in {statements} steps on {_clusters(run)}" + (
        f"; {left} not done" if left else ""
    )
    console.print(Text(line, style="bold"))


def _clusters(run: Run) -> str:
    count = len({t.target.cluster for t in run.targets if t.done})
    return f"{count} cluster" + ("" if count == 1 else "s")


def _print_run(console: Console, run: TargetRun) -> None:
    good = run.outcome in (Outcome.DONE, Outcome.NOTHING)
    mark, style = ("✓", "green") if good else ("✗", "red")
    line = Text.assemble("\n", (f"{mark} ", style), (str(run.target), "bold cyan"), f"  {run.outcome}")
    if run.done:
        line.append(
            f": {len(run.done)} changes, read again and confirmed" if good else f": {len(run.done)} changes done"
        )
    console.print(line)
    for note in run.notes:
        console.print(Text(f"  · {note}", style="dim"), soft_wrap=True)
    if run.error:
        console.print(Text(f"  {safe_sql(run.error)}", style="red"), soft_wrap=True)
    for gate in run.plan.gates:
        if not gate.open:
            console.print(_gate_line(gate), soft_wrap=True)
    if run.left and not good:
        console.print(
            Text(f"  not done: {', '.join(title(c.address) for c in run.left[:5])}", style="yellow"), soft_wrap=True
        )
        if len(run.left) > 5:
            console.print(Text(f"  … and {len(run.left) - 5} more", style="yellow"))
