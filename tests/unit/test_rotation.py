"""Two logins by turns: the record at every boundary, its stores, two appliers at once, promotion across clusters."""

from __future__ import annotations

import asyncio
import itertools
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pgvillage.clients.rotations import look_up_logins, obtain_login, promote_login
from pgvillage.clients.secrets import look_up, named_secret
from pgvillage.core.errors import SecretError
from pgvillage.core.plan import Status, TargetId, TargetPlan
from pgvillage.core.rotation import (
    Login,
    Logins,
    LoginsSeen,
    Rotation,
    begin,
    due,
    passwords,
    promote,
    read_logins,
    written_logins,
)
from pgvillage.core.run import Outcome, Run, TargetRun
from pgvillage.core.secret import InUse, Secret
from pgvillage.settings import Settings
from pgvillage.usecases.rotation import logins_seen, promote_logins
from tests.resources.case import Case, manifests_of, read_case
from tests.servers.vault import FakeVault, fake_vault

FIXTURES = Path(__file__).parents[1] / "fixtures" / "sops"
CASES = Path(__file__).parents[1] / "resources" / "role"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
MONTH = timedelta(days=30)
ROTATION = Rotation("app", ("app_a", "app_b"), "app", MONTH)
TOKEN = "hvs.planted-token"


def numbered() -> Callable[[], str]:
    numbers = itertools.count(1)
    return lambda: f"planted-{next(numbers)}"


# --- the record


def test_a_life() -> None:
    new = numbered()
    assert due(None, ROTATION, NOW)
    first = begin(None, ROTATION, NOW, new)
    assert (first.active, first.pending, first.previous) == (
        None,
        Login("app_a", "planted-1"),
        Login("app_b", "planted-2"),
    )
    assert begin(first, ROTATION, NOW, new) is first, "begun once, however often it is asked for"
    used = promote(first, ROTATION, NOW)
    assert (used.active, used.since, used.pending) == (Login("app_a", "planted-1"), NOW, None)
    assert not due(used, ROTATION, NOW + MONTH - timedelta(seconds=1))
    assert due(used, ROTATION, NOW + MONTH) == "app_a is 30 d old"
    begun = begin(used, ROTATION, NOW + MONTH, new)
    assert (begun.active, begun.previous) == (used.active, used.previous), "nothing is lost before the new one is used"
    assert begun.pending == Login("app_b", "planted-3")
    again = promote(begun, ROTATION, NOW + MONTH)
    assert (again.active, again.previous) == (Login("app_b", "planted-3"), Login("app_a", "planted-1"))
    assert begin(again, ROTATION, NOW + 2 * MONTH, new).pending == Login("app_a", "planted-4")


def test_a_record_is_written_as_it_is_read() -> None:
    new = numbered()
    records = [begin(None, ROTATION, NOW, new)]
    records.append(promote(records[0], ROTATION, NOW))
    records.append(begin(records[1], ROTATION, NOW + MONTH, new))
    for record in records:
        assert read_logins(written_logins(record), "x") == record
    assert written_logins(records[1]) == {
        "username": "app_a",
        "password": "planted-1",
        "since": "2026-03-01T12:00:00Z",
        "previous_username": "app_b",
        "previous_password": "planted-2",
    }
    assert "planted" not in repr(records)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "something else than logins"),
        ({"password": "planted"}, "something else than logins"),
        ({"username": "app_a", "password": ["planted"]}, "something else than logins"),
        ({"username": "app_a", "password": "planted"}, "`username` without `since`"),
        ({"next_username": "app_a"}, "next_username and next_password of its record do not belong together"),
        ({"username": "app_a", "password": "planted", "since": "yesterday"}, "`since` of its record is no time"),
    ],
)
def test_what_is_no_record(values: dict[str, object], words: str) -> None:
    with pytest.raises(SecretError, match=words) as caught:
        read_logins(values, "secret 'app'")
    assert "planted" not in str(caught.value)


