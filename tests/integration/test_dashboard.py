"""The dashboard in a real browser: every page, by mouse, keyboard and phone, and by people who mean no good."""

from __future__ import annotations

import asyncio
import http.client
import json
import re
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, Response, expect, sync_playwright

from pgvillage.core.history import Event
from pgvillage.core.status import TargetStatus
from pgvillage.daemon.dashboard import access, guard
from pgvillage.daemon.dashboard.access import asked_live
from pgvillage.wiring import real_world
from tests.dashboard_estate import BLOCKED, REVISIONS, digest_of, fill
from tests.integration.conftest import EstateMaker
from tests.integration.estate_builder import cluster
from tests.servers import wait_until
from tests.servers.dashboard import PASSWORD, Served, dashboard
from tests.servers.oidc import CLIENT, SECRET, Provider, oidc_provider
from tests.servers.postgres import PostgresServer

PLAN = f"/plans/{digest_of(4)}/{BLOCKED}"
NAME = "<script>window.hurt=1</script>"
PAGES = ("/", f"/clusters/{BLOCKED}", "/clusters/search-013", "/drifts", PLAN, "/revisions",
         f"/revisions/{REVISIONS[0]}", "/access", "/reconciler", "/sign-in")  # fmt: skip

expect.set_options(timeout=30_000)  # CI is slow at times


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = shutil.which("chromium")
    assert program, "chromium is missing: scripts/test installs it"
    with sync_playwright() as started:
        found = started.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One estate of 1,000 clusters; tests of approvals and the like take one of their own."""

    async def nobody(target: str, privilege: str, name: str) -> Any:
        raise AssertionError((target, privilege, name))

    with dashboard(tmp_path_factory.mktemp("dashboard"), ask_access=nobody) as found:
        fill(found.state, datetime.now(UTC))
        yield found


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A part of it, which is only looked at."""
    with dashboard(tmp_path_factory.mktemp("few")) as found:
        fill(found.state, datetime.now(UTC), count=140)
        yield found


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Served]:
    with dashboard(tmp_path) as found:
        fill(found.state, datetime.now(UTC), count=60)
        yield found


@contextmanager
def visiting(browser: Browser, **how: Any) -> Iterator[Page]:
    """A page of a browser of its own; anything that the console has to complain about is a failure."""
    context = browser.new_context(**how)
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda m: said.append(f"{m.type}: {m.text}") if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    try:
        yield page
        assert page.evaluate("window.hurt") is None
        assert said == []
    finally:
        context.close()


def sign_in(page: Page, served: Served, name: str) -> None:
    page.goto(served.url + "/sign-in")
    page.fill("#name", name)
    page.fill("#password", PASSWORD)
    page.click(".signin button")
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()


def test_every_page_renders_in_light_dark_and_on_a_phone(browser: Browser, served: Served) -> None:
    grounds = {}
    for scheme, width in (("light", 1280), ("dark", 1280), ("light", 360)):
        with visiting(browser, color_scheme=scheme, viewport={"width": width, "height": 740}) as page:
            if width == 360:
                sign_in(page, served, "admin")
            for path in PAGES:
                answer = page.goto(served.url + path)
                assert answer is not None
                assert answer.status == 200, path
                assert page.locator("h1").count() == 1, path
                assert page.evaluate("document.documentElement.scrollWidth") <= width, path
            grounds[scheme] = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert grounds["light"] != grounds["dark"]


