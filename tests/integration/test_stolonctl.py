"""Our reading of the cluster spec against real stolonctl and a real etcd: same verdict, same spec in the end."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pgvillage.clients.etcd import EtcdClient
from pgvillage.resources.stolon.clusterdata import parse_clusterdata
from pgvillage.resources.stolon.desired import patched
from pgvillage.resources.stolon.initial import skeleton
from pgvillage.resources.stolon.spec import merge_patch, normalise, validate_change
from pgvillage.settings import Etcd
from tests.servers.etcd import EtcdServer, running_etcd

STOLONCTL = os.environ.get("PGVILLAGE_STOLONCTL") or shutil.which("stolonctl")
KEY = "stolon/cluster/demo/clusterdata"
FIXTURES = Path(__file__).parent.parent / "fixtures" / "stolon"

pytestmark = [
    pytest.mark.registry_free,
    pytest.mark.skipif(not STOLONCTL, reason="no stolonctl: put it on PATH or name it in PGVILLAGE_STOLONCTL"),
]

VALUES: dict[str, list[Any]] = {
    "sleepInterval": ["1s", "60s", "0", 0, "0s", ".5s", "1h5m0.5s", "-1s", "5", 5, "", "1d", " 1s", True, [], {}],
    "requestTimeout": ["3s", "-3s", "1µs"],
    "convergenceTimeout": ["90s", "-1ns"],
    "initTimeout": ["1h", "-1h"],
    "syncTimeout": ["0", "1.5h", "-0s", "-1s"],
    "dbWaitReadyTimeout": ["2m", "-1s"],
    "failInterval": ["20000ms", "-1s", "9223372036854775808ns", "9223372036854775807ns"],
    "deadKeeperRemovalInterval": ["48h", "-1s"],
    "proxyCheckInterval": ["3999ms", "4s", "5s", "15s", "-1s"],
    "proxyTimeout": ["5s", "1s", "999ms", "-1s", "0"],
    "maxStandbys": [1, 0, -1, 65535, 65536, "20", 1.5, True],
    "maxStandbysPerSender": [1, 0, 65535],
    "maxStandbyLag": [0, 4294967295, 4294967296, -1],
    "synchronousReplication": [True, False, "true", 1],
    "minSynchronousStandbys": [0, 1, 2, 3],
    "maxSynchronousStandbys": [0, 1, 2, 3],
    "additionalWalSenders": [0, 5, 65536],
    "additionalMasterReplicationSlots": [
        [],
        ["a", "b_1"],
        ["A"],
        ["a-b"],
        [""],
        ["a\n"],
        ["stolon_x"],
        ["stolon"],
        "a",
        [1],
        [None],
    ],
    "usePgrewind": [True, False, "on"],
    "initMode": ["new", "existing", "pitr", "clone", "", 1],
    "mergePgParameters": [True, False, 0],
    "role": ["master", "standby", "replica", ""],
    "newConfig": [{}, {"locale": "C"}, {"dataChecksums": False}, {"dataChecksums": "on"}, [], {"locale": None}],
    "pitrConfig": [
        {},
        {"dataRestoreCommand": "x"},
        {"dataRestoreCommand": None},
        {"recoveryTargetSettings": {}},
        {"recoveryTargetSettings": None},
        {"archiveRecoverySettings": {"restoreCommand": "y"}},
        {"archiveRecoverySettings": "y"},
    ],
    "existingConfig": [{}, {"keeperUID": "keeper1"}, {"keeperUID": ""}, {"keeperUID": 1}],
    "standbyConfig": [
        {},
        {"standbySettings": {"primaryConninfo": "host=a password='x'"}},
        {"standbySettings": {"primarySlotName": 1}},
        {"archiveRecoverySettings": {}},
    ],
    "defaultSUReplAccessMode": ["all", "strict", "none", ""],
    "pgParameters": [
        {},
        {"work_mem": "8MB", "datestyle": None},
        {"work_mem": 8},
        {"a'b\"": "ключ\n鍵"},
        {"absent": None},
        "x",
        [],
    ],
    "pgHBA": [[], ["local all all trust"], ["a\nb"], ["a\r"], "local", [1], [None]],
    "automaticPgRestart": [True, False, "no"],
    "fieldOfTomorrow": [1],
}


def patches() -> list[dict[str, Any]]:
    """Each value alone, each field deleted, and some hundred mixtures; the same in every run."""
    chance = random.Random(20261123)
    single = [{name: value} for name, values in VALUES.items() for value in values]
    deleted = [{name: None} for name in VALUES]
    mixed = [
        {name: chance.choice([*VALUES[name][:4], None]) for name in chance.sample(sorted(VALUES), chance.randint(2, 5))}
        for _ in range(120)
    ]
    return single + deleted + mixed


def bases() -> dict[str, dict[str, Any]]:
    """Whole cluster data to start from: the real ones, and clusters of the other init modes and roles."""
    names = ("demo", "demo2", "v16")
    found: dict[str, dict[str, Any]] = {
        name: json.loads((FIXTURES / f"clusterdata-{name}.json").read_bytes()) for name in names
    }
    for name, spec in {
        "existing": {"initMode": "existing", "existingConfig": {"keeperUID": "k"}},
        "standby": {
            "initMode": "pitr",
            "pitrConfig": {"dataRestoreCommand": "x"},
            "role": "standby",
            "standbyConfig": {"standbySettings": {"primaryConninfo": "host=a"}},
        },
    }.items():
        found[name] = json.loads(json.dumps(found["demo"]))
        found[name]["cluster"]["spec"] = spec | {"pgParameters": {"work_mem": "4MB"}}
    return found


@pytest.fixture(scope="module")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdServer]:
    with running_etcd(tmp_path_factory.mktemp("etcd")) as server:
        yield server


def stolonctl(etcd: EtcdServer, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(STOLONCTL), "--cluster-name=demo", "--store-backend=etcdv3", f"--store-endpoints={etcd.url}"]
    return subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=30, check=False)


async def stored_spec(client: EtcdClient) -> dict[str, Any]:
    found = await client.get(KEY)
    assert found is not None
    return dict(parse_clusterdata(found.value).spec)


def differences(patch: dict[str, Any], live: dict[str, Any], refusal: str, stored: dict[str, Any]) -> str:
    """Empty when we say of this patch what stolonctl did with it."""
    desired = merge_patch(live, patch)
    faults = validate_change(live, desired)
    if bool(faults) != bool(refusal):
        return f"{patch}: stolonctl said {refusal!r}, we say {faults}"
    if not faults and normalise(stored) != normalise(desired):
        return f"{patch}: stolonctl wrote {stored}, we say {desired}"
    return ""


@pytest.mark.parametrize("base", sorted(bases()))
async def test_stolonctl_agrees_on_every_patch(base: str, etcd: EtcdServer) -> None:
    whole = bases()[base]
    start, live = json.dumps(whole).encode(), whole["cluster"]["spec"]
    found, refused = [], 0
    async with EtcdClient("test", Etcd(endpoints=[etcd.url])) as client:
        for patch in patches():
            await client.put(KEY, start)
            done = stolonctl(etcd, "update", "--patch", json.dumps(patch))
            refusal = (done.stderr + done.stdout).strip() or "no words" if done.returncode else ""
            refused += bool(refusal)
            found.append(differences(patch, live, refusal, await stored_spec(client)))
    assert [words for words in found if words] == []
    assert 50 < refused < len(found) - 50, "both verdicts must occur often for this to say anything"


async def test_a_null_parameter_on_a_spec_without_parameters_is_where_we_differ(etcd: EtcdServer) -> None:
    """stolonctl writes the empty text there, which PostgreSQL may not start with; RFC 7386 and we leave it out."""
    whole = bases()["existing"]
    del whole["cluster"]["spec"]["pgParameters"]
    patch = {"pgParameters": {"work_mem": None}}
    async with EtcdClient("test", Etcd(endpoints=[etcd.url])) as client:
        await client.put(KEY, json.dumps(whole).encode())
        assert stolonctl(etcd, "update", "--patch", json.dumps(patch)).returncode == 0
        assert (await stored_spec(client))["pgParameters"] == {"work_mem": ""}
    assert merge_patch(whole["cluster"]["spec"], patch)["pgParameters"] == {}


async def test_stolonctl_reads_what_a_swap_of_ours_wrote(etcd: EtcdServer) -> None:
    whole = bases()["demo"]
    async with EtcdClient("test", Etcd(endpoints=[etcd.url])) as client:
        await client.put(KEY, json.dumps(whole).encode())
        live = await client.get(KEY)
        assert live is not None
        whole["cluster"]["spec"] = merge_patch(whole["cluster"]["spec"], {"failInterval": "7s", "usePgrewind": None})
        assert await client.swap({KEY: json.dumps(whole).encode()}, {KEY: live.mod_revision})
    done = stolonctl(etcd, "spec")
    assert done.returncode == 0, done.stderr
    assert normalise(json.loads(done.stdout)) == normalise(whole["cluster"]["spec"])


BEGINNINGS: list[dict[str, Any]] = [
    {},
    {"initMode": "new"},
    {"initMode": "new", "newConfig": {"locale": "C", "dataChecksums": True}, "pgHBA": []},
    {"initMode": "new", "role": "standby", "standbyConfig": {}},
    {"initMode": "existing"},
    {"initMode": "existing", "existingConfig": {}},
    {"initMode": "existing", "existingConfig": {"keeperUID": "k"}, "role": "standby", "standbyConfig": {}},
    {"initMode": "pitr"},
    {"initMode": "pitr", "pitrConfig": {"dataRestoreCommand": "x"}, "role": "standby"},
    {
        "initMode": "pitr",
        "pitrConfig": {"dataRestoreCommand": "x", "recoveryTargetSettings": {"recoveryTargetTime": "t"}},
    },
    {
        "initMode": "pitr",
        "pitrConfig": {"dataRestoreCommand": "x", "recoveryTargetSettings": {"recoveryTargetTime": "t"}},
        "role": "standby",
        "standbyConfig": {},
    },
    {
        "initMode": "pitr",
        "pitrConfig": {"dataRestoreCommand": "x", "archiveRecoverySettings": {"restoreCommand": "y"}},
        "role": "standby",
        "standbyConfig": {"standbySettings": {"primarySlotName": "s", "recoveryMinApplyDelay": "1h"}},
    },
    {"initMode": "new", "additionalMasterReplicationSlots": ["backup"]},
    {"initMode": "new", "additionalMasterReplicationSlots": ["stolon_backup"]},
    {"initMode": "new", "additionalMasterReplicationSlots": ["Backup"]},
    {"initMode": "new", "minSynchronousStandbys": 2},
    {"initMode": "new", "defaultSUReplAccessMode": "strict", "automaticPgRestart": False, "maxStandbyLag": 0},
]


async def test_a_cluster_begins_as_stolonctl_would_have_it(etcd: EtcdServer) -> None:
    """The same verdict, and the same document but for its uid and its hour."""
    verdicts = set()
    async with EtcdClient("test", Etcd(endpoints=[etcd.url])) as client:
        for spec in BEGINNINGS:
            await client.delete(KEY)
            done = stolonctl(etcd, "init", "--yes", json.dumps(spec))
            whole, faults = patched(skeleton(), spec)
            verdicts.add(bool(faults))
            assert bool(faults) == bool(done.returncode), f"{spec}: {done.stderr}{done.stdout} {faults}"
            found = await client.get(KEY)
            assert (found is None) == bool(faults)
            if found is not None:
                theirs = json.loads(found.value)
                assert normalise(theirs["cluster"].pop("spec")) == normalise(whole["cluster"].pop("spec"))
                for each in (theirs, whole):
                    each["cluster"] |= {"uid": "", "changeTime": ""}
                assert theirs == whole
    assert verdicts == {True, False}