def test_roles_that_are_named_anew_are_rotated_to() -> None:
    new = numbered()
    old = promote(begin(None, ROTATION, NOW, new), ROTATION, NOW)
    renamed = Rotation("app", ("x", "y"), "app", MONTH)
    assert due(old, renamed, NOW) == "app_a is none of its roles any more"
    begun = begin(old, renamed, NOW, new)
    assert begun.active == old.active
    assert {role for role in ("x", "y") if begun.of(role)} == {"x", "y"}
    used = promote(begun, renamed, NOW)
    assert used.active == begun.pending
    assert used.previous == begun.previous
    assert not due(used, renamed, NOW)
    stale = Logins(old.active, old.since, old.previous, Login("gone", "planted-x"))
    assert begin(stale, ROTATION, NOW + MONTH, new).pending == Login("app_b", "planted-5")


def test_what_a_plan_knows() -> None:
    new = numbered()
    nothing = passwords(None, ROTATION, NOW)
    assert {a.generates for a in nothing.absent.values()} == {True}
    used = promote(begin(None, ROTATION, NOW, new), ROTATION, NOW)
    assert passwords(used, ROTATION, NOW).values == {"app/app_a": Secret("planted-1"), "app/app_b": Secret("planted-2")}
    late = passwords(used, ROTATION, NOW + MONTH)
    assert list(late.values) == ["app/app_a"]
    assert late.absent["app/app_b"].rotates == "rotate the password of app_b: app_a is 30 d old"
    begun = passwords(begin(used, ROTATION, NOW + MONTH, new), ROTATION, NOW + MONTH)
    assert begun.values["app/app_b"] == Secret("planted-3")
    assert begun.in_use["app"] == InUse("app_a", NOW, "app_b")


# --- every crash point, on every kind of store