def test_a_thousand_clusters_are_filtered_where_they_stand(browser: Browser, served: Served) -> None:
    with visiting(browser) as page:
        asked: list[str] = []
        page.goto(served.url)
        page.on("request", lambda r: asked.append(r.url) if r.resource_type in ("document", "fetch", "xhr") else None)
        rows = page.locator(".row:not([hidden])")
        assert rows.count() == 1_000
        assert rows.first.get_attribute("data-target") == BLOCKED
        page.fill("#q", "shop-01 payments")
        assert rows.count() == 10
        page.fill("#q", "")
        page.get_by_role("link", name=re.compile("^Unreachable")).click()
        assert [row.get_attribute("data-target") for row in rows.all()] == ["billing-002", "geo-040"]
        page.get_by_role("link", name=re.compile("^All")).click()
        page.select_option("#label", "env=dev")
        assert rows.count() == 250
        assert page.url.endswith("/?label=env%3Ddev")
        assert asked == []
        page.reload()
        assert rows.count() == 250


def test_it_is_read_and_signed_in_to_without_scripts(browser: Browser, few: Served) -> None:
    with visiting(browser, java_script_enabled=False) as page:
        page.goto(few.url)
        page.fill("#q", "search-013")
        page.get_by_role("button", name="Filter").click()
        assert page.locator(".row:not([hidden])").count() == 1
        page.get_by_role("link", name="search-013").click()
        expect(page.locator("h1")).to_contain_text("Degraded")
        sign_in(page, few, "viewer")


def test_the_theme_is_changed_and_remembered(browser: Browser, few: Served) -> None:
    with visiting(browser, color_scheme="light") as page:
        page.goto(few.url + "/reconciler")
        light = page.evaluate("getComputedStyle(document.body).backgroundColor")
        page.get_by_role("button", name="Change between light and dark").click()
        page.goto(few.url + "/revisions")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") != light


def test_somebody_approves_by_keyboard_alone(browser: Browser, small: Served) -> None:
    def tab_to(field: Locator) -> None:
        expect(field).to_be_visible()
        for _ in range(60):
            page.keyboard.press("Tab")
            if field.evaluate("field => field === document.activeElement"):
                return
        raise AssertionError("the keyboard does not get there")

    with visiting(browser) as page:
        keys = page.keyboard
        page.goto(small.url + "/sign-in?next=/")
        keys.type("approver")
        keys.press("Tab")
        keys.type(PASSWORD)
        keys.press("Enter")
        expect(page.locator("#rows")).to_be_visible()
        keys.press("j")
        keys.press("Enter")
        expect(page.locator("h1")).to_contain_text(BLOCKED)
        tab_to(page.get_by_role("link", name="Look at the plan"))
        keys.press("Enter")
        tab_to(page.locator("#comment"))
        keys.type("seen with Dana")
        keys.press("Tab")
        keys.press("Enter")
        expect(page.get_by_role("status").first).to_contain_text("Approved")
    (approval,) = small.state.decisions.approvals(BLOCKED, datetime.now(UTC))
    assert (approval.by, approval.comment, approval.digest) == ("approver", "seen with Dana", digest_of(4))
    assert small.woken == [BLOCKED]
    newest = small.state.decisions.audits()[0]
    assert (newest.who, newest.action) == ("approver", "approve")


def test_shortcuts_and_their_help(browser: Browser, few: Served) -> None:
    with visiting(browser) as page:
        page.goto(few.url)
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        page.keyboard.press("?")
        expect(page.get_by_role("dialog", name="Keyboard")).to_be_visible()
        page.keyboard.press("Escape")
        page.keyboard.press("/")
        assert page.evaluate("document.activeElement.id") == "q"
        page.keyboard.press("Escape")
        page.keyboard.press("g")
        page.keyboard.press("d")
        page.wait_for_url(few.url + "/drifts")


def test_an_admin_suspends_and_resumes(browser: Browser, small: Served) -> None:
    with visiting(browser) as page:
        sign_in(page, small, "admin")
        page.goto(f"{small.url}/clusters/{BLOCKED}")
        page.locator("summary", has_text="Suspend").click()
        page.fill("#reason", "moving <disks>")
        page.select_option("#hours", "4")
        page.get_by_role("button", name="Suspend", exact=True).click()
        expect(page.locator("#live")).to_contain_text("Suspended by admin")
        expect(page.locator("#live")).to_contain_text("moving <disks>")
        page.get_by_role("button", name="Resume").click()
        expect(page.get_by_role("status").first).to_contain_text("Resumed")
    assert BLOCKED not in small.state.decisions.suspensions()


