"""`pgvillage serve`: a real process over a real repository, a real PostgreSQL and a real chat end point."""

from __future__ import annotations

import signal
import socket
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
import trustme

from pgvillage.clients.state.state import State
from pgvillage.daemon.actions import Actions, Role, Who
from tests.integration.conftest import EstateMaker
from tests.integration.daemon_process import Daemon, serving
from tests.integration.estate_builder import ROOT, EstateBuilder, cluster, free_policy, user
from tests.servers import stop
from tests.servers.postgres import PostgresServer
from tests.servers.webhook import Webhook, webhook


@pytest.fixture
def chat() -> Iterator[Webhook]:
    with webhook() as found:
        yield found


@pytest.fixture
def estate(pg: PostgresServer, chat: Webhook, estate_of: EstateMaker) -> EstateBuilder:
    made = estate_of(pg)
    made.environment["PLAIN_URL"] = f"http://127.0.0.1:{chat.port}/plain-planted-token"
    made.environment["SLACK_URL"] = f"http://127.0.0.1:{chat.port}/slack-planted-token"
    made.settings["channels"] = {
        "plain": {"service": "webhook", "url": {"env": "PLAIN_URL"}},
        "slack": {"service": "slack", "url": {"env": "SLACK_URL"}},
    }
    made.settings["secrets"] = {"app": {"env": "APP_PASSWORD"}}
    made.environment["APP_PASSWORD"] = "planted-app-password"
    made.documents["estate"] = [free_policy()]
    made.documents["c"] = [cluster("c", pg.host)]
    auth = {"method": "scram", "password": {"secret": "app"}}
    made.documents["users"] = [user("app", auth=auth, connectionLimit=5)]
    made.commit()
    return made


def limit(pg: PostgresServer, role: str = "app") -> int | None:
    found = pg.sql(f"SELECT rolconnlimit FROM pg_roles WHERE rolname = '{role}'")
    return found[0][0] if found else None


def titles(chat: Webhook, path: str = "/plain-planted-token") -> list[str]:
    return [f"{body['event']} {body['state']}" for body in chat.of(path)]


def container_health(daemon: Daemon) -> int:
    """As the Dockerfile asks."""
    port = daemon.address.rpartition(":")[2]
    done = subprocess.run([sys.executable, ROOT / "scripts" / "healthcheck", port], capture_output=True, check=False)
    assert done.stderr == b""
    return done.returncode


def test_a_life_of_the_daemon(pg: PostgresServer, estate: EstateBuilder, chat: Webhook) -> None:
    notify = ["plain", "slack"]
    with serving(estate, notify=notify) as daemon:
        daemon.wait_for("applied")
        assert limit(pg) == 5
        pg.connect("postgres", "app", password="planted-app-password").close()
        assert daemon.get("/healthz") == (200, "ok\n")
        assert daemon.get("/readyz") == (200, "ready\n")
        assert container_health(daemon) == 0
        assert daemon.metric("target_reachable", target="c") == 1
        assert daemon.metric("apply_total", target="c", result="done") == 1
        estate.documents["users"][0]["spec"]["connectionLimit"] = 6
        estate.commit()
        daemon.wait(lambda: limit(pg) == 6, "the new commit, applied")
        daemon.rounds(1)
        assert chat.posts == []  # a merge is no drift
        pg.sql("ALTER ROLE app SUPERUSER")
        daemon.wait(lambda: len(chat.posts) == 2, "drift that was undone, on both channels")
        assert pg.sql("SELECT rolsuper FROM pg_roles WHERE rolname = 'app'") == [(False,)]
        daemon.rounds(3)
        assert daemon.stop() == 0
        _knows_no_secret(daemon)
    _both_forms(chat)
    with serving(estate, notify=notify) as daemon:
        daemon.rounds(3)
        assert daemon.stop() == 0
    assert len(chat.posts) == 2


def _knows_no_secret(daemon: Daemon) -> None:
    assert daemon.said("serving")
    assert daemon.said("stopped")
    assert "planted" not in "".join(daemon.lines)


def _both_forms(chat: Webhook) -> None:
    [undone] = chat.of("/plain-planted-token")
    assert (undone["event"], undone["state"], undone["severity"]) == ("drift", "corrected", "resolved")
    assert "superuser" in undone["lines"][0]
    [slack] = chat.of("/slack-planted-token")
    assert sorted(slack) == ["blocks", "text", "unfurl_links", "unfurl_media"]
    assert "1 change by hand, corrected" in slack["text"]


