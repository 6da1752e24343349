"""The daemon and chat end to end: kill -9 with a message on its way, an outage, routes of the Estate, `notify test`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from pgvillage.clients.state.state import State
from pgvillage.core.status import TargetStatus
from pgvillage.daemon.chat import Gather, Notifier
from pgvillage.daemon.look import Look
from pgvillage.settings import Channel
from tests.integration.conftest import EstateMaker
from tests.integration.daemon_process import serving
from tests.integration.estate_builder import EstateBuilder, cluster, free_policy, user
from tests.servers.postgres import PostgresServer
from tests.servers.webhook import TOKEN, Webhook, webhook
from tests.unit.chat_bench import limit, mighty
from tests.unit.report_plans import plan, target


@pytest.fixture
def chat() -> Iterator[Webhook]:
    with webhook() as found:
        yield found


@pytest.fixture
def estate(pg: PostgresServer, chat: Webhook, estate_of: EstateMaker) -> EstateBuilder:
    made = estate_of(pg)
    made.environment |= {
        "PLAIN_URL": chat.url("/plain-planted"),
        "BOT_TOKEN": TOKEN,
        "DEAD_URL": "http://127.0.0.1:1/x",
    }
    bot = {"service": "slack", "token": {"env": "BOT_TOKEN"}, "channel": "#dba", "api": chat.url("/api")}
    made.settings["channels"] = {
        "plain": {"service": "webhook", "url": {"env": "PLAIN_URL"}},
        "bot": bot,
        "lost": {**bot, "channel": "#nowhere"},
        "dead": {"service": "mattermost", "url": {"env": "DEAD_URL"}},
    }
    policy = free_policy()
    policy["spec"]["notifications"] = [
        {"channel": "plain", "labels": {"team": "shop"}},
        {"channel": "bot", "labels": {"team": "shop"}},
        {"channel": "lost", "labels": {"team": "other"}},
    ]
    made.documents["estate"] = [policy]
    document = cluster("c", pg.host)
    document["metadata"]["labels"] = {"team": "shop"}
    made.documents["c"] = [document]
    made.documents["users"] = [user("app", connectionLimit=5)]
    made.commit()
    made.apply().done()
    return made


def test_killed_with_a_message_on_its_way_it_is_sent_once_more(
    pg: PostgresServer, estate: EstateBuilder, chat: Webhook
) -> None:
    chat.refuses = True
    with serving(estate, apply=False) as daemon:
        pg.sql("ALTER ROLE app SUPERUSER")
        daemon.wait(lambda: chat.refused >= 2, "a try on both channels", seconds=60)
        daemon.process.kill()
        daemon.process.wait()
    chat.refuses = False
    with serving(estate, apply=False) as daemon:
        daemon.wait(lambda: len(chat.posts) == 2, "the messages, after the restart", seconds=60)
        daemon.rounds(3)
        pg.sql("ALTER ROLE app NOSUPERUSER")
        daemon.wait(lambda: len(chat.posts) == 4, "the end of it", seconds=60)
        assert daemon.metric("notify_deliveries_total", channel="plain", result="ok") == 2
        assert daemon.stop() == 0
        assert "planted" not in "".join(daemon.lines)
    assert [body["state"] for body in chat.of("/plain-planted")] == ["opened", "resolved"]
    assert chat.of("/plain-planted")[0]["owner"] == "shop"
    [posted] = chat.of("/api/chat.postMessage")
    [updated] = chat.of("/api/chat.update")
    assert "superuser" in json.dumps(posted)
    assert "drift resolved" in updated["text"]


def test_an_outage_of_chat_is_made_up_for_once(pg: PostgresServer, estate: EstateBuilder, chat: Webhook) -> None:
    chat.refuses = True
    with serving(estate, apply=False) as daemon:
        daemon.wait(lambda: daemon.said("planned"), "the first round", seconds=60)
        for number in (6, 7, 8):
            pg.sql(f"ALTER ROLE app CONNECTION LIMIT {number}")
            daemon.rounds(3)
        chat.refuses = False
        daemon.wait(lambda: len(chat.of("/plain-planted")) == 1, "what was missed", seconds=60)
        daemon.rounds(3)
        daemon.stop()
    [body] = chat.of("/plain-planted")
    assert (body["state"], body["count"]) == ("opened", 1)
    assert "connection_limit: 8" in body["lines"][0]


def test_notify_test(pg: PostgresServer, estate: EstateBuilder, chat: Webhook) -> None:
    done = estate.run("notify", "test", "plain").done()
    assert done.out.startswith("delivered to plain; webhook answered: 200")
    assert [(body["event"], body["severity"]) for body in chat.of("/plain-planted")] == [("test", "info")]
    done = estate.run("notify", "test", "bot", "--preview")
    assert "┃ channel bot: slack, bot" in done.out
    assert '"type": "header"' in done.out
    pg.sql("ALTER ROLE app SUPERUSER")
    shown = estate.run("notify", "test", "bot", "--preview", "-t", "c").out
    assert shown.startswith("🔴 c: 1 change by hand\n┃ ~ role app: superuser: yes → no")
    assert len(chat.posts) == 1
    estate.run("notify", "test", "plain", "-t", "c")
    assert chat.posts[-1][1]["title"] == "Test message of PgVillage: nothing happened"
    assert any("superuser" in line for line in chat.posts[-1][1]["lines"])


@pytest.mark.parametrize(
    ("channel", "code", "words"),
    [
        ("lost", 1, "Slack knows no such channel"),
        ("dead", 1, "can't connect to 127.0.0.1: Connection refused"),
        ("plian", 64, "did you mean plain?"),
    ],
)
def test_notify_test_says_what_is_wrong(estate: EstateBuilder, channel: str, code: int, words: str) -> None:
    done = estate.run("notify", "test", channel)
    assert (done.code, words in done.err) == (code, True), done.err
    assert "planted" not in done.err


def test_the_outbox_in_postgresql(pg: PostgresServer) -> None:
    """Three replicas on one database: what they all saw is told once, and each message is sent by one."""
    url = f"postgresql://postgres:{pg.password}@{pg.host}/postgres"
    states = [State.in_postgres(url) for _ in range(3)]
    now = datetime.now(UTC)
    taken: list[int] = []

    def see(state: State) -> None:
        channels = {"dba": Channel.model_validate({"service": "slack", "url": {"env": "X"}})}
        notifier = Notifier(state.outbox, channels, ["dba"], gather=Gather(0, 0, 0), now=lambda: now)
        for number in range(20):
            found = target(mighty(f"pg{number}"), limit(number, cluster=f"pg{number}"), cluster=f"pg{number}")
            asyncio.run(notifier.looked(Look(f"pg{number}", plan(found), TargetStatus(f"pg{number}"), {})))

    def send(state: State) -> None:
        misses = 0
        while misses < 50:
            message = state.outbox.claim("dba", now + timedelta(seconds=1), timedelta(seconds=60))
            misses = misses + 1 if message is None else 0
            if message is not None:
                taken.append(message.id)
                state.outbox.delivered(message, "C0:1", now)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(see, states))
        assert states[0].outbox.waiting()["dba"][0] == 20
        list(pool.map(send, states))
    assert len(taken) == len(set(taken)) == 20
    assert states[0].outbox.reference("dba", "drift pg0") == "C0:1"
    states[0].outbox.prune(now + timedelta(seconds=1))
    assert states[0].outbox.history() == []
    for state in states:
        state.close()
