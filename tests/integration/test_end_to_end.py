"""From a push to a screen: git over SSH and HTTP, webhook, plan, apply, chat, approval, dashboard, all of them real."""

from __future__ import annotations

import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from tests.integration.conftest import EstateMaker
from tests.integration.daemon_process import Daemon, serving
from tests.integration.estate_builder import EstateBuilder, cluster, document, group, user
from tests.servers import free_port
from tests.servers.etcd import running_etcd
from tests.servers.git_http import serving as git_over_http
from tests.servers.postgres import PostgresServer
from tests.servers.slapd import ADMIN, SUFFIX, folders, group_dn, person, person_dn, record, slapd
from tests.servers.slapd import PASSWORD as LDAP_PASSWORD
from tests.servers.sshd import running_sshd
from tests.servers.webhook import Webhook, webhook

HOOK_SECRET = "planted-hook-secret"
APPROVER = "planted-approver-password"
EVERYBODY_KNOWN_AS = "https://git.example/acme/estate"

# What a forge does after a push, in Gitea's words.
POST_RECEIVE = """#!{python}
import hashlib, hmac, json, sys, urllib.request
old, new, ref = sys.stdin.read().split()[:3]
repository = {{"clone_url": "{known_as}.git", "html_url": "{known_as}", "default_branch": "main"}}
body = json.dumps({{"ref": ref, "before": old, "after": new, "repository": repository}}).encode()
signature = hmac.new(b"{secret}", body, hashlib.sha256).hexdigest()
headers = {{"Content-Type": "application/json", "X-Gitea-Event": "push", "X-Gitea-Signature": signature}}
urllib.request.urlopen(urllib.request.Request("{url}", body, headers), timeout=10).close()
"""


@dataclass
class Scene:
    """The estate's work tree pushes to a bare repository that everybody else reads."""

    estate: EstateBuilder
    daemon: Daemon
    chat: Webhook
    over_ssh: str
    over_http: str

    def push(self, remote: str) -> str:
        self.estate.commit()
        self.estate.git("push", "-q", remote, "main")
        return self.estate.git("rev-parse", "HEAD").strip()

    def told(self) -> str:
        return str(self.chat.of("/chat"))


def bare_repository(folder: Path, hook: str) -> Path:
    bare = folder / "acme" / "estate.git"
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", bare], check=True)
    subprocess.run(["git", "-C", bare, "config", "http.receivepack", "true"], check=True)
    script = bare / "hooks" / "post-receive"
    script.write_text(
        POST_RECEIVE.format(python=sys.executable, known_as=EVERYBODY_KNOWN_AS, secret=HOOK_SECRET, url=hook)
    )
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return bare


def password_hash(password: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "pgvillage", "password-hash"], input=password, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def scene(pg: PostgresServer, estate_of: EstateMaker, tmp_path: Path) -> Iterator[Scene]:
    people = folders("people", "groups") + person("ann", uid="ann") + person("bob", uid="bob")
    readers = record(
        group_dn("readers"), {"objectClass": "groupOfMembers", "cn": "readers", "member": [person_dn("ann")]}
    )
    with ExitStack() as stack:
        directory = stack.enter_context(slapd(tmp_path / "ldap", people + readers))
        etcd = stack.enter_context(running_etcd(tmp_path / "etcd"))
        chat = stack.enter_context(webhook())
        (tmp_path / "ssh").mkdir()
        sshd = stack.enter_context(running_sshd(tmp_path / "ssh"))
        listen = f"127.0.0.1:{free_port()}"
        bare = bare_repository(tmp_path / "git", f"http://{listen}/hooks/estate")
        web, _ = stack.enter_context(git_over_http(None, tmp_path / "git", environment={"REMOTE_USER": "ann"}))
        estate = estate_of(pg)
        ssh = f"ssh -i {sshd.key} -o UserKnownHostsFile={sshd.known_hosts} -o IdentitiesOnly=yes"
        estate.git("config", "core.sshCommand", ssh)
        over_ssh = f"ssh://{sshd.user}@127.0.0.1:{sshd.port}{bare}"
        described(estate, pg, directory.uri, etcd.url, chat, over_ssh, sshd)
        estate.commit()
        estate.git("push", "-q", over_ssh, "main", "--no-verify")
        options = {"poll": 3600, "observe": 60, "fingerprint": 1, "notify": ["dba"], "replica": "one",
                   "replicas": {"etcd": "own", "lease": 5}, "listen": listen}  # fmt: skip
        daemon = stack.enter_context(serving(estate, **options))
        daemon.wait_for("applied")
        yield Scene(estate, daemon, chat, over_ssh, f"{web}/acme/estate.git")