def test_a_daemon_that_only_reports(pg: PostgresServer, estate: EstateBuilder, chat: Webhook) -> None:
    estate.apply().done()
    with serving(estate, apply=False, notify=["plain"]) as daemon:
        daemon.rounds(1)
        pg.sql("ALTER ROLE app CONNECTION LIMIT 9")
        daemon.wait(lambda: titles(chat) == ["drift opened"], "a report")
        daemon.rounds(3)
        assert limit(pg) == 9
        assert daemon.metric("drift_changes", target="c") == 1
        daemon.stop()
    with serving(estate, apply=False, notify=["plain"]) as daemon:
        daemon.rounds(3)
        assert titles(chat) == ["drift opened"]
        pg.sql("ALTER ROLE app CREATEDB")
        daemon.wait(lambda: titles(chat) == ["drift opened", "drift escalated"], "a report of more drift")
        pg.sql("ALTER ROLE app NOCREATEDB CONNECTION LIMIT 5")
        daemon.wait(lambda: titles(chat) == ["drift opened", "drift escalated", "drift resolved"], "the end of it")
        daemon.rounds(2)
        assert len(chat.posts) == 3
        assert daemon.metric("drift_changes", target="c") == 0


def test_a_message_that_was_refused_is_told_again(pg: PostgresServer, estate: EstateBuilder, chat: Webhook) -> None:
    estate.apply().done()
    chat.refuses = True
    with serving(estate, apply=False, notify=["plain"]) as daemon:
        pg.sql("ALTER ROLE app CONNECTION LIMIT 9")
        # The refusal is counted after the chat has answered.
        failed = partial(daemon.metric, "notify_deliveries_total", channel="plain", result="failed")
        daemon.wait(lambda: chat.refused > 1 and failed() >= 2, "another try")
        chat.refuses = False
        daemon.wait(lambda: titles(chat) == ["drift opened"], "the report")
        daemon.rounds(2)
        assert titles(chat) == ["drift opened"]
        assert daemon.metric("notify_deliveries_total", channel="plain", result="ok") == 1
        assert daemon.said("message not delivered")
        assert "planted" not in "".join(daemon.lines)


def _blocked(pg: PostgresServer) -> bool:
    return pg.sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'") == [(1,)]


@pytest.mark.parametrize("released", [True, False])
def test_stopping_in_the_middle_of_an_apply(pg: PostgresServer, estate: EstateBuilder, released: bool) -> None:
    estate.apply().done()
    with pg.connect() as holder:
        holder.execute("BEGIN")
        holder.execute("ALTER ROLE app CONNECTION LIMIT 77")
        estate.documents["users"][0]["spec"]["connectionLimit"] = 6
        estate.documents["users"].append(user("afresh", connectionLimit=3))
        estate.commit()
        with serving(estate, grace=8 if released else 1) as daemon:
            daemon.wait(lambda: _blocked(pg), "the daemon's statement to wait")
            daemon.process.send_signal(signal.SIGTERM)
            daemon.wait_for("stopping")
            if released:
                holder.execute("ROLLBACK")
            assert daemon.process.wait(6) == 0
        if not released:
            holder.execute("ROLLBACK")
    # all of the transaction, or nothing
    assert (limit(pg), limit(pg, "afresh")) == ((6, 3) if released else (5, None))
    assert pg.sql("SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'pgvillage%'") == [(0,)]
    estate.apply().done()
    estate.settled()


def test_a_port_that_is_in_use_is_one_clear_message(estate: EstateBuilder) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with serving(estate, listen=address) as daemon:
            assert daemon.process.wait(10) == 1
            daemon.close()
            assert daemon.lines == [f"pgvillage: serve.listen: can't listen on {address}: Address already in use\n"]


def test_a_broken_manifest_stops_nothing(pg: PostgresServer, estate: EstateBuilder) -> None:
    with serving(estate) as daemon:
        daemon.wait_for("applied")
        good = estate.documents["users"]
        estate.documents["users"] = [user("app", conectionLimit=7)]
        estate.commit()
        daemon.wait_for("estate not valid")
        assert "did you mean connectionLimit?" in daemon.said("estate not valid")[0]["error"]
        assert daemon.get("/readyz")[0] == daemon.get("/healthz")[0] == 200
        assert daemon.metric("estate_valid") == 0
        estate.documents["users"] = good
        good[0]["spec"]["connectionLimit"] = 8
        estate.commit()
        daemon.wait(lambda: limit(pg) == 8, "the corrected commit")


def test_a_database_that_is_down_is_waited_for(pg: PostgresServer, estate: EstateBuilder, chat: Webhook) -> None:
    with serving(estate, notify=["plain"]) as daemon:
        daemon.wait_for("applied")
        daemon.rounds(1)
        stop(pg.process, signal.SIGINT)
        try:
            daemon.wait(lambda: daemon.metric("target_reachable", target="c") == 0, "the outage to be seen")
            assert daemon.metric("last_observed_timestamp_seconds", target="c") > 0
            daemon.wait_for("not read")
            assert daemon.get("/readyz")[0] == 200
        finally:
            pg.restart()
        daemon.wait(lambda: daemon.metric("target_reachable", target="c") == 1, "the end of the outage")
        pg.sql("ALTER ROLE app CONNECTION LIMIT 9")
        daemon.wait(lambda: limit(pg) == 5, "the correction")
        daemon.wait(lambda: "drift corrected" in titles(chat), "the report of drift")
        seen = [title for title in titles(chat) if title.startswith("unreachable")]
        assert seen in ([], ["unreachable opened", "unreachable resolved"])  # it lasted for three looks, or less


