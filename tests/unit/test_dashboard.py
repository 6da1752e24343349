"""What the dashboard decides without a server: who is meant, who may, what is shown first."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from pgvillage.clients.state.state import State
from pgvillage.core.history import Event
from pgvillage.core.password_hash import fits, hash_password, is_password_hash
from pgvillage.core.status import Health, Ready, Suspension, Sync, TargetStatus
from pgvillage.daemon.dashboard.changes import adopt_command, change_row, ignore_snippet
from pgvillage.daemon.dashboard.conditions import Wanted, judge, rows_of
from pgvillage.daemon.dashboard.live import as_text, last_seen
from pgvillage.daemon.dashboard.reconciler import settings_text
from pgvillage.daemon.limits import Limiter, network_of
from pgvillage.daemon.origin import client_address, host_is_ours, safe_next, same_origin
from pgvillage.settings import Serve, Settings

NOW = datetime(2026, 5, 6, 3, 0, tzinfo=UTC)
GOOD = TargetStatus(
    "a", ready=Ready.READY, sync=Sync.SYNCED, health=Health.HEALTHY, observed_at=NOW, fresh_until=NOW + timedelta(1)
)


def status(**facts: object) -> TargetStatus:
    from dataclasses import replace

    return replace(GOOD, **facts)


@pytest.mark.parametrize(
    ("facts", "word"),
    [
        ({}, "synced"),
        ({"fresh_until": NOW}, "stale"),
        ({"fresh_until": NOW, "error": "no route"}, "unreachable"),
        ({"fresh_until": NOW, "observed_at": None}, "unknown"),
        ({"sync": Sync.DRIFTED, "drift": 1}, "drifted"),
        ({"sync": Sync.DRIFTED, "drift": 0, "pending": 2}, "pending"),
        ({"sync": Sync.DRIFTED, "drift": 1, "pending": 2}, "drifted"),
        ({"sync": Sync.UNKNOWN}, "unknown"),
        ({"ready": Ready.STALLED}, "stalled"),
        ({"ready": Ready.STALLED, "blocked": ("limit-drop",)}, "blocked"),
        ({"health": Health.DEGRADED, "sync": Sync.DRIFTED, "drift": 1}, "degraded"),
        ({"ready": Ready.RECONCILING}, "reconciling"),
        ({"sync": Sync.DRIFTED, "drift": 1, "suspension": Suspension("d", "r", NOW)}, "suspended"),
        ({"health": Health.DEGRADED, "suspension": Suspension("d", "r", NOW)}, "degraded"),
        ({"suspension": Suspension("d", "r", NOW, NOW)}, "synced"),
    ],
)
def test_the_worst_condition_is_the_word(facts: dict[str, object], word: str) -> None:
    assert judge(status(**facts), NOW).word == word


def test_what_is_not_fresh_never_reads_synced_or_drifted() -> None:
    for sync in Sync:
        assert not {"synced", "drifted"} & judge(status(sync=sync, drift=1, fresh_until=NOW), NOW).all


def test_rows_come_worst_first_and_the_oldest_drift_before_the_younger() -> None:
    young = status(target="b", sync=Sync.DRIFTED, drift=1, drift_since=NOW - timedelta(1))
    old = status(target="c", sync=Sync.DRIFTED, drift=1, drift_since=NOW - timedelta(9))
    lost = status(target="z", error="gone", fresh_until=NOW)
    assert [each.target for each, _ in rows_of([GOOD, young, old, lost], NOW)] == ["z", "c", "b", "a"]


def test_a_filter_takes_text_labels_and_conditions_together() -> None:
    found = status(target="shop-1", labels={"env": "prod"}, sync=Sync.DRIFTED, drift=1)
    verdict = judge(found, NOW)
    assert Wanted("SHOP drifted", ("env=prod",), "trouble").admits(found, verdict)
    assert Wanted(labels=("env",)).admits(found, verdict)
    assert not Wanted("shop crm").admits(found, verdict)
    assert not Wanted(labels=("env=dev",)).admits(found, verdict)
    assert not Wanted(condition="synced").admits(found, verdict)


@pytest.mark.parametrize(
    ("serve", "host", "ours"),
    [
        ({}, "127.0.0.1:8432", True),
        ({}, "localhost:9", True),
        ({}, "[::1]:8432", True),
        ({}, "evil.example", False),
        ({}, "10.0.0.7:8432", False),
        ({}, "", False),
        ({}, "[::1", False),
        ({}, "127.0.0.1.evil.example", False),
        ({"url": "https://pg.corp.example/"}, "PG.corp.example", True),
        ({"url": "https://pg.corp.example/"}, "evil.example", False),
        ({"listen": "0.0.0.0:8432"}, "10.0.0.7:8432", True),
        ({"listen": "0.0.0.0:8432"}, "evil.example:8432", False),
        ({"listen": "10.0.0.7:8432"}, "10.0.0.7:8432", True),
        ({"listen": "10.0.0.7:8432"}, "10.0.0.8:8432", False),
    ],
)
def test_only_our_own_hosts_are_answered(serve: dict[str, str], host: str, ours: bool) -> None:
    assert host_is_ours(host, Serve.model_validate(serve)) is ours


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("203.0.113.9", ["10.9.9.9"], "203.0.113.9"),  # not a proxy of ours: it may say what it likes
        ("10.0.0.1", ["203.0.113.9"], "203.0.113.9"),
        ("10.0.0.1", ["1.1.1.1, 203.0.113.9"], "203.0.113.9"),  # what the browser wrote itself is left of it
        ("10.0.0.1", ["203.0.113.9, 10.0.0.2"], "203.0.113.9"),
        ("10.0.0.1", ["nonsense"], "10.0.0.1"),
        ("10.0.0.1", [], "10.0.0.1"),
    ],
)
def test_forwarded_addresses_count_from_trusted_proxies_alone(peer: str, forwarded: list[str], address: str) -> None:
    assert client_address(peer, forwarded, ["10.0.0.0/24"]) == address


@pytest.mark.parametrize(
    ("headers", "ours"),
    [
        ({"sec-fetch-site": "same-origin", "origin": "null"}, True),
        ({"sec-fetch-site": "cross-site"}, False),
        ({"sec-fetch-site": "same-site"}, False),
        ({"origin": "http://127.0.0.1:8432", "host": "127.0.0.1:8432"}, True),
        ({"origin": "https://evil.example", "host": "127.0.0.1:8432"}, False),
        ({"origin": "http://[", "host": "127.0.0.1:8432"}, False),
        ({}, True),
    ],
)
def test_forms_of_other_sites_are_known_by_their_headers(headers: dict[str, str], ours: bool) -> None:
    assert same_origin(headers) is ours


@pytest.mark.parametrize(
    "text", ["https://evil.example", "//evil.example", "/\\evil.example", "javascript:alert(1)", "/a\nb", "", "/" * 3]
)
def test_after_signing_in_nobody_is_sent_elsewhere(text: str) -> None:
    assert safe_next(text) == "/"
    assert safe_next("/clusters/a?x=1") == "/clusters/a?x=1"


def test_tries_are_counted_in_windows_and_memory_is_bounded() -> None:
    now = [0.0]
    limiter = Limiter(2, 60, lambda: now[0], keys=100)
    for _ in range(2):
        assert limiter.wait("a") == 0
        limiter.count("a")
    assert limiter.wait("a") == 60
    assert limiter.wait("b") == 0
    now[0] = 61
    assert limiter.wait("a") == 0
    for number in range(1_000):
        limiter.count(str(number))
    assert len(limiter) == 100


def test_an_ipv6_customer_counts_as_one() -> None:
    assert network_of("2001:db8:1:2:3::4") == network_of("2001:db8:1:2:ffff::1")
    assert network_of("10.0.0.1") != network_of("10.0.0.2")


def test_password_hashes_fit_their_password_alone() -> None:
    made = hash_password("correct horse")
    assert made != hash_password("correct horse")
    assert fits("correct horse", made)
    assert not fits("correct hors", made)
    assert is_password_hash(made + "\n")
    for broken in ("", "correct horse", made[:-9], made.replace("ln=15", "ln=31"), made.replace("scrypt", "md5")):
        assert not fits("correct horse", broken)


def test_sessions_end_by_silence_by_age_and_by_sign_out(tmp_path: Path) -> None:
    state = State.in_file(tmp_path / "state.db")
    sessions = state.sessions
    secret = sessions.open("dana", "admin", NOW, 3600)
    assert secret.encode() not in (tmp_path / "state.db").read_bytes() + (tmp_path / "state.db-wal").read_bytes()
    found = sessions.find(secret, NOW, 600)
    assert found is not None
    assert (found.who, found.role) == ("dana", "admin")
    assert sessions.find("x" + secret, NOW, 600) is None
    for minutes in range(5, 60, 5):  # each request puts the end by silence off, and never the last end
        assert sessions.find(secret, NOW + timedelta(minutes=minutes), 600) is not None
    assert sessions.find(secret, NOW + timedelta(minutes=60), 600) is None
    other = sessions.open("dana", "admin", NOW, 3600)
    assert sessions.find(other, NOW + timedelta(minutes=10), 600) is None
    third = sessions.open("dana", "admin", NOW, 3600)
    assert sessions.take(third, NOW, 600) is not None
    assert sessions.take(third, NOW, 600) is None
    state.close()


def test_a_message_can_not_pretend_to_be_another_event() -> None:
    text = as_text(Event(NOW, "a", "R", "one\n\nevent: reload\ndata: {}\n", id=7))
    assert text.startswith("id: 7\nevent: news\ndata: {")
    assert text.count("\n") == 4
    assert [last_seen(*pair) for pair in (("12", "3"), (None, "3"), ("x", "y"), (None, None), ("9" * 30, None))] == [
        12, 3, None, None, None,
    ]  # fmt: skip


def test_a_change_of_a_stored_plan_trusts_nothing() -> None:
    row = change_row({"address": "no address", "actions": ["explode"], "risk": "??", "before": 3, "source": "x"})
    assert (row.title, row.action, row.risk, row.fields, row.source) == ("no address", "update", "change", (), "")
    row = change_row(
        {
            "address": "a/role/etl",
            "actions": ["update"],
            "before": {"n": 1, "same": 2},
            "after": {"n": 2, "same": 2},
            "sensitive_changed": ["password"],
        }
    )
    shown = [(f.name, f.before, f.after) for f in row.fields]
    assert shown == [("n", "1", "2"), ("password", "secret", "another secret")]


def test_what_is_pasted_is_whole_whatever_the_name() -> None:
    address = 'a/role/"it\'s \\"odd\\": *"'
    found = yaml.safe_load(ignore_snippet(address, date(2026, 5, 6)))
    assert found["policy"]["ignore"][0]["addresses"] == [address]
    import shlex

    assert shlex.split(adopt_command(address)) == ["pgvillage", "adopt", address]


def test_settings_are_shown_without_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "hunter3")
    settings = Settings.model_validate(
        {
            "repository": {"url": "https://bob:hunter2@git.example/e.git", "token": {"env": "TOKEN"}},
            "channels": {"dba": {"service": "slack", "url": {"command": ["pass", "hunter4"]}}},
        }
    )
    text = settings_text(settings)
    assert "hunter" not in text
    assert "from env TOKEN" in text
    assert "https://git.example/e.git" in text