@pytest.fixture(params=["file", "vault", "sops.yaml", "sops.json"])
def settings(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    monkeypatch.setenv("VAULT_WORD", TOKEN)
    shutil.copytree(FIXTURES, tmp_path / "sops")
    with fake_vault() as vault:
        vault.tokens[TOKEN] = ()
        yield settings_of(request.param, tmp_path, vault)


def settings_of(kind: str, folder: Path, vault: FakeVault) -> Settings:
    vault.put("pg/app", owner="not ours")
    sources: dict[str, Any] = {
        "file": {"file": str(folder / "{name}.json")},
        "vault": {"vault": "pg/{name}#password"},
        "sops.yaml": {"sops": f"{folder}/sops/secrets.yaml#logins"},
        "sops.json": {"sops": f"{folder}/sops/secrets.json#logins"},
    }
    return Settings.model_validate(
        {
            "repository": {"url": "/estate"},
            "vaults": {"main": {"address": vault.url, "token": {"env": "VAULT_WORD"}}},
            "sops": {"identity": {"file": str(FIXTURES / "age-key.txt")}},
            "secrets": {"app": {**sources[kind], "generate": {"length": 20}}},
        }
    )


class Crash(Exception):
    pass


class Village:
    """Two clusters and a store; an apply that dies before its n-th write."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.clusters, self.now = settings, {"c1": {}, "c2": {}}, NOW
        self.promotions = 0

    def apply(self, dies_at: int) -> None:
        writes = itertools.count()

        def write() -> None:
            if next(writes) == dies_at:
                raise Crash

        secrets = self.settings.secrets
        for cluster in self.clusters.values():
            found = look_up_logins(secrets, [ROTATION], self.now)
            for role in ROTATION.roles:
                name = ROTATION.secret_of(role)
                known = found.values.get(name)
                if known is None or cluster.get(role) != known.reveal():
                    write()
                    value = obtain_login(secrets, ROTATION, role, self.now)
                    write()
                    cluster[role] = value.reveal()
        use = look_up_logins(secrets, [ROTATION], self.now)
        pending = use.in_use["app"].pending
        if pending:
            value = use.values[ROTATION.secret_of(pending)]
            assert all(cluster[pending] == value.reveal() for cluster in self.clusters.values())
            write()
            self.promotions += promote_login(secrets, ROTATION, value, self.now)
            write()

    def can_log_in(self) -> bool:
        """With what an application reads."""
        logins = self.in_use
        return all(cluster[logins.username] == logins.password for cluster in self.clusters.values())

    @property
    def in_use(self) -> Login:
        found = look_up_logins(self.settings.secrets, [ROTATION], self.now)
        username = found.in_use["app"].username
        return Login(username, named_secret(self.settings.secrets, "app").reveal())


def test_an_apply_that_dies_anywhere(settings: Settings) -> None:
    village = Village(settings)
    turn = 0
    for dies_at in (0, 1, 2, 3, 4, 5, 99):
        try:
            village.apply(dies_at)
        except Crash:
            village.apply(99)
        turn += 1
        assert village.promotions == turn
        assert village.in_use.username == ROTATION.roles[(turn - 1) % 2]
        assert village.can_log_in()
        before = village.in_use
        village.apply(99)
        assert village.promotions == turn, "nothing is due"
        village.now += MONTH
        try:  # whatever is half done, the login in use goes on
            village.apply(turn % 4)
            turn += 1
        except Crash:
            assert village.in_use == before
        assert village.can_log_in()
        village.apply(99)
        turn = village.promotions
        assert all(cluster[before.username] == before.password for cluster in village.clusters.values())
        village.now += MONTH
    assert village.promotions > 10


def test_what_else_is_in_the_store_stays(settings: Settings, tmp_path: Path) -> None:
    village = Village(settings)
    sops = tmp_path / "sops" / "secrets.yaml"
    comments = [line for line in sops.read_text().splitlines() if line.lstrip().startswith("#")]
    for _ in range(3):
        village.apply(99)
        village.now += MONTH
    source = settings.secrets["app"]
    if source.sops and source.sops.endswith("yaml#logins"):
        assert [line for line in sops.read_text().splitlines() if line.lstrip().startswith("#")] == comments
        plain = Settings.model_validate(
            {
                "repository": {"url": "/e"},
                "sops": {"identity": {"file": str(FIXTURES / "age-key.txt")}},
                "secrets": {"x": {"sops": f"{sops}#db/etl"}},
            }
        )
        assert named_secret(plain.secrets, "x").reveal() == 'fixture-etl "quoted"'
    if source.file:
        path = tmp_path / "app.json"
        assert path.stat().st_mode & 0o777 == 0o600
        assert [each.name for each in tmp_path.iterdir() if each.name.startswith(".")] == []
        assert set(json.loads(path.read_text())) == {
            "username", "password", "since", "previous_username", "previous_password",
        }  # fmt: skip


def test_a_record_of_a_vault_keeps_what_others_have_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_WORD", TOKEN)
    with fake_vault() as vault:
        vault.tokens[TOKEN] = ()
        village = Village(settings_of("vault", tmp_path, vault))
        village.apply(99)
        assert vault.data("pg/app")["owner"] == "not ours"
        assert vault.data("pg/app")["username"] == "app_a"
        vault.meanwhile = lambda: vault.put("pg/app", **{**vault.data("pg/app"), "owner": "changed meanwhile"})
        village.now += MONTH
        village.apply(99)
        assert vault.data("pg/app")["owner"] == "changed meanwhile"
        assert vault.data("pg/app")["username"] == "app_b"


def test_two_appliers_at_once(settings: Settings) -> None:
    """All get the same new password, and one of them promotes it."""
    for month in range(3):
        now = NOW + month * MONTH
        turn = ROTATION.roles[month % 2]
        barrier = threading.Barrier(6)

        def work(now: datetime = now, turn: str = turn, barrier: threading.Barrier = barrier) -> tuple[str, bool]:
            barrier.wait()
            value = obtain_login(settings.secrets, ROTATION, turn, now)
            barrier.wait()
            return value.reveal(), promote_login(settings.secrets, ROTATION, value, now)

        with ThreadPoolExecutor(6) as pool:
            results = [each.result() for each in [pool.submit(work) for _ in range(6)]]
        assert len({value for value, _ in results}) == 1
        assert sum(promoted for _, promoted in results) == 1


def test_a_place_that_is_not_for_logins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_WORD", TOKEN)
    with fake_vault() as vault:
        vault.tokens[TOKEN] = ()
        vault.put("pg/app", password="planted-plain")
        (tmp_path / "plain").write_text("planted-plain\n")
        for source, words in (
            ({"vault": "pg/app#password", "generate": {}}, "something else than logins"),
            ({"vault": "pg/new#secret", "generate": {}}, "end its place with #password, found #secret"),
            ({"file": str(tmp_path / "plain"), "generate": {}}, "something else than logins"),
            ({"file": str(tmp_path / "new")}, "the settings do not let it be rotated"),
            ({"env": "X"}, "the settings do not let it be rotated"),
        ):
            body = {"vaults": {"main": {"address": vault.url, "token": {"env": "VAULT_WORD"}}}}
            found = Settings.model_validate({"repository": {"url": "/e"}, "secrets": {"app": source}, **body})
            seen = look_up_logins(found.secrets, [ROTATION], NOW)
            assert words in seen.absent["app/app_a"].reason
            assert "whether a rotation is due is not known here" in seen.absent["app/app_b"].reason
            assert not any(absent.generates for absent in seen.absent.values())
            with pytest.raises(SecretError, match=words) as caught:
                obtain_login(found.secrets, ROTATION, "app_a", NOW)
            assert "planted" not in str(caught.value)
        assert vault.data("pg/app") == {"password": "planted-plain"}
        assert (tmp_path / "plain").read_text() == "planted-plain\n"
        assert not (tmp_path / "new").exists()


def test_a_record_read_as_one_secret_is_the_password_in_use(settings: Settings) -> None:
    obtain_login(settings.secrets, ROTATION, "app_a", NOW)
    assert "app" in look_up(settings.secrets, ["app"]).absent, "none is in use yet"
    village = Village(settings)
    village.apply(99)
    assert look_up(settings.secrets, ["app"]).values["app"] == Secret(village.clusters["c1"]["app_a"])


# --- promotion across clusters

MANIFESTS = """\
kind: Cluster
metadata: {name: c1}
spec: {connection: {hosts: [pg1], credential: admin}}
---
kind: Cluster
metadata: {name: c2}
spec: {connection: {hosts: [pg2], credential: admin}}
---
kind: User
metadata: {name: app}
spec: {clusters: {all: true}, auth: {method: scram, password: {secret: app}, rotate: {every: 30d}}}
"""


class PromotingWorld:
    def __init__(self, answer: bool | Exception = True) -> None:
        self.answer, self.asked = answer, list[tuple[Rotation, Secret]]()

    def promote(self, rotation: Rotation, confirmed: Secret) -> bool:
        self.asked.append((rotation, confirmed))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def ran(cluster: str, password: str | None, outcome: Outcome = Outcome.DONE, pending: str = "app_b") -> TargetRun:
    confirmed = {} if password is None else {"app/app_b": Secret(password)}
    target = TargetId(cluster)
    logins = LoginsSeen({"app": InUse("app_a", NOW, pending)}, confirmed)
    return TargetRun(target, outcome, TargetPlan(target, Status.PLANNED), logins=logins)


def promoted(world: PromotingWorld, *runs: TargetRun) -> Run:
    return asyncio.run(promote_logins(world, manifests_of(MANIFESTS), Run("r", runs)))  # type: ignore[arg-type]


def test_promotion_when_every_cluster_has_it() -> None:
    world = PromotingWorld()
    run = promoted(world, ran("c1", "x"), ran("c2", "x", Outcome.NOTHING))
    assert world.asked == [(ROTATION, Secret("x"))]
    words = "app_b is in use from now on (secret app); app_a stays valid until the next rotation"
    assert [t.notes for t in run.targets] == [(words,), (words,)]


@pytest.mark.parametrize(
    ("runs", "words"),
    [
        ([ran("c1", "x"), ran("c2", None, Outcome.UNREACHABLE)], "not yet: c2 (unreachable)"),
        ([ran("c1", "x")], "not yet: c2 (not part of this run)"),
        ([ran("c1", "x"), ran("c2", None)], "not yet: c2 (its plan says why)"),
        ([ran("c1", "x"), ran("c2", "y")], "not yet: c2 (its plan says why)"),
        ([ran("c1", None, Outcome.FAILED), ran("c2", None, Outcome.LOCKED)], "c1 (failed), c2 (locked by another)"),
    ],
)
def test_promotion_waits_and_says_for_whom(runs: list[TargetRun], words: str) -> None:
    world = PromotingWorld()
    run = promoted(world, *runs)
    assert world.asked == []
    for target in run.targets:
        (note,) = target.notes
        assert note.startswith("app_a stays in use until every cluster has the new password of app_b")
        assert note.endswith(words)


def test_no_promotion_without_a_rotation_under_way() -> None:
    world = PromotingWorld()
    run = promoted(world, ran("c1", "x", pending=""), ran("c2", "x", pending=""))
    assert world.asked == []
    assert [t.notes for t in run.targets] == [(), ()]


def test_a_promotion_that_fails_or_is_somebody_elses() -> None:
    run = promoted(PromotingWorld(SecretError("the vault is sealed")), ran("c1", "x"), ran("c2", "x"))
    assert {t.outcome for t in run.targets} == {Outcome.FAILED}
    assert {t.error for t in run.targets} == {
        "app_b has its new password everywhere and was not put in use: the vault is sealed"
    }
    run = promoted(PromotingWorld(answer=False), ran("c1", "x"), ran("c2", "x"))
    assert [t.notes for t in run.targets] == [(), ()]


def test_nothing_of_a_run_shows_a_password() -> None:
    assert "planted" not in repr(ran("c1", "planted-x"))
    assert "planted" not in repr(SimpleNamespace(logins=ran("c1", "planted-x").logins))


# --- what a look confirms


def look(**live: Any) -> LoginsSeen:
    path = CASES / "rotation-set-and-not-promoted.yaml"
    body = dict(read_case(path).body)
    body["capabilities"] = live.pop("capabilities", {})
    body["ledger"] = live.pop("ledger", body["ledger"])
    body["live"] = {**body["live"], **live}
    return logins_seen(Case(body).seen)


def test_what_a_look_confirms() -> None:
    both = {"orders-app/orders_app_a": Secret("planted-first"), "orders-app/orders_app_b": Secret("planted-third")}
    assert look().confirmed == both
    assert look().in_use["orders-app"].pending == "orders_app_b"
    unseen = {"verifiers": False, "superuser": False}
    assert look(capabilities=unseen).confirmed == both, "by the ledger's marks"
    old = {"role/orders_app_a": {"secret": "planted-first"}, "role/orders_app_b": {"secret": "planted-second"}}
    assert list(look(capabilities=unseen, ledger={"applied": True, "entries": old}).confirmed) == list(both)[:1]
    assert look(capabilities={**unseen, "ledger": False}, ledger=None).confirmed == {}
    assert list(look(memberships={"orders-app": ["orders_app_a"]}).confirmed) == list(both)[:1]
    roles = {"orders-app": {}, "orders_app_a": {"login": True, "password": {"of": "planted-first"}}}
    assert list(look(roles=roles).confirmed) == list(both)[:1]
    closed = {"login": False, "password": {"of": "planted-third"}}
    assert list(look(roles={**roles, "orders_app_b": closed}).confirmed) == list(both)[:1]
    by_hand = {"login": True, "password": {"of": "planted-by-hand"}}
    assert list(look(roles={**roles, "orders_app_b": by_hand}).confirmed) == list(both)[:1]
    assert logins_seen(None) == LoginsSeen()


def test_who_sees_no_store_has_the_digest_of_who_does() -> None:
    digests = {
        read_case(CASES / f"rotation-{name}.yaml").plan.digest
        for name in ("due", "store-not-seen", "begun-and-not-set", "not-yet-due")
    }
    assert len(digests) == 1