def test_news_arrive_by_themselves(browser: Browser, small: Served) -> None:
    with visiting(browser) as page, visiting(browser) as other:
        page.goto(small.url)
        other.goto(f"{small.url}/clusters/{BLOCKED}")
        expect(page.locator("#live-state")).to_be_visible()
        expect(other.locator("#live-state")).to_be_visible()
        row = page.locator(f"#t-{BLOCKED}")
        expect(row).to_contain_text("Blocked")
        from dataclasses import replace

        status = small.state.statuses.get(BLOCKED)
        assert status is not None
        better = {"blocked": (), "reasons": (), "ready": "Ready", "sync": "Synced", "drift": 0, "pending": 0}
        small.state.statuses.put(replace(status, **better, changes=0))
        small.state.events.add(Event(datetime.now(UTC), BLOCKED, "Applied", "<b>7 changes</b>"))
        expect(row).to_contain_text("Synced", timeout=15_000)
        expect(other.locator("[data-log] li").first).to_contain_text("<b>7 changes</b>", timeout=15_000)
        expect(other.locator("h1")).to_contain_text("Synced", timeout=15_000)


def test_the_feed_goes_on_where_a_client_was(small: Served) -> None:
    last = small.state.events.last()
    for number in range(3):
        small.state.events.add(Event(datetime.now(UTC), "a", "R", f"news {number}"))
    assert feed(small, {"last-event-id": str(last + 1)}, 2) == ["news 1", "news 2"]
    assert feed(small, {}, 3, f"?after={last}") == ["news 0", "news 1", "news 2"]
    assert feed(small, {"last-event-id": "99999999"}, 1) == ["(reload)"]  # of another database


def feed(served: Served, headers: dict[str, str], count: int, query: str = "") -> list[str]:
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=20)
    connection.request("GET", "/live" + query, headers=headers)
    answer = connection.getresponse()
    assert answer.headers["content-type"].startswith("text/event-stream")
    found: list[str] = []
    while len(found) < count:
        line = answer.readline().decode()
        if line.startswith("data: "):
            found.append(json.loads(line[6:]).get("message", "(reload)"))
    answer.close()
    connection.close()
    return found


def test_a_slow_client_is_dropped_and_nobody_waits_for_it(small: Served) -> None:
    slow = socket.create_connection(("127.0.0.1", small.port))
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    slow.sendall(f"GET /live HTTP/1.1\r\nHost: 127.0.0.1:{small.port}\r\n\r\n".encode())
    wait_until(lambda: len(small.board.feed) == 1, "the slow client")
    last = small.state.events.last()
    with small.state.engine.begin() as connection:
        from pgvillage.clients.state.tables import event

        rows = [{"at": datetime.now(UTC), "target": "a", "reason": "R", "message": "x" * 60_000, "severity": "info",
                 "revision": ""} for _ in range(400)]  # fmt: skip
        connection.execute(event.insert(), rows)
    wait_until(lambda: len(small.board.feed) == 0, "the slow client's end")
    small.state.events.add(Event(datetime.now(UTC), "a", "R", "after it"))
    assert feed(small, {"last-event-id": str(last + 400)}, 1) == ["after it"]
    slow.close()


# What an outsider tries.


