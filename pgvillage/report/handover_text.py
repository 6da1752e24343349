"""A switchover or failover for people: the nodes before, what will happen, what came of it."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.text import Text

from pgvillage.core.outage import Outage
from pgvillage.core.topology import Node, Topology
from pgvillage.report.words import show_text
from pgvillage.topology.handover import Handover
from pgvillage.topology.readiness import Readiness, Verb

_COLUMNS = ("NODE", "ROLE", "ADDRESS", "TIMELINE", "LAG", "SYNC", "STATE")
_STYLES = {"primary": "bold green", "standby": "", "unknown": "red"}


def print_nodes(console: Console, topology: Topology, title: str) -> None:
    """A table, and what is wrong under it."""
    rows = [_row(node, topology) for node in topology.nodes]
    widths = [max(map(len, column)) for column in zip(_COLUMNS, *rows, strict=True)]
    name = show_text(topology.cluster)
    console.print(Text.assemble((f"{name} ", "bold"), f"{topology.engine}, {title}"), soft_wrap=True)
    console.print(Text(f"  {_line(_COLUMNS, widths)}", "dim"), soft_wrap=True)
    for node, row in zip(topology.nodes, rows, strict=True):
        console.print(Text(f"  {_line(row, widths)}", _STYLES[node.role]), soft_wrap=True)
    for problem in topology.problems:
        mark, style = ("✗", "red") if problem.severity == "error" else ("!", "yellow")
        if problem.severity != "info":
            console.print(Text(f"  {mark} {show_text(problem.text, 500)}", style), soft_wrap=True)


def _line(row: tuple[str, ...], widths: list[int]) -> str:
    return "  ".join(f"{text:<{width}}" for text, width in zip(row, widths, strict=True)).rstrip()


def _row(node: Node, topology: Topology) -> tuple[str, ...]:
    lag = node.lag(topology.primary) if topology.primary is not None and node is not topology.primary else None
    synchronous = node.engine is not None and node.engine.synchronous
    timeline = str(node.sql.timeline) if node.sql is not None else "-"
    name, address = show_text(node.name, 60), show_text(node.address, 60)
    words = (timeline, size(lag) if lag is not None else "-", "sync" if synchronous else "-", _state(node))
    return (name, node.role, address, *words)


def _state(node: Node) -> str:
    if node.sql is None:
        return show_text(node.error or "does not answer", 100)
    if not node.sql.recovering:
        return "takes writes"
    return "streams" if node.sql.streaming else "does not stream"


def size(number: int) -> str:
    """Bytes as people say them."""
    if number < 10_000:
        return f"{number} B"
    for unit in ("kB", "MB", "GB"):
        number //= 1024
        if number < 10_000:
            return f"{number} {unit}"
    return f"{number // 1024} TB"


def print_intention(console: Console, found: Readiness, notes: tuple[str, ...]) -> None:
    """What will happen, in words, before anybody is asked."""
    for note in notes:
        console.print(Text(f"  ! {show_text(note, 500)}", "yellow"), soft_wrap=True)
    console.print()
    for line in intention(found):
        console.print(Text(line), soft_wrap=True)


def intention(found: Readiness) -> Iterator[str]:
    old, new = show_text(found.leader or "the lost primary"), show_text(" or ".join(found.among) or found.candidate)
    if found.wish.verb is Verb.SWITCHOVER:
        yield f"{old} stops taking writes and {new} takes over once it has them all: nothing is lost."
        yield "Clients are cut off from their connections, and can't write for some seconds."
        return
    lost = "nobody knows how much" if found.loses is None else f"{found.loses:,} bytes that are known of"
    yield f"{new} takes over from {old}. What it lacks is lost: {lost}, and what was written after them."


def print_handover(console: Console, done: Handover) -> None:
    print_nodes(console, done.after, "after")
    console.print()
    asked = done.readiness
    if done.leader != asked.candidate and done.leader not in asked.among:
        words = f"{show_text(asked.candidate)} was to take over, and the engine chose {show_text(done.leader)}"
        console.print(Text.assemble(("! ", "yellow"), words), soft_wrap=True)
    for text in done.missing:
        console.print(Text.assemble(("✗ ", "red"), show_text(text, 500)), soft_wrap=True)
    for outage in done.outages:
        console.print(Text.assemble(("  ", ""), outage_words(outage)), soft_wrap=True)
    mark, style = ("!", "yellow") if done.missing else ("✓", "green")
    old, new = show_text(done.readiness.leader or "nobody"), show_text(done.leader)
    verb = str(done.readiness.wish.verb).capitalize()
    rest = "not every standby follows" if done.missing else f"all standbys follow after {done.whole:.1f} s"
    words = f"{verb} done: {old} -> {new}, verified after {done.seconds:.1f} s; {rest}"
    console.print(Text.assemble((f"{mark} ", style), words), soft_wrap=True)


def outage_words(found: Outage) -> str:
    """One line: how long a client could not write, and when."""
    way = show_text(found.way)
    if found.problem:
        return f"outage {way}: not measured: {show_text(found.problem, 300)}"
    when = ""
    if found.first_failure is not None:
        until = f" to {found.first_success:%H:%M:%S}" if found.first_success else ", not over yet"
        when = f" ({found.first_failure:%H:%M:%S}{until} UTC)"
    return f"outage {way}: {found.longest:.1f} s without an acknowledged write{when}, {found.writes} writes"
