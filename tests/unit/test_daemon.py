"""The daemon's parts without servers: notices, metrics with hostile names, addresses."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pgvillage.clients.chat import post
from pgvillage.core.errors import PgVillageError, SettingsError
from pgvillage.core.plan import Gate, Unread
from pgvillage.daemon.listening import bound
from pgvillage.daemon.metrics import Metrics
from pgvillage.daemon.notices import Notices
from pgvillage.settings import SecretSource, Webhook
from tests.unit.report_plans import HOSTILE, drifted, full_plan, full_run, plan, role, target


class Chat:
    def __init__(self) -> None:
        self.posts: list[tuple[str, Mapping[str, Any]]] = []
        self.down: set[str] = set()

    async def post(self, name: str, _: Webhook, payload: Mapping[str, Any]) -> None:
        if name in self.down:
            raise PgVillageError("down")
        self.posts.append((name, payload))

    def of(self, name: str) -> list[str]:
        return [str(payload["event"]) for channel, payload in self.posts if channel == name]


def notices(folder: Path, chat: Chat, *names: str) -> Notices:
    channels = {name: Webhook(url=SecretSource(env="X")) for name in names}
    return Notices(folder / "notices.json", channels, chat.post, Metrics())


async def test_only_transitions_are_told_each_channel_by_itself(tmp_path: Path) -> None:
    chat = Chat()
    found = notices(tmp_path, chat, "a", "b")
    chat.down = {"b"}
    drift = plan(target(drifted("etl")))
    await found.tell(drift)
    await found.tell(drift)
    assert (chat.of("a"), chat.of("b")) == (["drift"], [])
    chat.down = set()
    await found.tell(drift)
    await notices(tmp_path, chat, "a", "b").tell(drift)
    assert (chat.of("a"), chat.of("b")) == (["drift"], ["drift"])
    chat.down = {"a"}
    await found.tell(plan(target()))
    assert (chat.of("a"), chat.of("b")) == (["drift"], ["drift", "resolved"])
    chat.down = set()
    await found.tell(plan(target()))
    await found.tell(plan(target()))
    assert (chat.of("a"), chat.of("b")) == (["drift", "resolved"], ["drift", "resolved"])


async def test_what_was_not_read_resolves_nothing(tmp_path: Path) -> None:
    chat = Chat()
    found = notices(tmp_path, chat, "a")
    await found.tell(plan(target(drifted("etl"))))
    await found.tell(plan(target(unread=(Unread("role", (), "refused"),))))
    assert chat.of("a") == ["drift"]


async def test_a_target_that_left_the_estate_is_forgotten(tmp_path: Path) -> None:
    chat = Chat()
    found = notices(tmp_path, chat, "a")
    await found.tell(plan(target(drifted("etl"))))
    await found.keep({"other"})
    assert json.loads((tmp_path / "notices.json").read_text()) == {"a": {}}
    assert chat.of("a") == ["drift"]


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a": 3}', '{"a": {"orders": null}}'])
async def test_a_broken_memory_costs_a_message_and_no_more(tmp_path: Path, text: str) -> None:
    (tmp_path / "notices.json").write_text(text)
    chat = Chat()
    await notices(tmp_path, chat, "a").tell(plan(target(drifted("etl"))))
    assert chat.of("a") == ["drift"]


async def test_a_memory_that_can_not_be_kept_ends_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    chat = Chat()
    found = notices(tmp_path / "file", chat, "a")
    await found.tell(plan(target(drifted("etl"))))
    await found.tell(plan(target(drifted("etl"))))
    assert chat.of("a") == ["drift"]


@pytest.mark.parametrize("name", HOSTILE)
def test_metrics_can_be_read_whatever_the_names(name: str) -> None:
    metrics = Metrics()
    metrics.planned(full_plan(name))
    metrics.planned(plan(target(drifted("x"), cluster=name, gates=(Gate(name, "no"),))))
    for ran in full_run(name).targets:
        metrics.ran(ran)
    metrics.delivered(name, good=False)
    families = list(text_string_to_metric_families(metrics.text().decode()))
    samples = [s for family in families for s in family.samples]
    drift = {s.labels["target"]: s.value for s in samples if s.name == "pgvillage_drift_changes"}
    assert drift == {"orders": 2, name: 1}
    assert [s.labels["channel"] for s in samples if s.name == "pgvillage_notify_deliveries_total"] == [name]


async def test_gauges_of_targets_that_are_gone_are_gone() -> None:
    metrics = Metrics()
    metrics.planned(plan(target(drifted("x"), cluster="old", gates=(Gate("no", "no"),)), target(cluster="kept")))
    metrics.planned(plan(target(cluster="kept"), target(role("x", None, None), cluster="new")))
    assert 'target="old"' in metrics.text().decode()
    await metrics.keep({"kept", "new"})
    text = metrics.text().decode()
    assert 'target="old"' not in text
    assert text.count('pgvillage_last_observed_timestamp_seconds{target="') == 2


@pytest.mark.parametrize(
    "listen", ["8432", "host:", ":8432", "127.0.0.1:99999", "127.0.0.1:x", "no.such.host.invalid:1"]
)
def test_an_address_that_can_not_be_is_a_clear_error(listen: str) -> None:
    with pytest.raises(SettingsError, match=r"^serve\.listen: "):
        bound(listen)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://127.0.0.1.example.invalid/planted", "must be https"),
        ("http://localhost@example.invalid/planted", "must be https"),
        ("http://chat.example.invalid/planted", "must be https"),
        ("planted", "must be https"),
        ("https://[planted/", "must be https"),
        ("https://chat.example.invalid/planted", "was not delivered"),
        ("http://127.0.0.1:1/planted", "was not delivered"),
    ],
)
async def test_a_url_goes_nowhere_in_clear_and_into_no_message(
    monkeypatch: pytest.MonkeyPatch, url: str, words: str
) -> None:
    monkeypatch.setenv("CHAT_URL", url)
    with pytest.raises(PgVillageError, match=words) as caught:
        await post("ops", Webhook(url=SecretSource(env="CHAT_URL")), {})
    assert "planted" not in str(caught.value)
