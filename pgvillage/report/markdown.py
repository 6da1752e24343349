"""Plans and runs as Markdown for a merge request's comment: whatever names hold, it stays text in code."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence
from itertools import chain

from pgvillage.core.change import Change
from pgvillage.core.plan import Finding, Gate, Plan, Status, TargetPlan
from pgvillage.core.run import Outcome, Run, TargetRun
from pgvillage.core.step import NoteStep, SqlStep, Step
from pgvillage.report.words import (
    approval,
    change_line,
    counted,
    counts_line,
    field_line,
    remarks,
    show_text,
    shown_fields,
    visible,
)

PLAN_MARKER = "<!-- pgvillage:plan -->"
RUN_MARKER = "<!-- pgvillage:run -->"
_GOOD = (Outcome.DONE, Outcome.NOTHING)
_NO_SQL = "\nThe SQL is left out for its size.\n"
_LINES_A_SECTION = 20
_FIELDS_A_CHANGE = 40
_RESERVE = 200  # for the line that says what is left out


def plan_markdown(plan: Plan, limit: int = 60_000, *, whole: bool = False) -> str:
    """At most `limit` characters, never less than a summary's thousand: what blocks first, then target by target.

    `whole` leaves out targets, never a part of one's changes.
    """
    page = _Page(limit)
    dirty = ", with uncommitted changes" if plan.dirty else ""
    subject = f" {code(plan.subject, 100)}" if plan.subject else ""
    page.add(f"{PLAN_MARKER}\n### Plan for {code(plan.revision[:12])}{subject}{dirty}\n\n**{counts_line(plan)}**\n")
    page.section("Blocked by policy", chain.from_iterable(map(_closed_gates, plan.targets)))
    page.section("Waits for its window", chain.from_iterable(map(_windows, plan.targets)))
    page.section("No plan", (_no_plan(t) for t in plan.targets if t.status is not Status.PLANNED))
    page.section("Not read, so nothing in it is taken away", chain.from_iterable(map(_unread, plan.targets)))
    page.section("Findings", map(_finding, _serious(plan)))
    if whole:
        return page.text() + _whole_targets(plan, page.room)
    for target in plan.targets:
        _add_plan(page, target)
    return page.text()


def _whole_targets(plan: Plan, room: int) -> str:
    """The rest of the page: what fits, with its steps if they do; the others are counted."""
    pieces: list[str] = []
    left = 0
    for target in plan.targets:
        if not target.changes:
            continue
        piece = next((piece for piece in _versions(target, room) if len(piece) <= room), "")
        pieces.append(piece)
        room -= len(piece)
        left += not piece
    return "".join(pieces) + (f"\n{counted(left, 'more target')}, see the job's log.\n" if left else "")


def _versions(target: TargetPlan, room: int) -> Iterable[str]:
    """The fullest first; none where already the changes are too many."""
    lines = _first(map(_change, target.changes), room)
    if len(lines) < len(target.changes):
        return
    body = block("diff", "\n".join(lines))
    yield _details(_summary(target), body + _sql(target.steps))
    yield _details(_summary(target), body + (_NO_SQL if target.steps else ""))


def run_markdown(run: Run, limit: int = 60_000) -> str:
    """What an apply did: what went wrong first."""
    page = _Page(limit)
    done, left = sum(len(t.done) for t in run.targets), sum(len(t.left) for t in run.targets)
    rest = f", {left} not done" if left else ""
    line = f"{counted(done, 'change')} done{rest} on {counted(len(run.targets), 'target')}"
    page.add(f"{RUN_MARKER}\n### Applied {code(run.revision[:12])}\n\n**{line}**\n")
    page.section("Not as planned", chain.from_iterable(_trouble(t) for t in run.targets if t.outcome not in _GOOD))
    page.section("Notes", (f"{code(str(t.target))}: {code(note)}" for t in run.targets for note in t.notes))
    for target in run.targets:
        name = f"<code>{_html(str(target.target))}</code>"
        _add_changes(page, f"{name}: {counted(len(target.done), 'change')} done", target.done)
        _add_changes(page, f"{name}: {counted(len(target.left), 'change')} not done", target.left)
    return page.text()


def code(text: str, limit: int = 300) -> str:
    """One line as a code span, where nothing is a tag, a link, a mention or a reference."""
    shown = show_text(text, limit).strip() or " "
    ticks = _fence(shown, 1)
    pad = " " if "`" in (shown[0], shown[-1]) else ""
    return f"{ticks}{pad}{shown}{pad}{ticks}"


def block(language: str, body: str) -> str:
    """A fenced block that its content can't close."""
    fence = _fence(body, 3)
    return f"{fence}{language}\n{body}\n{fence}\n"


def _fence(text: str, least: int) -> str:
    longest = max(map(len, re.findall("`+", text)), default=0)
    return "`" * max(least, longest + 1)


def _html(text: str) -> str:
    return html.escape(show_text(text, 120))


def _details(summary: str, body: str) -> str:
    return f"\n<details><summary>{summary}</summary>\n\n{body}\n</details>\n"


class _Page:
    """Text that grows by whole pieces as long as they fit; what did not fit is counted."""

    def __init__(self, limit: int) -> None:
        self._room = max(limit, 1_000) - _RESERVE
        self._pieces: list[str] = []
        self.left_out = 0

    @property
    def room(self) -> int:
        return self._room

    def add(self, piece: str) -> bool:
        if len(piece) > self._room:
            return False
        self._pieces.append(piece)
        self._room -= len(piece)
        return True

    def section(self, heading: str, lines: Iterable[str]) -> None:
        found = list(lines)
        if not found or not self.add(f"\n**{heading}**\n\n"):
            return
        shown = 0
        while shown < min(len(found), _LINES_A_SECTION) and self.add(f"- {found[shown]}\n"):
            shown += 1
        if shown < len(found):
            self.add(f"- … and {len(found) - shown} more\n")

    def text(self) -> str:
        if self.left_out:
            words = counted(self.left_out, "change")
            self._pieces.append(f"\n{words} left out here for their size; `-o json` has the whole.\n")
        return "".join(self._pieces)


