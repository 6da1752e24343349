"""Markdown for merge requests, read back with a CommonMark parser: what names hold must come out as text in code."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from pgvillage.core.plan import Finding, Gate, Plan, Status, TargetId, TargetPlan
from pgvillage.core.run import Outcome, Run, TargetRun
from pgvillage.core.step import SqlStep
from pgvillage.report.markdown import PLAN_MARKER, RUN_MARKER, block, code, plan_markdown, run_markdown
from tests.unit.report_plans import HOSTILE, drifted, full_plan, full_run, member, plan, target

NAMES = st.text(st.sampled_from("`~<>/!-#@[]()*_|\\&; \nab"), min_size=1, max_size=40)
OURS = re.compile(
    r"<!-- pgvillage:(plan|run) -->|</details>"
    r"|<details><summary>(<code>[^<>`]*</code>: \d+ changes?( done| not done)?(, \d+ held)?"
    r"(, digest <code>[0-9a-f]{12}</code>)?|\d+ steps?)</summary>"
)


def _tokens(text: str) -> list[Token]:
    tokens = MarkdownIt("commonmark").parse(text)
    return [inner for token in tokens for inner in (token, *(token.children or ()))]


def _check(text: str, limit: int = 60_000) -> None:
    """Within the limit, tags balanced, and nothing that a name could have brought outside of code."""
    assert len(text) <= limit
    tokens = _tokens(text)
    tags = "".join(token.content for token in tokens if token.type == "html_block")
    assert tags.count("<details>") == tags.count("</details>")
    for token in tokens:
        assert token.type not in ("link_open", "image", "html_inline", "em_open", "blockquote_open", "code_block")
        if token.type == "html_block":
            for line in token.content.strip().split("\n"):
                assert OURS.fullmatch(line), line
        if token.type == "text":
            assert "@" not in token.content
            assert not re.search("[#<`]", token.content), token.content
        if token.type == "fence":
            assert token.info in ("diff", "sql")


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_stay_in_code(name: str) -> None:
    for text in (plan_markdown(full_plan(name)), run_markdown(full_run(name))):
        _check(text)
        assert not re.search("[\u202e\u200b\ufeff\x1b\x07\r]", text)


@settings(deadline=None, max_examples=80)
@given(NAMES)
def test_any_name_stays_in_code(name: str) -> None:
    _check(plan_markdown(full_plan(name)))
    _check(run_markdown(full_run(name)))


@settings(deadline=None, max_examples=80)
@given(NAMES)
def test_code_and_block_hold_their_text(name: str) -> None:
    [span] = [t for t in _tokens(f"a {code(name)} b") if t.type == "code_inline"]
    shown = name.replace("\n", "\\n").strip() or " "
    assert span.content in (shown, f" {shown} ")
    [fence] = [t for t in _tokens(block("sql", name)) if t.type == "fence"]
    assert fence.content == f"{name}\n"


def test_a_hostile_cluster_name_stays_in_its_summary() -> None:
    name = "<b>x</b>\n\n@here"
    _check(plan_markdown(plan(target(member("a"), target=TargetId(name)))))


def test_plan_says_first_what_matters() -> None:
    text = plan_markdown(full_plan())
    assert text.startswith(f"{PLAN_MARKER}\n### Plan for `c0ffeec0ffee` `Merge etl`\n")
    digest = full_plan().targets[0].digest[:12]
    for line in (
        "**Plan: 1 to create, 3 to update, 0 to replace, 1 to delete on 2 clusters (1 unreachable), 1 held**",
        f"- `orders`: `1 of 2 etl`; if it is meant, after the merge: `pgvillage approve orders {digest}`",
        "- `orders`: `old etl`",
        "- `lost` is unreachable: `no route to etl`",
        "- `orders` `privilege.table.etl`: `refused etl`",
        "- error `orders/role/etl`: `broken etl`",
        "- warning: `etl`",
        "+ role etl",
        "      login: yes",
        "~ role etl2 (drift, held: policy etl)",
        "      connection_limit: 5 -> -1",
        "      reason etl",
        "- role bob (directory)",
        "      what it owns goes to etl",
        "      SELECT: on all 3 tables (2 before, + t003)",
        "ALTER ROLE x PASSWORD /* etl */ '<verifier of secret:etl>';",
        "-- in the maintenance database",
        "-- in database etl",
        "DROP ROLE bob;  -- not in a transaction",
        "-- merge patch to the cluster specification in etcd",
        '{"pgParameters": {"work_mem": "etl"}}',
    ):
        assert line in text.splitlines()
    assert "by the way" not in text, "findings of severity info are not for a comment"
    assert text.index("Blocked by policy") < text.index("<details>")
    assert "uncommitted" not in text
    assert "uncommitted" in plan_markdown(replace(full_plan(), dirty=True))


def test_an_open_gate_blocks_nothing() -> None:
    open_gate = Gate("limit-drop", "too many", open=True)
    assert "Blocked" not in plan_markdown(plan(target(member("a"), gates=(open_gate,))))


def test_plan_without_changes_is_short() -> None:
    text = plan_markdown(plan(target(), target(cluster="crm")))
    assert text.splitlines()[-1].endswith("0 to delete on 2 clusters**")
    assert "<details>" not in text


def test_statements_keep_their_lines_and_lose_what_hides() -> None:
    step = SqlStep((), ("COMMENT ON ROLE x IS '\n```\n\u202e'",))
    text = plan_markdown(plan(target(member("a"), steps=(step,))))
    [sql] = [t.content for t in _tokens(text) if t.type == "fence" and t.info == "sql"]
    assert sql == "-- in the maintenance database\nCOMMENT ON ROLE x IS '\n```\n\\u202e';\n"


def _large(count: int, name: str = "member") -> Plan:
    return plan(*(target(*(member(f"{name}{n}") for n in range(count)), cluster=f"c{t}") for t in range(3)))


def _left_out(text: str) -> int:
    found = re.search(r"(\d+) changes? left out here", text)
    return int(found[1]) if found else 0


@pytest.mark.parametrize("limit", [1_000, 3_000, 20_000, 60_000])
@pytest.mark.parametrize("name", ["member", "`" * 40, "<&>" * 10])
def test_size_is_capped_cleanly_and_told(limit: int, name: str) -> None:
    text = plan_markdown(_large(1_000, name), limit)
    _check(text, limit)
    shown = [line for line in text.splitlines() if line.startswith("+ membership")]
    assert len(shown) + _left_out(text) == 3_000
    assert shown
    assert len(text) > limit * 0.5
    assert f"\n… and {1_000 - len(shown) % 1_000} more changes\n" in text


def test_sql_goes_before_changes_do() -> None:
    long = SqlStep((), ("SELECT " + "x" * 5_000,))
    text = plan_markdown(plan(target(member("a"), steps=(long,))), 2_000)
    assert "+ membership a in readers" in text
    assert "The SQL is left out for its size." in text
    assert "left out here" not in text


def test_a_plan_of_troubles_is_capped_too() -> None:
    lost = [TargetPlan(TargetId(f"c{n}"), Status.UNREACHABLE, error="`" * 500) for n in range(50)]
    findings = tuple(Finding("error", "x" * 500) for _ in range(50))
    text = plan_markdown(plan(*lost, findings=findings), 60_000)
    _check(text)
    assert text.count("- … and 30 more") == 2
    small = plan_markdown(plan(*lost, findings=findings), 2_000)
    _check(small, 2_000)
    assert "more\n" in small


@settings(deadline=None, max_examples=60)
@given(st.integers(1_000, 8_000), st.lists(NAMES, min_size=1, max_size=30), st.integers(0, 900))
def test_any_plan_is_cut_cleanly(limit: int, names: list[str], size: int) -> None:
    step = SqlStep((), ("`" * size,))
    found = plan(target(*map(member, names), steps=(step,)), *full_plan(names[0]).targets)
    _check(plan_markdown(found, limit), limit)
    _check(run_markdown(full_run(names[0]), limit), limit)


def test_run() -> None:
    text = run_markdown(full_run())
    assert text.startswith(f"{RUN_MARKER}\n### Applied `c0ffeec0ffee`\n\n**1 change done, 9 not done on 3 targets**\n")
    for line in (
        "- `orders` blocked by policy, 4 changes not done: `blocked etl`",
        "- `orders`: `old etl`",
        "- `crm:stolon` failed, 5 changes not done",
        "- `lost` unreachable: `no route to etl`",
        "- `lost`: `note etl`",
        "<details><summary><code>crm:stolon</code>: 1 change done</summary>",
        "<details><summary><code>orders</code>: 4 changes not done</summary>",
    ):
        assert line in text.splitlines()
    good = target(member("a"))
    quiet = run_markdown(Run("f" * 40, (TargetRun(good.target, Outcome.DONE, good, good.changes),)))
    assert "Not as planned" not in quiet
    assert "1 change done on 1 target" in quiet


@settings(deadline=None, max_examples=40)
@given(st.text(st.characters(categories=["L", "N", "P"]), min_size=6, max_size=30))
def test_planted_secret_is_in_no_comment(text: str) -> None:
    secret = f"hunter2{text}"
    shown = plan_markdown(full_plan(secret=secret)) + run_markdown(full_run(secret=secret))
    assert "hunter2" not in shown
    assert shown.count("password: changed") >= 3


def test_drift_is_marked() -> None:
    assert "~ role etl (drift)" in plan_markdown(plan(target(drifted("etl"))))
