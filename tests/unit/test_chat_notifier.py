"""The Notifier over a real outbox: what is told to whom, when, and in which order."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pgvillage.core.address import Address
from pgvillage.core.change import Action, Change, Origin
from pgvillage.core.plan import Unread
from pgvillage.core.run import Outcome
from pgvillage.core.status import Suspension
from pgvillage.estate.manifest.estate import Notification
from tests.unit.chat_bench import GATE, LABELS, URL, Bench, limit, mighty, ran
from tests.unit.report_plans import SOURCE


async def test_a_life_of_drift(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    await bench.look(limit(5))
    assert bench.told() == []
    await bench.look(limit(5))
    await bench.look(limit(5))
    assert bench.told() == ["drift opened"]
    bench.start()
    await bench.look(limit(5))
    await bench.look(limit(6))
    await bench.look(limit(6))
    await bench.look()
    await bench.look()
    assert bench.told() == ["drift opened", "drift changed", "drift resolved"]
    opened, changed, resolved = (notice for _, notice, _ in bench.sent)
    assert (opened.target, opened.owner, opened.link) == ("orders", "shop", f"{URL}/targets/orders")
    assert opened.key.startswith("orders:")
    assert resolved.key == changed.key != opened.key
    assert [reference for _, _, reference in bench.sent] == ["", "C0:1", "C0:2"]


async def test_might_and_doors_are_told_at_once(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    await bench.look(mighty(), after=3)
    assert bench.told() == ["drift opened"]
    assert bench.sent[0][1].severity == "error"
    door = Change(Address("crm", "hba", ("pg_hba.conf",)), Action.UPDATE, None, None, (), Origin.DRIFT, SOURCE)
    await bench.look(door, cluster="crm", after=31)
    assert bench.told() == ["drift opened"] * 2


async def test_a_merge_is_no_drift_and_what_was_not_read_no_news(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    merged = limit(5)._replace(origin=Origin.GIT)
    for _ in range(3):
        await bench.look(merged)
    assert bench.told() == []
    await bench.look(limit(5))
    await bench.look(limit(5))
    await bench.look(unread=(Unread("role", (), "refused"),))
    assert bench.told() == ["drift opened"]


async def test_unreachable_after_three_and_its_recovery(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    await bench.lost()
    await bench.lost()
    await bench.look()
    for _ in range(3):
        assert bench.told() == []
        await bench.lost()
    await bench.lost()
    await bench.look()
    assert bench.told() == ["unreachable opened", "unreachable resolved"]


async def test_what_we_undo_is_told_once(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    await bench.look(limit(5))
    await bench.look(applied=ran(Outcome.DONE, limit(5)))
    await bench.look()
    assert bench.told() == ["drift corrected"]
    assert "corrected" in bench.sent[0][1].lines[0]
    await bench.look(mighty())
    await bench.look(mighty(), applied=ran(Outcome.DONE, mighty()))  # a look that was made before the apply
    await bench.look()
    assert bench.told()[1:] == ["drift opened", "drift corrected"]


async def test_muted_while_suspended_and_just_after_our_own_apply(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.suspension = Suspension("ada", "maintenance", bench.now)
    for _ in range(4):
        await bench.look(mighty())
        await bench.lost()
    assert bench.told() == []
    bench.suspension = None
    await bench.look(mighty(), applied=ran(Outcome.DONE))
    assert bench.told() == []
    await bench.look(mighty())
    assert bench.told() == ["drift opened"]


async def test_an_apply_that_fails(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    for _ in range(3):
        await bench.look(applied=ran(Outcome.FAILED, error='relation "x" does not exist'))
    await bench.look(applied=ran(Outcome.STALE))
    assert bench.told() == ["failed opened"]
    assert 'relation "x"' in bench.sent[0][1].lines[0]
    await bench.look(applied=ran(Outcome.DONE))
    assert bench.told() == ["failed opened", "failed resolved"]


async def test_a_gate_that_waits_says_how_to_open_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    change = limit(5)._replace(origin=Origin.GIT)
    for _ in range(3):
        await bench.look(change, gates=(GATE,))
    assert bench.told() == ["approval opened"]
    notice = bench.sent[0][1]
    digest = next(line for line in notice.lines if line.startswith("digest: ")).removeprefix("digest: ")
    assert len(digest) == 64
    assert f"pgvillage approve orders {digest[:12]}" in notice.step
    await bench.look()
    assert bench.told()[1:] == ["approval resolved"]


async def test_a_broken_estate_is_told_once(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    for revision in ("c0ffee1", "c0ffee1", "c0ffee2", "c0ffee2"):
        await bench.notifier.estate_read(revision, "users.yaml:3:1: unknown key\n  hint: role")
        await bench.later()
    await bench.notifier.estate_read("c0ffee3")
    await bench.later()
    assert bench.told() == ["estate opened", "estate resolved"]


async def test_routed_by_labels(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "dba", "shop", "other", "all")
    bench.everything[:] = ["all"]
    bench.routes = (
        Notification(channel="dba", labels={"env": "prod"}),
        Notification(channel="shop", labels={"env": "prod", "team": "shop"}),
        Notification(channel="shop"),
        Notification(channel="other", labels={"env": "test"}),
        Notification(channel="nowhere"),
    )
    bench.start()
    await bench.look(mighty(), labels=LABELS)
    await bench.look(mighty("lab"), cluster="lab", labels={"env": "test"})
    assert [len(bench.told(name)) for name in ("all", "dba", "shop", "other")] == [2, 1, 2, 1]


async def test_escalated_after_a_day(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    for _ in range(3):
        await bench.look(limit(5))
    await bench.look(limit(5), after=86_400)
    await bench.look(limit(5))
    await bench.look(limit(5), after=86_400)
    await bench.look(limit(5))
    assert bench.told() == ["drift opened", "drift escalated"]
    assert bench.sent[1][1].detail == "open for 24 hours"


async def test_over_five_targets_of_one_cause_are_one_message(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    names = [f"pg{n:02}" for n in range(20)]
    for _ in range(2):
        for name in names:
            await bench.look(limit(5, cluster=name), cluster=name, after=1)
    await bench.later(60)
    assert bench.told() == ["group opened"]
    group = bench.sent[0][1]
    assert group.count == 20
    assert set(group.targets) == set(names)
    assert group.detail == "the same drift"
    for name in names[:7]:
        await bench.look(cluster=name, after=1)
    await bench.later(600)
    assert bench.told()[1:] == ["group changed"]
    assert bench.sent[1][1].count == 13
    for name in names[7:]:
        await bench.look(cluster=name, after=1)
    await bench.later(600)
    assert bench.told()[2:] == ["group resolved"]


async def test_what_we_undo_on_many_targets_is_one_message(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    for number in range(20):
        name = f"pg{number:02}"
        done = ran(Outcome.DONE, limit(5, cluster=name), cluster=name)
        await bench.look(cluster=name, applied=done, after=1)
    await bench.later(600)
    assert bench.told() == ["group corrected"]
    assert (bench.sent[0][1].count, bench.sent[0][1].severity) == (20, "resolved")


async def test_five_targets_are_five_messages_and_the_sixth_makes_a_group(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    for number in range(6):
        for _ in range(2):
            await bench.look(limit(5, cluster=f"pg{number}"), cluster=f"pg{number}")
    assert bench.told() == ["drift opened"] * 5 + ["group opened"]
    assert bench.sent[-1][1].count == 6


async def test_other_drift_on_other_targets_is_no_group(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    for _ in range(2):
        for number in range(8):
            name = f"pg{number}"
            await bench.look(limit(number, cluster=name), cluster=name, after=1)
    await bench.later(60)
    assert bench.told() == ["drift opened"] * 8


async def test_a_network_that_breaks_is_one_message_and_its_end_another(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    for _ in range(3):
        for number in range(60):
            await bench.lost(f"pg{number:03}", after=0.01)
    await bench.later(600)
    assert bench.told() == ["group opened"]
    assert (bench.sent[0][1].count, bench.sent[0][1].more) == (60, 30)
    for number in range(60):
        await bench.look(cluster=f"pg{number:03}", after=0.01)
    await bench.later(600)
    assert bench.told() == ["group opened", "group resolved"]


async def test_a_member_with_drift_of_its_own_leaves_the_group(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    for _ in range(2):
        for number in range(6):
            await bench.look(limit(5, cluster=f"pg{number}"), cluster=f"pg{number}", after=1)
    await bench.later(60)
    for _ in range(2):
        await bench.look(limit(9, cluster="pg3"), cluster="pg3")
    await bench.later(600)
    assert bench.told() == ["group opened", "drift opened", "group changed"]


async def test_a_database_that_is_gone_stops_nothing(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.state.close()
    (tmp_path / "state.db").write_bytes(b"no database" * 1000)
    for extra in ("state.db-wal", "state.db-shm"):
        (tmp_path / extra).unlink(missing_ok=True)
    await bench.notifier.looked(bench.as_look(ran(Outcome.DONE, mighty()).plan, LABELS, None))


@pytest.mark.parametrize("name", ['a"b', "x'; --", "a%b{c}", "line\nbreak", "@here", "<script>"])
async def test_hostile_targets(tmp_path: Path, name: str) -> None:
    bench = Bench(tmp_path)
    await bench.look(mighty(name), cluster=name)
    assert bench.told() == ["drift opened"]
    assert "\n" not in bench.sent[0][1].link
    json.dumps(bench.sent[0][1].as_body())
