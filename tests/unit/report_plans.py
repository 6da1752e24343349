"""Hand-made plans and runs for the tests of reports, with names that nobody should choose."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from pgvillage.core.address import Address
from pgvillage.core.change import Action, Change, Impact, Origin, Risk, Source, field_changes
from pgvillage.core.plan import Finding, Gate, Plan, Status, System, TargetId, TargetPlan, Unread
from pgvillage.core.run import Outcome, Run, TargetRun
from pgvillage.core.secret import SecretRef
from pgvillage.core.state import State
from pgvillage.core.step import PatchStep, SqlStep, Verifier
from pgvillage.resources.postgres.membership import MembershipState
from pgvillage.resources.postgres.privilege import PrivilegeState
from pgvillage.resources.postgres.role import RoleState

HOSTILE = (
    'a"quote',
    "line\nbreak\r\nand more",
    "\u202egnp.exe",
    "zero\u200bwidth\ufeff",
    "tick`s",
    "```\n# heading",
    "`````",
    "<script>alert(1)</script>",
    "</details></summary>",
    "pipe|d",
    "@here",
    "<!channel>",
    "<@U123> &amp; #42 !7",
    "[link](http://evil.example)",
    "-->",
    "\x1b[31mred\x07",
    "é" * 31 + "x",  # 63 bytes
    "\u3164",
    " ",
)
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SOURCE = Source("users/etl.yaml", 7)


def change(
    address: Address, before: State | None, after: State | None, *, origin: Origin = Origin.GIT, **more: object
) -> Change:
    action = Action.CREATE if before is None else Action.DELETE if after is None else Action.UPDATE
    made = Change(address, action, before, after, field_changes(before, after), origin, SOURCE)
    return made._replace(**more)


def role(name: str, before: State | None, after: State | None, *, cluster: str = "orders", **more: object) -> Change:
    return change(Address(cluster, "role", (name,)), before, after, **more)


def member(name: str, group: str = "readers", **more: object) -> Change:
    return change(Address("orders", "membership", (group, name)), None, MembershipState(False, True, True), **more)


def tables(count: int) -> frozenset[str]:
    return frozenset(f"t{number:03}" for number in range(1, count + 1))


def privilege(
    before: dict[str, frozenset[str]] | None, after: dict[str, frozenset[str]] | None, every: frozenset[str]
) -> Change:
    sides = [None if side is None else PrivilegeState(side, every) for side in (before, after)]
    return change(Address("orders", "privilege", ("table", "orders", "app", "readers")), *sides)


def target(*changes: Change, cluster: str = "orders", **more: object) -> TargetPlan:
    steps = tuple(SqlStep((c.address,), (f"ALTER ROLE {c.address.label}",)) for c in changes if not c.held)
    made = TargetPlan(TargetId(cluster), Status.PLANNED, NOW, changes=changes, steps=steps)
    return replace(made, **more)


def plan(*targets: TargetPlan, **more: object) -> Plan:
    return replace(Plan("c0ffee" * 6 + "beef", targets), **more)


def drifted(name: str, **more: object) -> Change:
    return role(name, RoleState(True, connection_limit=5), RoleState(True), origin=Origin.DRIFT, **more)


def full_plan(name: str = "etl", secret: str = "new") -> Plan:
    """Something of everything; `name` is in every place that a name can be in, `secret` in a sensitive field."""
    new = role(name, None, RoleState(True, password=secret, secret="etl"))
    limit = drifted(f"{name}2", held=f"policy {name}", reason=f"reason {name}")
    password = role(f"{name}3", RoleState(True, password=secret), RoleState(True), origin=Origin.DRIFT)
    gone = role("bob", RoleState(False, comment=name), None, risk=Risk.DROP, heir=name, impact=Impact(lock=name))
    gone = gone._replace(origin=Origin.DIRECTORY, source=Source("g.yaml", 3, "corp", f"uid={name}"))
    rights = privilege({"SELECT": tables(2)}, {"SELECT": tables(3), "INSERT": frozenset({name})}, tables(3))
    text = (f"ALTER ROLE x PASSWORD /* {name} */ ", Verifier(SecretRef("etl"), name))
    steps = (
        SqlStep((new.address,), text),
        SqlStep((gone.address,), ("DROP ROLE bob",), database=name, transactional=False),
    )
    main = target(
        *(new, limit, password, gone, rights),
        steps=steps,
        gates=(Gate("limit-drop", f"1 of 2 {name}"), Gate("revision", f"old {name}", approvable=False)),
        findings=(Finding("error", f"broken {name}", new.address), Finding("info", f"by the way {name}")),
        unread=(Unread("privilege", ("table", name), f"refused {name}"),),
        depends={new.address: (gone.address,), rights.address: ()},
    )
    patch = PatchStep((Address("crm", "stolon", ("parameter", "work_mem")),), {"pgParameters": {"work_mem": name}})
    setting = role(name, RoleState(False), RoleState(True), cluster="crm")
    stolon = target(setting, target=TargetId("crm", System.STOLON), steps=(patch,))
    lost = TargetPlan(TargetId("lost"), Status.UNREACHABLE, error=f"no route to {name}")
    return plan(main, stolon, lost, subject=f"Merge {name}", scope=("-t orders",), findings=(Finding("warning", name),))


def full_run(name: str = "etl", secret: str = "new") -> Run:
    main, stolon, lost = full_plan(name, secret).targets
    return Run(
        "c0ffee" * 6 + "beef",
        (
            TargetRun(main.target, Outcome.BLOCKED, main, (), main.applied_changes, error=f"blocked {name}"),
            TargetRun(stolon.target, Outcome.FAILED, stolon, stolon.changes, main.changes, (main.changes[0].address,)),
            TargetRun(lost.target, Outcome.UNREACHABLE, lost, error=lost.error, notes=(f"note {name}",)),
        ),
    )