def described(
    estate: EstateBuilder, pg: PostgresServer, ldap: str, etcd: str, chat: Webhook, repository: str, sshd: Any
) -> None:
    estate.environment |= {
        "HOOK": HOOK_SECRET, "CHAT": f"http://127.0.0.1:{chat.port}/chat", "LDAP": LDAP_PASSWORD,
        "HASH": password_hash(APPROVER),
    }  # fmt: skip
    keys = {"sshKey": str(sshd.key), "knownHosts": str(sshd.known_hosts)}
    hook = {"forge": "gitea", "secret": {"env": "HOOK"}, "repository": f"{EVERYBODY_KNOWN_AS}.git"}
    estate.settings |= {
        "repository": {"url": repository, "branch": "main", **keys},
        "webhooks": {"estate": hook},
        "channels": {"dba": {"service": "webhook", "url": {"env": "CHAT"}}},
        "etcd": {"own": {"endpoints": [etcd]}},
        "directories": {
            "corp": {
                "uris": [ldap], "base": SUFFIX, "startTls": False,
                "bind": {"dn": ADMIN, "password": {"env": "LDAP"}},
            }
        },
        "dashboard": {"users": [{"name": "olga", "role": "approver", "password": {"env": "HASH"}}]},
    }  # fmt: skip
    estate.documents = {
        "estate": [document("Estate", "acme", policy={"correct": "all"})],
        "c": [cluster("orders", pg.host)],
        "people": [group("readers", members={"directory": "corp", "group": group_dn("readers"), "role": "{uid}"})],
    }


def roles(pg: PostgresServer) -> set[str]:
    return {row[0] for row in pg.sql("SELECT rolname FROM pg_roles WHERE rolname !~ '^pg_' AND rolname <> 'postgres'")}


def test_from_a_push_to_a_screen(scene: Scene, pg: PostgresServer) -> None:
    daemon = scene.daemon
    daemon.wait(lambda: roles(pg) == {"readers", "ann"}, "what the first commit asks for")
    a_push_over_ssh_is_applied_at_once(scene, pg)
    drift_is_seen_told_and_corrected(scene, pg)
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        try:
            page = browser.new_page(base_url=f"http://{daemon.address}")
            what_exceeds_the_limits_waits_for_an_approval(scene, pg, page)
        finally:
            browser.close()


def a_push_over_ssh_is_applied_at_once(scene: Scene, pg: PostgresServer) -> None:
    """Nobody polls for an hour: the webhook alone can have done it."""
    scene.estate.documents["app"] = [user(f"app{n}", connectionLimit=5) for n in range(6)]
    revision = scene.push(scene.over_ssh)
    scene.daemon.wait(lambda: {"app0", "app5"} <= roles(pg), "the pushed roles")
    scene.daemon.wait(lambda: revision[:12] in scene.daemon.get("/revisions")[1], "the revision on the dashboard")


def drift_is_seen_told_and_corrected(scene: Scene, pg: PostgresServer) -> None:
    """By the cheap look: the next full one is a minute away. Superuser is told at once."""
    pg.sql("ALTER ROLE app1 SUPERUSER")
    scene.daemon.wait(
        lambda: not pg.sql("SELECT rolsuper FROM pg_roles WHERE rolname = 'app1'")[0][0], "the correction"
    )
    scene.daemon.wait(lambda: "app1" in scene.told() and "superuser" in scene.told(), "the message")


def what_exceeds_the_limits_waits_for_an_approval(scene: Scene, pg: PostgresServer, page: Page) -> None:
    scene.estate.documents["app"] = [user(f"app{n}", ensure="absent") for n in range(6)]
    scene.push(scene.over_http)
    scene.daemon.wait(lambda: "limit-drop" in scene.told(), "the message that a plan waits")
    assert "app0" in roles(pg)
    page.goto("/clusters/orders")
    expect(page.get_by_text("limit-drop").first).to_be_visible()
    sign_in(page)
    page.goto("/clusters/orders")
    page.get_by_role("link", name="plan").first.click()
    page.get_by_role("button", name="Approve").click()
    scene.daemon.wait(lambda: roles(pg) == {"readers", "ann"}, "what was approved")
    assert "olga" in scene.daemon.get("/reconciler")[1] or "olga" in page.content()
    assert APPROVER not in "".join(scene.daemon.lines)
    assert HOOK_SECRET not in "".join(scene.daemon.lines)


def sign_in(page: Page) -> None:
    page.goto("/sign-in")
    page.fill("#name", "olga")
    page.fill("#password", APPROVER)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(lambda url: "/sign-in" not in url)
