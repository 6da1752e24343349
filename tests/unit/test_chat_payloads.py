"""Messages in every service's form: within its limits, and nothing in a name pings, links or formats."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgvillage.core.notice import Notice, Told, notice_of
from pgvillage.core.plan import Gate
from pgvillage.daemon.chat_groups import group_notice
from pgvillage.daemon.chat_sights import concerns, estate_concern
from pgvillage.daemon.chat_thread import Thread
from pgvillage.report.chat_payload import payload_of
from pgvillage.report.chat_plain import size
from pgvillage.report.chat_slack import escaped
from pgvillage.report.chat_teams import largest
from pgvillage.report.chat_texts import KINDS, chat_text, default_template
from pgvillage.report.json_schema import schemas
from pgvillage.settings import Channel, Mention, SecretSource
from tests.unit.chat_bench import LABELS, Bench, channel, limit, mighty
from tests.unit.report_plans import HOSTILE, drifted, full_plan, target

VALIDATOR = jsonschema.Draft202012Validator(schemas()["notice.json"])
SERVICES = ("slack", "mattermost", "teams", "rocketchat", "webhook")
_BENCH_LOOK = Bench.as_look
_PING = re.compile(r"@(?!\u200b)")


def of_service(service: str, *who: str) -> Channel:
    return channel(service, mention=Mention(who=list(who), severity="warning") if who else None)


def notices(name: str, changes: int = 3) -> list[Notice]:
    """Every kind and transition, with a name in every place that a name can be in."""
    found: list[Notice] = []
    hostile = [drifted(f"{name}{n}", held=name, reason=name) for n in range(changes)]
    wild = target(*hostile, mighty(name), cluster=name, gates=(Gate(name, name),), error=name)
    labels = {"owner": name}

    class _Still:
        suspension = None
        routes = ()

    look = _BENCH_LOOK(_Still(), wild, labels, None)  # type: ignore[arg-type]
    for concern in [*concerns(look, "https://pgvillage.example/x"), estate_concern("c0ffee", name, None)]:
        found += [replace(concern.notice(told), detail=name, step=name) for told in Told]
    many = Thread(told="c", cause="c", members=tuple(f"drift {name}{n}" for n in range(changes)))
    found += [group_notice(many, found[0], told) for told in (Told.OPENED, Told.RESOLVED)]
    return [*found, replace(found[0], kind="test", told=Told.OPENED)]


def check_slack(payload: Mapping[str, Any]) -> None:
    """docs.slack.dev/reference/block-kit: 50 blocks, 3,000 a section, 150 a header, 10 elements of a context."""
    assert 1 <= len(payload["blocks"]) <= 50
    assert 0 < len(payload["text"]) <= 4_000
    whole = 0
    for block in payload["blocks"]:
        texts = [block["text"]] if "text" in block else block["elements"]
        assert len(texts) <= 10
        for text in texts:
            limit_of = 150 if block["type"] == "header" else 3_000
            assert 0 < len(text["text"]) <= limit_of
            whole += len(text["text"])
            _check_slack_text(text["text"], block["type"])
    assert whole <= 13_000


def _check_slack_text(text: str, kind: str) -> None:
    if kind == "context":
        assert re.fullmatch(r"<https://pgvillage\.example/x/targets/[^<>|]*\|Open in PgVillage>", text) or re.fullmatch(
            r"<https://pgvillage\.example/x\|Open in PgVillage>", text
        )
        return
    assert not re.search("[<>]", text)
    assert not re.search("&(?!amp;|lt;|gt;)", text)
    assert not _PING.search(text)
    if kind == "section":
        assert text.startswith("```")
        assert text.endswith("```")
        assert "`" not in text[3:-3]


def check_mattermost(payload: Mapping[str, Any]) -> None:
    """model.PostMessageMaxRunesV2 and PostPropsMaxRunes of its server."""
    assert 0 < len(payload["text"]) <= 16_383
    assert len(json.dumps(payload)) <= 800_000
    assert size(dict(payload)) <= 7_000
    assert payload["text"].count("`") == 2
    assert not _PING.search(payload["text"])
    for attachment in payload.get("attachments", []):
        assert attachment["fallback"]
        assert not _PING.search(attachment["text"] + attachment["fallback"])
        _check_fenced(attachment["text"])


def _check_fenced(text: str) -> None:
    """All but our link stands in one fence."""
    if "```" in text:
        assert text.count("```") == text.count("`") / 3 == 2
        before, _, after = text.split("```")
        assert before == ""
        assert re.fullmatch(r"(\n\[Open in PgVillage\]\(https://pgvillage\.example[^()\s]*\))?", after)


def check_rocketchat(payload: Mapping[str, Any]) -> None:
    """Message_MaxAllowedSize is 5,000 unless an administrator changes it."""
    assert len(json.dumps(payload, ensure_ascii=False)) <= 5_000
    assert payload["parseUrls"] is False
    assert payload["text"].count("`") == 2
    assert not _PING.search(payload["text"])
    for attachment in payload.get("attachments", []):
        _check_fenced(attachment.get("text", ""))
        assert not re.search("[@#](?!\u200b)", attachment.get("text", ""))


def check_teams(payload: Mapping[str, Any]) -> None:
    """28 KB; only RichTextBlocks, which know no Markdown."""
    assert largest(dict(payload)) <= 28_000
    [attachment] = payload["attachments"]
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    card = attachment["content"]
    assert (card["type"], card["version"], card["msteams"]["entities"]) == ("AdaptiveCard", "1.4", [])
    for block in card["body"]:
        assert block["type"] == "RichTextBlock"
        assert all(run["type"] == "TextRun" and run["text"] for run in block["inlines"])


def check_webhook(payload: Mapping[str, Any]) -> None:
    VALIDATOR.validate(payload)


CHECKS = {
    "slack": check_slack,
    "mattermost": check_mattermost,
    "teams": check_teams,
    "rocketchat": check_rocketchat,
    "webhook": check_webhook,
}


@pytest.mark.parametrize(
    "name", [*HOSTILE, "&" * 400, "@all " * 60, "é😀" * 100, "<!here>" * 60, "{{ 7 * 7 }}", "%s{}"]
)
def test_hostile_names(name: str) -> None:
    for notice in notices(name):
        assert notice_of(json.loads(json.dumps(notice.as_body()))) == notice
        for service in SERVICES:
            payload, text = payload_of(of_service(service), notice)
            assert not text.problem
            CHECKS[service](payload)


@settings(deadline=None, max_examples=6)
@given(st.text(min_size=1, max_size=80))
def test_any_name(name: str) -> None:
    for notice in notices(name, 2):
        for service in SERVICES:
            CHECKS[service](payload_of(of_service(service), notice)[0])


@pytest.mark.parametrize("service", SERVICES)
def test_10_000_changes(service: str) -> None:
    every = [limit(n % 90, f"role_{n:05}" + "x" * 40) for n in range(10_000)]
    bench_look = _BENCH_LOOK(type("_", (), {"suspension": None, "routes": ()})(), target(*every), LABELS, None)
    notice = next(iter(concerns(bench_look, "https://pgvillage.example/x"))).notice(Told.OPENED)
    payload, text = payload_of(of_service(service), notice)
    CHECKS[service](payload)
    assert text.title == "orders: 10000 changes by hand"
    assert "and 9990 more" in text.lines


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("char", ["x", "&", "😀", "@"])
def test_the_largest_text_is_cut_and_says_so(service: str, char: str) -> None:
    notice = replace(notices("a")[0], kind="drift", lines=tuple(f"{n}{char * 400}" for n in range(38)), more=5)
    payload, _ = payload_of(of_service(service), notice)
    CHECKS[service](payload)
    if service in ("slack", "mattermost", "rocketchat"):
        assert re.search(r"and \d+ more lines", json.dumps(payload))


@pytest.mark.parametrize(
    ("service", "who", "shown"),
    [
        ("slack", ("U1", "S2", "here"), "<@U1> <!subteam^S2> <!here>"),
        ("mattermost", ("dba", "here"), "@dba @here "),
        ("rocketchat", ("dba", "all"), "@dba @all "),
        ("teams", ("ada@x.example",), "<at>ada@x.example</at>"),
        ("webhook", ("dba",), '"mention": ["dba"]'),
    ],
)
def test_who_is_meant_to_be_called_is(service: str, who: tuple[str, ...], shown: str) -> None:
    base = notices("a")[0]
    for told in Told:
        payload, _ = payload_of(of_service(service, *who), replace(base, told=told, severity="warning"))
        assert (shown in json.dumps(payload)) is (told in (Told.OPENED, Told.ESCALATED))
    only_errors = Channel(service=service, url=SecretSource(env="X"), mention=Mention(who=list(who)))  # type: ignore[arg-type]
    assert shown not in json.dumps(payload_of(only_errors, replace(base, severity="warning"))[0])


def test_messages_say_what_where_whose_and_what_next() -> None:
    look = _BENCH_LOOK(type("_", (), {"suspension": None, "routes": ()})(), target(limit(5)), LABELS, None)
    text = chat_text(next(iter(concerns(look, None))).notice(Told.OPENED))
    assert text.title == "orders: 1 change by hand"
    assert text.lines == (
        "~ role etl: connection_limit: 5 → -1; will be corrected (users/etl.yaml:7)",
        "owner: shop",
    )


@settings(deadline=None, max_examples=6)
@given(st.text(st.characters(categories=["L", "N", "P"]), min_size=6, max_size=30))
def test_planted_secret_is_in_no_message(text: str) -> None:
    found = full_plan(secret=f"hunter2{text}")
    for each in found.targets:
        look = _BENCH_LOOK(type("_", (), {"suspension": None, "routes": ()})(), each, LABELS, None)
        for concern in concerns(look, None):
            for service in SERVICES:
                assert "hunter2" not in json.dumps(payload_of(of_service(service), concern.notice(Told.OPENED))[0])


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{{ target ", "line 1"),
        ("{% for x in lines %}", "line 1"),
        ("{{ no_such_thing }}", "no_such_thing"),
        ("{{ target.__class__.__mro__ }}", "unsafe"),
        ("{{ 1 / 0 }}", "division"),
        ("{% include 'drift.j2' %}", "no loader"),
        ("{% for a in range(99999999) %}x{% endfor %}", "range"),
        ("", "no text"),
        ("   \n  ", "no text"),
    ],
)
def test_a_broken_template_falls_back_and_says_so(template: str, words: str) -> None:
    notice = notices("etl")[0]
    text = chat_text(notice, {"drift": template})
    assert text.title == chat_text(notice).title
    assert words in text.problem
    assert text.lines[-1] == text.problem


def test_own_templates_replace_ours_by_kind_and_stay_plain() -> None:
    notice = notices("@here <!channel>")[0]
    own = {"drift": "*{{ target }}* <!channel> @all\n{{ lines[0] }}\n`x`", "failed": "{{ nothing }}"}
    payload, text = payload_of(of_service("slack"), notice, own)
    assert text.title.startswith("*@here")
    assert not text.problem
    check_slack(payload)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_template(kind: str) -> None:
    assert "{%" in default_template(kind)


def test_escapes_are_never_cut_in_two() -> None:
    assert escaped("&" * 4_000, 2_994).endswith("&amp;…")
