"""A cluster's nodes for a terminal: a table, slots, problems in words, and its etcd."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.text import Text

from pgvillage.report.state_text import age, print_table
from pgvillage.report.words import show_text
from pgvillage.topology.limits import seconds, size

Row = Mapping[str, Any]
_MARKS = {"error": ("✗", "red"), "warning": ("!", "yellow"), "info": ("·", "dim")}


def print_cluster(console: Console, row: Row, now: datetime) -> None:
    console.print(Text(show_text(row["name"]), style="bold cyan"))
    for label, text in _facts(row, now):
        console.print(Text.assemble((f"  {label:<12} ", "dim"), show_text(text, 400)), soft_wrap=True)
    console.print()
    print_nodes(console, row, now)


def print_nodes(console: Console, row: Row, now: datetime) -> None:
    """Without the cluster's own name: beneath what is said of it already."""
    heading = ("NODE", "ROLE", "STATE", "TIMELINE", "LAG", "BEHIND", "SYNC", "RESTART", "VERSION", "ADDRESS")
    print_table(console, heading, [_node(each) for each in row["nodes"]])
    if row["slots"]:
        console.print()
        slots = [
            (s["name"], s["node"], "physical" if s["physical"] else "logical", "yes" if s["active"] else "no",
             size(s["held_back"]) if s["held_back"] is not None else "-", s["wal_status"] or "-")
            for s in row["slots"]
        ]  # fmt: skip
        print_table(console, ("SLOT", "ON", "KIND", "ACTIVE", "HOLDS BACK", "WAL"), slots)
    if row["etcd"]:
        console.print()
        print_table(console, ("ETCD", "STATE", "VERSION", "SIZE", "ENDPOINT"), list(_etcd(row["etcd"])))
    console.print()
    if not row["problems"]:
        console.print(Text("no problems", style="green"))
    for problem in row["problems"]:
        mark, style = _MARKS[problem["severity"]]
        since = f"  (for {age(problem['since'], now)})" if problem["since"] else ""
        words = f"  {show_text(problem['text'], 500)}"
        told = Text.assemble((f"{mark} {problem['code']}", style), words, (since, "dim"))
        console.print(told, soft_wrap=True)


def _facts(row: Row, now: datetime) -> Iterator[tuple[str, str]]:
    yield "engine", row["engine"] + (", paused" if row["paused"] else "")
    if row["phase"] and row["phase"] != "normal":
        yield "phase", row["phase"]
    yield "primary", row["primary"] or ("none: it follows another cluster" if row["standby_cluster"] else "none")
    if row["leader"] and row["leader"] != row["primary"]:
        yield "leader", f"{row['leader']}, says {row['engine']}"
    yield "system", row["system_identifier"] or "-"
    if row["synchronous"]:
        yield "synchronous", f"{row['synchronous']} must confirm each commit"
    etcd = row["etcd"]
    if etcd:
        well = [m for m in etcd["members"] if not m["error"]]
        quorum = "" if etcd["quorum"] else ", no quorum"
        leader = f", leader {etcd['leader']}" if etcd["leader"] else ", no leader"
        yield (
            "etcd",
            f"{etcd['name']}: {len(well)} of {len(etcd['members'])} answer{leader}{quorum}, {size(etcd['db_size'])}",
        )
    yield "asked", f"{age(row['observed_at'], now)} ago"


def _node(node: Row) -> Sequence[str]:
    state = node["state"] or ("streaming" if node["streaming"] else "")
    if not node["answers"]:
        state = f"{state}, no answer" if state else "no answer"
    return (
        node["name"], node["role"], state or "-", str(node["timeline"] or "-"),
        size(node["lag_bytes"]) if node["lag_bytes"] is not None else "-",
        seconds(node["lag_seconds"]) if node["lag_seconds"] is not None and node["role"] == "standby" else "-",
        node["sync"] or "-", ", ".join(node["pending_restart"]) or "-", node["version"] or "-", node["address"] or "-",
    )  # fmt: skip


def _etcd(etcd: Row) -> Iterator[Sequence[str]]:
    for member in etcd["members"]:
        state = "no answer" if member["error"] else "leader" if member["leader"] else "follows"
        yield member["name"], state, member["version"] or "-", size(member["db_size"]), member["endpoint"]
