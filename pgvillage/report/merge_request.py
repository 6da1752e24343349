"""A plan as the comment and the commit status of a merge request."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace

from pgvillage.core.change import Action
from pgvillage.core.merge_request import CommitStatus
from pgvillage.core.plan import Plan, Status, count_actions
from pgvillage.report.markdown import block, code, plan_markdown
from pgvillage.report.words import clipped, counted, visible

_STATUS_CHARACTERS = 140


def marker(*parts: str) -> str:
    """A line nobody sees: which estate and settings a comment is about, without saying their names."""
    name = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:20]
    return f"<!-- pgvillage:merge-request:{name} -->"


def comment_body(plan: Plan, mark: str, merge: tuple[str, str], job: str, limit: int) -> str:
    """At most `limit` characters that begin with the marker; `merge` is the head and what it goes into."""
    # The merge's own commit is nowhere but in our clone; people know the head.
    told = replace(plan, revision=merge[0])
    foot = _foot(merge, job)
    return f"{mark}\n{plan_markdown(told, limit - len(mark) - len(foot) - 1, whole=True)}{foot}"


def failure_body(error: str, mark: str, merge: tuple[str, str], job: str, limit: int) -> str:
    """Instead of a plan, why there is none: an older plan must not be taken for the one of this head."""
    foot = _foot(merge, job)
    text = visible(clipped(error, min(limit // 8, 20_000)), keep="\n")
    return f"{mark}\n### No plan for {code(merge[0][:12])}\n\n{block('text', text)}{foot}"


def failure_status(context: str, job: str) -> CommitStatus:
    return CommitStatus(
        good=False, context=context, description="there is no plan: see the comment or the log", url=job
    )


def _foot(merge: tuple[str, str], job: str) -> str:
    log = f" · [the job's log]({_link(job)})" if job else ""
    return f"\nWhat merging {code(merge[0][:12])} into {code(merge[1])} does{log}\n"


def _link(url: str) -> str:
    for char in '()<>[]"\\':
        url = url.replace(char, f"%{ord(char):02X}")
    return url


def plan_status(plan: Plan, context: str, job: str) -> CommitStatus:
    """`blocked: limit-drop`, `2 targets unreachable`, `3 to create, 1 to delete`, `nothing to do`."""
    blocked = sorted({gate.rule for target in plan.targets for gate in target.gates if not gate.open})
    unplanned = [target for target in plan.targets if target.status is not Status.PLANNED]
    errors = [f for f in (*plan.findings, *(f for t in plan.targets for f in t.findings)) if f.severity == "error"]
    counts = ", ".join(_counts(plan)) or "nothing to do"
    if blocked:
        words = f"blocked: {', '.join(blocked)}; {counts}"
    elif unplanned or errors:
        troubles = [(counted(len(unplanned), "target") + " without a plan", unplanned),
                    (counted(len(errors), "error"), errors)]  # fmt: skip
        words = f"{', '.join(text for text, some in troubles if some)}; {counts}"
    else:
        words = counts
    good = not (blocked or unplanned or errors)
    return CommitStatus(good, context, clipped(visible(words), _STATUS_CHARACTERS), job)


def _counts(plan: Plan) -> Iterable[str]:
    found = count_actions(change for target in plan.targets for change in target.applied_changes)
    return (f"{number} to {action}" for action, number in found.items() if number and action in Action)