class Caller:
    """A program in place of a browser, which says and keeps what it likes."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self.cookies: dict[str, str] = {}

    def ask(
        self, method: str, path: str, form: dict[str, str] | None = None, **headers: str
    ) -> tuple[int, str, dict[str, str]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.served.port, timeout=30)
        sent = {"cookie": "; ".join(f"{n}={v}" for n, v in self.cookies.items())} if self.cookies else {}
        if form is not None:
            sent["content-type"] = "application/x-www-form-urlencoded"
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, urlencode(form) if form is not None else None, sent)
        answer = connection.getresponse()
        for name, value in answer.getheaders():
            if name == "set-cookie":
                key, _, rest = value.partition("=")
                self.cookies[key] = rest.partition(";")[0].strip('"')
        found = answer.status, answer.read().decode(), {n.lower(): v for n, v in answer.getheaders()}
        connection.close()
        return found

    def sign_in(self, name: str, password: str = PASSWORD, **headers: str) -> tuple[int, str, dict[str, str]]:
        _, page, _ = self.ask("GET", "/sign-in")
        token = re.search(r'name="token" value="([^"]+)"', page)
        assert token
        form = {"token": token[1], "name": name, "password": password, "next": "/drifts"}
        return self.ask("POST", "/sign-in", form, **headers)

    def csrf(self) -> str:
        found = re.search(r'name="csrf" value="([^"]+)"', self.ask("GET", "/reconciler")[1])
        assert found
        return found[1]


APPROVAL = {"target": BLOCKED, "digest": digest_of(4), "comment": ""}


def test_the_headers_bind_the_browser(few: Served) -> None:
    for path in ("/", "/nowhere", "/static/x/app.css", "/static/x/none.css"):
        _, _, headers = Caller(few).ask("GET", path)
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self';")
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert "strict-transport-security" not in headers
    assert Caller(few).ask("GET", "/")[2]["cache-control"] == "no-store"


def test_over_https_the_cookie_is_the_host_s_alone(tmp_path: Path) -> None:
    with dashboard(tmp_path, serve={"url": "https://pg.example"}) as found:
        caller = Caller(found)
        status, _, headers = caller.sign_in("admin", host="pg.example")
        assert status == 303
        assert "max-age=31536000" in headers["strict-transport-security"]
        assert "__Host-pgvillage-session" in caller.cookies
        caller.cookies.clear()
        connection = http.client.HTTPConnection("127.0.0.1", found.port, timeout=30)
        connection.request("GET", "/sign-in")
        cookie = connection.getresponse().headers["set-cookie"]
        connection.close()
        assert all(word in cookie for word in ("__Host-", "HttpOnly", "Secure", "SameSite=lax", "Path=/"))


def test_nobody_passes_the_door_where_looking_is_not_public(tmp_path: Path) -> None:
    with dashboard(tmp_path, public=False) as found:
        caller = Caller(found)
        for path in (*PAGES[:-1], "/rows", "/live"):
            status, _, headers = caller.ask("GET", path)
            assert (status, headers["location"][:8]) == (303, "/sign-in"), path
        assert caller.sign_in("viewer")[0] == 303
        assert caller.ask("GET", "/")[0] == 200


def test_a_name_that_is_not_ours_is_refused(few: Served) -> None:
    assert Caller(few).ask("GET", "/", host="evil.example")[0] == 421
    assert Caller(few).ask("GET", "/", host="evil.example", x_forwarded_host="localhost")[0] == 421
    assert Caller(few).ask("GET", "/", host="localhost")[0] == 200


def test_a_viewer_may_not_approve_and_is_told_so(browser: Browser, small: Served) -> None:
    caller = Caller(small)
    caller.sign_in("viewer")
    for path in ("/do/approve", "/do/reconcile", "/do/suspend", "/do/resume", "/do/correct"):
        status, page, _ = caller.ask("POST", path, {**APPROVAL, "csrf": caller.csrf(), "reason": "r"})
        assert status == 403, path
        assert "viewer is viewer; this needs" in page
    assert small.state.decisions.approvals(BLOCKED, datetime.now(UTC)) == []
    assert small.woken == []
    with visiting(browser) as page_:
        sign_in(page_, small, "viewer")
        page_.goto(small.url + PLAN)
        expect(page_.locator("main")).to_contain_text("You are viewer: an approver is needed")


def test_a_form_that_is_not_ours_does_nothing(small: Served) -> None:
    caller = Caller(small)
    caller.sign_in("admin")
    good = {**APPROVAL, "csrf": caller.csrf()}
    assert caller.ask("POST", "/do/approve", APPROVAL)[0] == 403
    assert caller.ask("POST", "/do/approve", {**good, "csrf": "x" * 43})[0] == 403
    assert caller.ask("POST", "/do/approve", good, origin="https://evil.example")[0] == 403
    assert caller.ask("POST", "/do/approve", good, sec_fetch_site="cross-site")[0] == 403
    assert caller.ask("GET", "/do/approve?" + urlencode(good))[0] == 405
    assert caller.ask("POST", "/do/approve", good, content_type="text/plain")[0] == 415
    assert Caller(small).ask("POST", "/do/approve", good)[0] == 401
    other = Caller(small)
    other.sign_in("approver")
    assert other.ask("POST", "/do/approve", good)[0] == 403  # another session's token
    assert small.state.decisions.approvals(BLOCKED, datetime.now(UTC)) == []
    stale = caller.ask("POST", "/do/approve", {**good, "digest": digest_of(5)})
    assert stale[0] == 409
    assert "another plan by now" in stale[1]
    assert caller.ask("POST", "/do/approve", good, sec_fetch_site="same-origin")[0] == 303


def test_sessions_are_new_at_sign_in_and_over_at_sign_out(small: Served) -> None:
    caller = Caller(small)
    caller.cookies["pgvillage-session"] = "planted" * 6
    assert caller.sign_in("admin")[2]["location"] == "/drifts"
    first = caller.cookies["pgvillage-session"]
    assert first != "planted" * 6
    assert caller.sign_in("approver")[0] == 303
    second = caller.cookies["pgvillage-session"]
    assert second != first
    old = Caller(small)
    old.cookies["pgvillage-session"] = first
    assert "Sign out" not in old.ask("GET", "/")[1]  # it ended when its browser signed in anew
    assert caller.ask("POST", "/sign-out", {"csrf": caller.csrf()})[0] == 303
    caller.cookies["pgvillage-session"] = second
    assert "Sign out" not in caller.ask("GET", "/")[1]
    assert [e.action for e in small.state.decisions.audits()][:3] == ["sign out", "sign in", "sign in"]


def test_guessing_is_slow_and_tells_nothing(small: Served) -> None:
    caller = Caller(small)
    wrong, nobody = caller.sign_in("admin", "wrong"), caller.sign_in("nobody", "wrong")
    assert wrong[0] == nobody[0] == 403
    assert re.sub('value="[^"]*"', "", wrong[1]) == re.sub('value="[^"]*"', "", nobody[1])
    statuses = [caller.sign_in("admin", "wrong", x_forwarded_for=f"203.0.113.{n}")[0] for n in range(10)]
    assert statuses == [403] * 9 + [429]
    assert caller.sign_in("admin")[0] == 429  # the right password too
    assert caller.sign_in("viewer")[0] == 303


def test_no_path_leads_out_of_the_static_files(few: Served) -> None:
    caller = Caller(few)
    for path in ("../app.py", "..%2f..%2frender.py", "%2e%2e/%2e%2e/guard.py", "/etc/passwd", "icons/../../board.py",
                 "....//board.py", "app.css%00.js", "", "icons", "__init__.py"):  # fmt: skip
        status, page, _ = caller.ask("GET", "/static/x/" + path)
        assert status == 404, path
        assert "import" not in page
    assert caller.ask("GET", "/static/x/app.css")[0] == 200


def test_too_much_and_too_slow_are_refused(small: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    caller = Caller(small)
    caller.sign_in("admin")
    huge = {"csrf": caller.csrf(), "reason": "x" * 300_000, "target": BLOCKED}
    assert caller.ask("POST", "/do/suspend", huge)[0] == 413
    assert caller.ask("POST", "/do/suspend", {"csrf": caller.csrf(), **{f"f{n}": "" for n in range(99)}})[0] == 400
    assert caller.ask("GET", "/?q=" + "x" * 20_000)[0] == 200
    monkeypatch.setattr(guard, "_BODY_SECONDS", 0.3)
    with socket.create_connection(("127.0.0.1", small.port), timeout=20) as slow:
        slow.sendall(
            f"POST /do/suspend HTTP/1.1\r\nHost: 127.0.0.1:{small.port}\r\nContent-Length: 100\r\n"
            f"Cookie: pgvillage-session={caller.cookies['pgvillage-session']}\r\n"
            "Content-Type: application/x-www-form-urlencoded\r\n\r\nreason=".encode()
        )
        assert b" 408 " in slow.recv(4096).split(b"\r\n")[0]
    assert small.state.decisions.suspensions().keys() <= {"crm-021"}


def test_script_in_names_is_text(browser: Browser, few: Served) -> None:
    with visiting(browser) as page:
        sign_in(page, few, "admin")
        for path in ("/drifts", PLAN, "/revisions", f"/clusters/{BLOCKED}", "/?q=%3Cscript%3Ealert(1)%3C/script%3E"):
            page.goto(few.url + path)
            assert page.locator("main script, main img").count() == 0, path
        page.goto(few.url + PLAN)
        expect(page.locator("#changes + ol")).to_contain_text("<script>alert(1)</script>")
        expect(page.locator("#changes + ol")).to_contain_text("{{7*7}}")
        text = page.locator("main").inner_text()
        assert "\u202e" not in text
        assert "\\u202e" in text


def test_strange_addresses_are_not_found_and_nothing_breaks(few: Served) -> None:
    caller = Caller(few)
    for path in ("/clusters/none", "/clusters/%3Cscript%3E", "/clusters/%00", "/clusters/%ff", "/plans/x/y",
                 f"/plans/{'0' * 64}/{BLOCKED}", f"/plans/%25%25%25%25%25%25%25%25%25%25%25%25/{BLOCKED}",
                 "/revisions/%27", "/nowhere", "/do/nothing"):  # fmt: skip
        assert caller.ask("GET", path)[0] == 404, path
    for path in (
        "/drifts?page=-1",
        "/drifts?page=9999999999999",
        "/drifts?page=%C2%B2",
        "/?is=nothing",
        "/live?after=x",
    ):
        if not path.startswith("/live"):
            assert caller.ask("GET", path)[0] == 200, path


def test_settings_and_audit_are_for_people_who_signed_in(few: Served) -> None:
    caller = Caller(few)
    assert "git.example" not in caller.ask("GET", "/reconciler")[1]
    caller.sign_in("viewer")
    page = caller.ask("GET", "/reconciler")[1]
    assert "git.example" in page
    assert "hunter2" not in page
    assert "scrypt" not in page


def test_who_can_is_asked_live_of_one_cluster(browser: Browser, pg: PostgresServer, estate_of: EstateMaker) -> None:
    estate = estate_of(pg)
    estate.documents = {"a": [cluster("shop", pg.host, databases=[{"name": "orders"}])]}
    estate.commit()
    estate.settings_file.write_text(json.dumps(estate.settings))
    pg.sql("CREATE DATABASE orders", "CREATE ROLE readers", f'CREATE ROLE "{NAME}" LOGIN IN ROLE readers')
    pg.sql("CREATE TABLE customers ()", "GRANT SELECT ON customers TO readers", database="orders")
    ask = asked_live(real_world(estate.settings_file))
    with dashboard(estate.folder, ask_access=ask) as served, visiting(browser) as page:
        served.state.statuses.put(TargetStatus("shop"))
        page.goto(served.url + "/access")
        expect(page.locator("h1")).to_have_text("Sign in")
        page.fill("#name", "viewer")
        page.fill("#password", PASSWORD)
        page.keyboard.press("Enter")
        page.fill("#object", "orders.public.customers")
        page.select_option("#privilege", "SELECT")
        page.fill("#target", "shop")
        page.keyboard.press("Enter")
        way = page.locator(".ways li", has_text="readers")
        expect(way.first).to_contain_text(NAME)
        caller, there = Caller(served), "/access?target=shop&privilege=SELECT&object=orders.public."
        caller.sign_in("viewer")
        status, answer, _ = caller.ask("GET", there + "custmers")
        assert status == 400
        assert "did you mean customers" in answer
        for _ in range(20):
            served.board.questions.count("viewer")
        assert caller.ask("GET", there + "customers")[0] == 429


def test_a_cluster_that_does_not_answer_keeps_nobody_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(target: str, privilege: str, name: str) -> Any:
        await asyncio.Event().wait()

    monkeypatch.setattr(access, "_SECONDS", 0.2)
    with dashboard(tmp_path, ask_access=never) as served:
        caller = Caller(served)
        caller.sign_in("viewer")
        status, page, _ = caller.ask("GET", "/access?target=shop&object=orders")
        assert status == 503
        assert "shop did not answer" in page


# Signing in at a provider.


@pytest.fixture
def provider() -> Iterator[Provider]:
    with oidc_provider() as found:
        yield found


@contextmanager
def with_provider(folder: Path, provider: Provider, **oidc: Any) -> Iterator[Served]:
    (folder / "secret").write_text(SECRET)
    roles = {"viewer": ["*"], "approver": ["dba"], "admin": ["root"]}
    settings = {"issuer": provider.issuer, "clientId": CLIENT, "clientSecret": {"file": str(folder / "secret")},
                "roles": roles, **oidc}  # fmt: skip
    with dashboard(folder, oidc=settings) as found:
        yield found


def by_provider(browser: Browser, served: Served) -> tuple[BrowserContext, Locator, Page, Response]:
    context = browser.new_context()
    page = context.new_page()
    page.goto(served.url + "/sign-in?next=/drifts")
    with page.expect_navigation() as going:
        page.get_by_role("link", name="Sign in with your organisation").click()
    answer = going.value
    assert answer is not None
    return context, page, answer


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
def test_somebody_signs_in_at_the_provider_and_out_again(
    browser: Browser, tmp_path: Path, provider: Provider, algorithm: str
) -> None:
    provider.algorithm = algorithm
    with with_provider(tmp_path, provider, logout=True) as served:
        context, page, _ = by_provider(browser, served)
        assert page.url == served.url + "/drifts"
        expect(page.locator(".who")).to_have_text("dana approver")
        page.get_by_role("button", name="Sign out").click()
        page.wait_for_url(provider.issuer + "/logout**")
        page.goto(served.url)
        expect(page.get_by_role("link", name="Sign in")).to_be_visible()
        context.close()
    assert provider.refused == []


def _expired(claims: dict[str, Any]) -> None:
    claims |= {"iat": int(time.time()) - 900, "exp": int(time.time()) - 600}


REFUSED = {
    "wrong nonce": lambda claims: claims.update(nonce="other"),
    "no nonce": lambda claims: claims.pop("nonce"),
    "wrong audience": lambda claims: claims.update(aud="other"),
    "two audiences and no party": lambda claims: claims.update(aud=[CLIENT, "other"]),
    "another party": lambda claims: claims.update(azp="other"),
    "wrong issuer": lambda claims: claims.update(iss="https://evil.example"),
    "no end": lambda claims: claims.pop("exp"),
    "expired": _expired,
    "no name": lambda claims: claims.update(preferred_username=["x"]),
}


def test_tokens_with_anything_wrong_sign_nobody_in(tmp_path: Path, provider: Provider) -> None:
    with with_provider(tmp_path, provider) as served:
        for what, alter in REFUSED.items():
            provider.alter = alter
            assert signs_in(served) is False, what
        provider.alter = lambda claims: None
        for what, forge in {
            "alg none": provider.unsigned,
            "signed with the public key as a shared secret": lambda c: _confused(provider, c),
            "another's key": _stranger,
            "cut": lambda c: provider.signed(c)[:-8],
            "no token": lambda c: "",
        }.items():
            provider.forge = forge
            assert signs_in(served) is False, what
        provider.forge = None
        assert signs_in(served) is True
        assert served.state.sessions.count(datetime.now(UTC)) == 1


def _confused(provider: Provider, claims: dict[str, Any]) -> str:
    from joserfc import jwt
    from joserfc.jwk import OctKey

    public = provider.keys["RS256"].as_pem(private=False)
    return jwt.encode({"alg": "HS256", "kid": "r1"}, claims, OctKey.import_key(public.hex()), algorithms=["HS256"])


def _stranger(claims: dict[str, Any]) -> str:
    from joserfc import jwt
    from joserfc.jwk import RSAKey

    key = RSAKey.generate_key(2048, {"kid": "r1"}, private=True)
    return jwt.encode({"alg": "RS256", "kid": "r1"}, claims, key, algorithms=["RS256"])


def signs_in(served: Served) -> bool:
    """Through the provider by a program; the limit on tries is not what is tried here."""
    served.board.by_address.forget("127.0.0.1")
    caller = Caller(served)
    there = go(caller)
    status, _, headers = caller.ask("GET", there)
    return status == 303 and "pgvillage-session" in caller.cookies and headers["location"] == "/"


def go(caller: Caller) -> str:
    """The path that the provider sends the browser back to."""
    _, _, headers = caller.ask("GET", "/sign-in/oidc")
    import urllib.request

    class Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_: Any) -> None:
            return None

    try:
        urllib.request.build_opener(Stay).open(headers["location"], timeout=20)
    except urllib.error.HTTPError as error:
        with error:
            return str(error.headers["location"]).removeprefix(caller.served.url)
    raise AssertionError("the provider did not send us back")


def test_an_answer_is_good_once_and_for_the_browser_that_asked(tmp_path: Path, provider: Provider) -> None:
    with with_provider(tmp_path, provider) as served:
        caller, other = Caller(served), Caller(served)
        there = go(caller)
        assert other.ask("GET", there)[0] == 403  # somebody else's browser
        assert caller.ask("GET", there)[0] == 303
        assert caller.ask("GET", there)[0] == 403
        go(other)
        assert other.ask("GET", re.sub("state=[^&]*", "state=x", go(other)))[0] == 403
        denied = Caller(served)
        go(denied)
        status, page, _ = denied.ask("GET", "/sign-in/oidc/back?error=access_denied&state=x")
        assert status == 403
        assert "belongs to another sign-in" in page


def test_who_is_in_no_group_has_no_role(tmp_path: Path, provider: Provider) -> None:
    provider.claims["groups"] = ["shop"]
    with with_provider(tmp_path, provider, roles={"admin": ["root"]}) as served:
        caller = Caller(served)
        status, page, _ = caller.ask("GET", go(caller))
        assert status == 403
        assert "dana has no role here" in page
        assert "pgvillage-session" not in caller.cookies


def test_new_keys_of_the_provider_are_found(tmp_path: Path, provider: Provider) -> None:
    from pgvillage.clients import oidc

    with with_provider(tmp_path, provider) as served, pytest.MonkeyPatch.context() as patch:
        assert signs_in(served)
        from joserfc.jwk import RSAKey

        provider.keys["RS256"] = RSAKey.generate_key(2048, {"kid": "r2", "use": "sig"}, private=True)
        assert not signs_in(served)  # not asked for again so soon: that could be anybody's wish
        patch.setattr(oidc, "_AGAIN", 0.0)
        assert signs_in(served)