def _closed_gates(plan: TargetPlan) -> Iterable[str]:
    closed = (gate for gate in plan.gates if gate.blocking and not gate.open)
    return (f"{code(str(plan.target))}: {_gate(gate, plan)}" for gate in closed)


def _windows(plan: TargetPlan) -> Iterable[str]:
    closed = (gate for gate in plan.gates if not gate.blocking and not gate.open)
    return (f"{code(str(plan.target))}: {_gate(gate, plan)}" for gate in closed)


def _gate(gate: Gate, plan: TargetPlan) -> str:
    opens = code(approval(str(plan.target), plan.digest))
    todo = f"; if it is meant, after the merge: {opens}" if gate.approvable else ""
    return f"{code(gate.message)}{todo}"


def _no_plan(plan: TargetPlan) -> str:
    return f"{code(str(plan.target))} is {plan.status}: {code(plan.error)}"


def _unread(plan: TargetPlan) -> Iterable[str]:
    for part in plan.unread:
        where = ".".join((part.kind, *part.prefix))
        yield f"{code(str(plan.target))} {code(where)}: {code(part.reason)}"


def _serious(plan: Plan) -> list[Finding]:
    found = chain(plan.findings, chain.from_iterable(t.findings for t in plan.targets))
    return sorted((f for f in found if f.severity in ("error", "warning")), key=lambda f: f.severity)


def _finding(finding: Finding) -> str:
    where = f" {code(str(finding.address))}" if finding.address else ""
    return f"{finding.severity}{where}: {code(finding.message)}"


def _trouble(run: TargetRun) -> Iterable[str]:
    left = f", {counted(len(run.left), 'change')} not done" if run.left else ""
    why = f": {code(run.error)}" if run.error else ""
    yield f"{code(str(run.target))} {run.outcome}{left}{why}"
    if run.outcome is Outcome.BLOCKED:
        yield from _closed_gates(run.plan)


def _add_plan(page: _Page, plan: TargetPlan) -> None:
    _add_changes(page, _summary(plan), plan.changes, plan.steps)


def _summary(plan: TargetPlan) -> str:
    """Where, how much, and what an approval would approve."""
    applied = len(plan.applied_changes)
    held = len(plan.changes) - applied
    name = f"<code>{_html(str(plan.target))}</code>"
    rest = f", {held} held" if held else ""
    digest = f", digest <code>{plan.digest[:12]}</code>" if applied else ""
    return f"{name}: {counted(applied, 'change')}{rest}{digest}"


def _add_changes(page: _Page, summary: str, changes: Sequence[Change], steps: Sequence[Step] = ()) -> None:
    """The whole block if it fits, else without its steps, else as many changes as fit, else none."""
    if not changes:
        return
    lines = _first(map(_change, changes), page.room)
    if len(lines) == len(changes) and page.add(_details(summary, block("diff", "\n".join(lines)) + _sql(steps))):
        return
    taken = _fitting(lines, page.room - len(_details(summary, block("diff", ""))) - len(_NO_SQL) - 40)
    left = len(changes) - len(taken)
    rest = [f"… and {counted(left, 'more change')}"] if left else []
    body = block("diff", "\n".join([*taken, *rest])) + (_NO_SQL if steps and not left else "")
    page.left_out += left if taken and page.add(_details(summary, body)) else len(changes)


def _first(lines: Iterable[str], room: int) -> list[str]:
    """More than fit at most by one: of 100,000 changes most need not even be worded."""
    found: list[str] = []
    for line in lines:
        found.append(line)
        room -= len(line)
        if room < 0:
            break
    return found


def _fitting(lines: Sequence[str], room: int) -> list[str]:
    """The first lines that fit, with fences as long as the longest line's backticks ask for."""
    taken: list[str] = []
    fence = 3
    for line in lines:
        fence, before = max(fence, len(_fence(line, 3))), fence
        room -= len(line) + 1 + 2 * (fence - before)
        if room < 0:
            break
        taken.append(line)
    return taken


def _change(change: Change) -> str:
    """Its line, then its fields further in, where a diff's colours don't reach them."""
    fields = [field_line(change, field) for field in shown_fields(change)]
    if len(fields) > _FIELDS_A_CHANGE:
        fields[_FIELDS_A_CHANGE:] = [f"… and {counted(len(fields) - _FIELDS_A_CHANGE, 'more field')}"]
    return "\n".join([change_line(change), *(f"      {line}" for line in (*fields, *remarks(change)))])


def _sql(steps: Sequence[Step]) -> str:
    """The statements in a block of their own, closed at first."""
    if not steps:
        return ""
    lines: list[str] = []
    place = ""
    for step in steps:
        if place != (place := _place(step)):
            lines.append(f"-- {place}")
        alone = "" if step.transactional else "  -- not in a transaction"
        end = f";{alone}" if isinstance(step, SqlStep) else ""
        lines.append(visible(str(step), keep="\n") + end)
    return _details(counted(len(steps), "step"), block("sql", "\n".join(lines)))


def _place(step: Step) -> str:
    if isinstance(step, NoteStep):
        return "in the ledger alone"
    if not isinstance(step, SqlStep):
        return "merge patch to the cluster specification in etcd"
    return "in the maintenance database" if step.database is None else f"in database {show_text(step.database)}"