def test_channels_that_the_settings_do_not_have_are_refused(estate: EstateBuilder) -> None:
    with serving(estate, notify=["plain", "nowhere"]) as daemon:
        assert daemon.process.wait(10) == 1
        daemon.close()
        assert "nowhere" in daemon.lines[0]


def test_drift_is_seen_by_a_cheap_look_long_before_the_full_one(pg: PostgresServer, estate: EstateBuilder) -> None:
    estate.apply().done()
    with serving(estate, observe=600, fingerprint=0.3) as daemon:
        daemon.wait(lambda: daemon.looks() >= 1, "the first look")
        pg.sql("ALTER ROLE app CONNECTION LIMIT 9")
        daemon.wait(lambda: limit(pg) == 5, "the correction")
        assert daemon.metric("fingerprint_alarms_total") >= 1
        assert daemon.metric("watch_connections") == 1
        daemon.stop()
    assert any("pg_authid" in entry.get("why", "") for entry in daemon.log)


def test_settings_that_change_go_into_force_and_bad_ones_do_not(pg: PostgresServer, estate: EstateBuilder) -> None:
    estate.apply().done()
    with serving(estate, apply=False) as daemon:
        daemon.rounds(1)
        pg.sql("ALTER ROLE app CONNECTION LIMIT 9")
        daemon.wait(lambda: daemon.metric("drift_changes", target="c") == 1, "drift")
        good = estate.settings_file.read_text()
        estate.settings_file.write_text(good.replace('"apply": false', '"aply": true'))
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_for("settings not taken")
        assert "aply" in daemon.said("settings not taken")[0]["error"]
        daemon.rounds(2)
        assert limit(pg) == 9
        estate.settings_file.write_text(good.replace('"apply": false', '"apply": true, "replica": "another"'))
        daemon.wait(lambda: limit(pg) == 5, "the correction by the new settings, without a signal")
        assert daemon.said("settings read again")[0]["needs_restart"] == "serve.replica"
        assert daemon.metric("settings_reloads_total", result="refused") == 1
        assert daemon.stop() == 0


def test_people_suspend_and_approve_through_the_state(pg: PostgresServer, estate: EstateBuilder) -> None:
    strict = {"count": 0, "share": "0%"}
    estate.documents["estate"][0]["spec"]["policy"]["limits"]["revoke"] = strict
    estate.commit()
    estate.apply().done()
    who = Who("ann", Role.ADMIN)
    with serving(estate, observe=1) as daemon:
        daemon.rounds(1)
        state = State.in_file(estate.folder / "state" / "state.db")
        actions = Actions(state, lambda: datetime.now(UTC), lambda _: None)
        actions.suspend("c", "a migration", None, who)
        daemon.wait_for("suspended")
        assert pg.sql("SELECT suspended_by, suspended_reason FROM pgvillage.target") == [("ann", "a migration")]
        pg.sql("ALTER ROLE app CONNECTION LIMIT 9")
        daemon.wait(lambda: (found := state.statuses.get("c")) and found.drift, "drift in the state")
        daemon.rounds(2)
        assert limit(pg) == 9
        actions.resume("c", who)
        daemon.wait(lambda: limit(pg) == 5, "the correction")
        assert pg.sql("SELECT suspended_by FROM pgvillage.target") == [(None,)]
        estate.documents["users"][0]["spec"]["login"] = False
        estate.commit()
        daemon.wait(lambda: (found := state.statuses.get("c")) and found.blocked, "a closed gate")
        status = state.statuses.get("c")
        assert status is not None
        actions.approve("c", status.digest, "meant", who)
        daemon.wait(lambda: pg.sql("SELECT rolcanlogin FROM pg_roles WHERE rolname = 'app'") == [(False,)], "the apply")
        daemon.wait(lambda: state.history.runs("c")[0].outcome == "done", "the end of the run")
        assert state.history.runs("c")[0].approved_by == "ann"
        reasons = [event.reason for event in reversed(state.events.newest("c"))]
        state.close()
        assert daemon.stop() == 0
    for reason in ("Suspended", "DriftFound", "Resumed", "DriftCorrected", "Blocked", "Approve", "Applied"):
        assert reason in reasons, reasons


def test_a_log_of_text_and_https(tmp_path: Path, estate: EstateBuilder) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    issued.private_key_pem.write_to_path(tmp_path / "key.pem")
    tls = {"cert": str(tmp_path / "cert.pem"), "key": str(tmp_path / "key.pem")}
    context = ssl.create_default_context()
    authority.configure_trust(context)
    with serving(estate, logs="text", tls=tls, replica="one") as daemon:
        daemon.wait(lambda: any(" planned " in line for line in daemon.lines), "a look")
        with urllib.request.urlopen(f"https://{daemon.address}/healthz", context=context, timeout=5) as answer:
            assert answer.status == 200
        assert container_health(daemon) == 0
        assert daemon.stop() == 0
        assert container_health(daemon) == 1
        assert all("replica=one" in line for line in daemon.lines), daemon.lines
