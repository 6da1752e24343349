"""Kind hba: pg_hba.conf beside the rules of the Cluster; reported, never changed."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any

from pgvillage.core.change import Change, Resource
from pgvillage.core.plan import Finding
from pgvillage.core.step import Step
from pgvillage.engine.kind import Capabilities, Context, Desired, Judgement, Kind, Live, Parsed, Query
from pgvillage.estate.view import ClusterView
from pgvillage.resources.postgres.hba_rule import Rule, live_rule, written_rule

ORDER = 96
_MOST = 20

_SQL = """
SELECT {file}, line_number, type, database, user_name, address, netmask, auth_method, options, error
FROM pg_catalog.pg_hba_file_rules ORDER BY {order}
"""


class Hba(Kind):
    name = "hba"
    holds_objects = False

    def expand(self, view: ClusterView) -> Iterable[Resource]:
        return ()

    def queries(self, capabilities: Capabilities, view: ClusterView) -> Iterable[Query]:
        if _wished(view) and capabilities.reads_hba:
            modern = capabilities.major >= 16
            file, order = ("file_name", "rule_number, file_name, line_number") if modern else ("NULL", "line_number")
            yield Query(self.name, _SQL.format(file=file, order=order))

    def parse(self, live: Live) -> Parsed:
        return Parsed({}, inventory=[tuple(row) for row in live.rows.get(self.name, ())])

    def resolve(self, desired: Desired, context: Context) -> tuple[Desired, list[Finding]]:
        if not _wished(context.view):
            return desired, []
        capabilities = context.capabilities
        if capabilities is not None and not capabilities.reads_hba:
            text = f"role {capabilities.role} may not read pg_hba_file_rules: `postgres.hba` is not compared"
            return desired, [Finding("info", text)]
        rows = context.snapshot.inventory.get(self.name)
        assert isinstance(rows, list)
        findings = list(_compared(context.view, rows))
        if len(findings) > _MOST:
            more = Finding("warning", f"pg_hba.conf: {len(findings) - _MOST} more differences")
            return desired, [*findings[:_MOST], more]
        return desired, findings

    def judge(self, change: Change, context: Context) -> Judgement:
        raise NotImplementedError

    def compile(self, changes: Sequence[Change], context: Context) -> Iterable[Step]:
        return ()


KIND = Hba()


def _wished(view: ClusterView) -> bool:
    """With an HA engine the rules are the engine's to write."""
    spec = view.cluster.spec
    return spec.ha.engine == "none" and spec.postgres.hba is not None


def _compared(view: ClusterView, rows: Sequence[tuple[Any, ...]]) -> Iterable[Finding]:
    live: list[tuple[str, Rule]] = []
    for file, line, *rest, error in rows:
        place = f"{file or 'pg_hba.conf'} line {line}"
        if error is not None:
            yield Finding("warning", f"{place} has an error, and PostgreSQL keeps the rules it had: {error}")
        else:
            live.append((place, live_rule(rest)))
    wished = [
        (str(view.located.at("spec", "postgres", "hba", index)), written_rule(rule))
        for index, rule in enumerate(view.cluster.spec.postgres.hba or ())
    ]
    yield from _differences(wished, live)


def _differences(wished: list[tuple[str, Rule]], live: list[tuple[str, Rule]]) -> Iterable[Finding]:
    """The first rule that fits decides, so a rule in another place is another rule."""
    matcher = difflib.SequenceMatcher(None, [r for _, r in wished], [r for _, r in live], autojunk=False)
    gone: list[tuple[str, Rule]] = []
    new: list[tuple[str, Rule]] = []
    for word, start, end, from_, to in matcher.get_opcodes():
        if word != "equal":
            gone += wished[start:end]
            new += live[from_:to]
    for source, rule in gone:
        moved = next((pair for pair in new if pair[1] == rule), None)
        if moved is not None:
            new.remove(moved)
            order = f"stands in another order than at {source}, and the first that fits decides"
            text = f"{moved[0]}: the rule `{rule}` {order}"
        else:
            text = f"{source}: the rule `{rule}` is not in pg_hba.conf"
        yield Finding("warning", text)
    for place, rule in new:
        yield Finding("warning", f"{place}: the rule `{rule}` is in no manifest")
