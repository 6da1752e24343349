"""stolon's spec and clusterdata, without a stolon."""

from __future__ import annotations

import copy
import json
import string
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgvillage.estate.stolon_parameters import OVERRIDDEN_PARAMETERS, refuse_parameters
from pgvillage.resources.stolon.clusterdata import NotClusterData, parse_clusterdata
from pgvillage.resources.stolon.durations import format_go_duration, parse_go_duration
from pgvillage.resources.stolon.spec import (
    SPEC_FIELDS,
    FieldType,
    SpecField,
    merge_patch,
    normalise,
    unknown_fields,
    validate_change,
    validate_spec,
)

FIXTURES = Path(__file__).parent.parent / "fixtures" / "stolon"
NAMES = sorted(path.stem.removeprefix("clusterdata-") for path in FIXTURES.glob("clusterdata-*.json"))
NEW = {"initMode": "new"}


def raw(name: str) -> bytes:
    return (FIXTURES / f"clusterdata-{name}.json").read_bytes()


def document(name: str = "demo") -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(raw(name))
    return loaded


# Durations; what is right was asked of Go itself


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("0", 0),
        ("+0", 0),
        ("-0", 0),
        ("0s", 0),
        ("5s", 5_000_000_000),
        ("1h5m0.5s", 3_900_500_000_000),
        ("60s", 60_000_000_000),
        ("1m0s", 60_000_000_000),
        ("48h", 172_800_000_000_000),
        ("100ms", 100_000_000),
        ("1.5h", 5_400_000_000_000),
        (".5s", 500_000_000),
        ("5.s", 5_000_000_000),
        ("-1m", -60_000_000_000),
        ("1us", 1_000),
        ("1µs", 1_000),
        ("1μs", 1_000),
        ("3ns", 3),
        ("1.9ns", 1),
        ("5s5s", 10_000_000_000),
        ("0.3333333333333333333h", 1_200_000_000_000),
        ("1s1h", 3_601_000_000_000),
        ("0.100000000000000000000h", 360_000_000_000),
        ("9223372036854775807ns", 2**63 - 1),
        ("-9223372036854775808ns", -(2**63)),
        ("9223372036s854ms775us807ns", 2**63 - 1),
        ("0.9223372036854775807h", 3_320_413_933_267),
    ],
)
def test_durations_are_read_as_go_reads_them(text: str, nanoseconds: int) -> None:
    assert parse_go_duration(text) == nanoseconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5",
        "s",
        ".s",
        ".",
        "-",
        "+",
        "--5s",
        "+-5s",
        "1d",
        "1 s",
        " 1s",
        "1s ",
        "1S",
        "1e3s",
        "1_0s",
        "0x1s",
        "٣s",
        "1.2.3s",
        "-.s",
        "9223372036854775808ns",
        "-9223372036854775809ns",
        "3000000h",
        "1h5",
        "5s0",
        "00",
        "1s\n",
    ],
)
def test_what_go_refuses_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a duration|longer than stolon can count"):
        parse_go_duration(text)


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "0s"),
        (1, "1ns"),
        (1_100, "1.1µs"),
        (2_200_000, "2.2ms"),
        (3_300_000_000, "3.3s"),
        (60_000_000_000, "1m0s"),
        (245_000_000_000, "4m5s"),
        (245_001_000_000, "4m5.001s"),
        (18_367_001_000_000, "5h6m7.001s"),
        (480_000_000_001, "8m0.000000001s"),
        (172_800_000_000_000, "48h0m0s"),
        (-1_500_000_000, "-1.5s"),
        (2**63 - 1, "2562047h47m16.854775807s"),
    ],
)
def test_durations_are_written_as_go_writes_them(nanoseconds: int, text: str) -> None:
    assert format_go_duration(nanoseconds) == text


@given(st.integers(-(2**63), 2**63 - 1))
def test_a_duration_survives_writing_and_reading(nanoseconds: int) -> None:
    assert parse_go_duration(format_go_duration(nanoseconds)) == nanoseconds


# Specs that stolon takes, as hypothesis makes them

texts = st.text(string.ascii_letters + " %'\"\\\t'é鍵", max_size=8)


def values_of(each: SpecField) -> st.SearchStrategy[Any]:
    if each.type is FieldType.STRUCT:
        return st.fixed_dictionaries({}, optional={name: values_of(part) for name, part in each.parts.items()})
    made: dict[FieldType, st.SearchStrategy[Any]] = {
        FieldType.DURATION: st.integers(0, 10**15).map(format_go_duration)
        | st.sampled_from(["60s", "1m0s", "0", "1.5h"]),
        FieldType.INTEGER: st.integers(each.lowest, min(each.highest, 65_535)),
        FieldType.BOOLEAN: st.booleans(),
        FieldType.ENUM: st.sampled_from(each.choices or ("",)),
        FieldType.TEXT: texts,
        FieldType.TEXTS: st.lists(texts | st.none(), max_size=3),
        FieldType.PARAMETERS: st.dictionaries(texts, texts | st.none(), max_size=4),
    }
    return made[each.type] | st.none()


specs = st.fixed_dictionaries({}, optional={name: values_of(each) for name, each in SPEC_FIELDS.items()})
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.sampled_from("abcd"), below, max_size=3),
    max_leaves=8,
)
json_objects = st.dictionaries(st.sampled_from("abcd"), json_values, max_size=4)


@given(specs)
def test_normalising_twice_is_normalising_once(spec: dict[str, Any]) -> None:
    before = copy.deepcopy(spec)
    once = normalise(spec)
    assert normalise(once) == once
    assert spec == before


@given(specs, st.sampled_from(sorted(SPEC_FIELDS)))
def test_null_absent_and_the_default_itself_mean_the_same(spec: dict[str, Any], name: str) -> None:
    absent = {key: value for key, value in spec.items() if key != name}
    default = normalise({})[name]
    assert normalise(absent) == normalise(absent | {name: None}) == normalise(absent | {name: default})


@given(specs)
def test_a_spec_that_can_be_read_is_judged_without_an_exception(spec: dict[str, Any]) -> None:
    assert all(isinstance(fault, str) and fault for fault in validate_spec(spec))
    assert validate_spec(spec) == validate_spec(normalise(spec))


@given(json_objects)
def test_any_json_is_judged_without_an_exception(spec: dict[str, Any]) -> None:
    scrambled = dict(zip(SPEC_FIELDS, spec.values(), strict=False))
    assert isinstance(validate_spec(scrambled), list)


@given(json_objects, json_objects)
def test_a_merge_patch_applied_twice_is_applied_once(spec: dict[str, Any], patch: dict[str, Any]) -> None:
    before = copy.deepcopy((spec, patch))
    once = merge_patch(spec, patch)
    assert merge_patch(once, patch) == once
    assert (spec, patch) == before
    assert all((name in once) == (value is not None) for name, value in patch.items())


@pytest.mark.parametrize(
    ("spec", "patch", "merged"),
    [  # the examples of RFC 7386, appendix A, as far as they are objects
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patch(spec: dict[str, Any], patch: dict[str, Any], merged: dict[str, Any]) -> None:
    assert merge_patch(spec, patch) == merged


# What normalising says


def test_the_defaults() -> None:
    assert normalise({}) == {
        "sleepInterval": "5s",
        "requestTimeout": "10s",
        "convergenceTimeout": "30s",
        "initTimeout": "5m0s",
        "syncTimeout": "0s",
        "dbWaitReadyTimeout": "1m0s",
        "failInterval": "20s",
        "deadKeeperRemovalInterval": "48h0m0s",
        "proxyCheckInterval": "5s",
        "proxyTimeout": "15s",
        "maxStandbys": 20,
        "maxStandbysPerSender": 3,
        "maxStandbyLag": 1232896,
        "synchronousReplication": False,
        "minSynchronousStandbys": 1,
        "maxSynchronousStandbys": 1,
        "additionalWalSenders": 5,
        "additionalMasterReplicationSlots": [],
        "usePgrewind": False,
        "initMode": None,
        "mergePgParameters": True,
        "role": "master",
        "newConfig": None,
        "pitrConfig": None,
        "existingConfig": None,
        "standbyConfig": None,
        "defaultSUReplAccessMode": "all",
        "pgParameters": {},
        "pgHBA": None,
        "automaticPgRestart": False,
    }


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"sleepInterval": "60s"}, {"sleepInterval": "1m0s"}),
        ({"failInterval": "20000ms"}, {}),
        ({"syncTimeout": 0}, {"syncTimeout": "0s"}),
        ({"newConfig": {"locale": "C", "dataChecksums": False, "encoding": ""}}, {"newConfig": {"locale": "C"}}),
        ({"additionalMasterReplicationSlots": []}, {"additionalMasterReplicationSlots": None}),
        ({"pgParameters": {"a": None}}, {"pgParameters": {"a": ""}}),
        ({"fieldOfTomorrow": 1}, {}),
    ],
)
def test_specs_that_mean_the_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert normalise(one) == normalise(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"mergePgParameters": False}, {}),
        ({"minSynchronousStandbys": 0}, {}),
        ({"additionalWalSenders": 0}, {}),
        ({"dbWaitReadyTimeout": "0s"}, {}),
        ({"pgHBA": []}, {"pgHBA": None}),
        ({"standbyConfig": {}}, {}),
        ({"pgHBA": ["a", "b"]}, {"pgHBA": ["b", "a"]}),
    ],
)
def test_specs_that_look_alike_and_are_not(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert normalise(one) != normalise(other)


def test_two_normalised_specs_share_nothing() -> None:
    normalise({})["pgParameters"]["a"] = "b"
    assert normalise({})["pgParameters"] == {}


def test_a_value_that_stolon_could_not_read_is_not_normalised() -> None:
    with pytest.raises(ValueError, match=r"sleepInterval: .5. is not a duration.*; maxStandbys: expected a whole"):
        normalise({"sleepInterval": "5", "maxStandbys": "20"})


def test_unknown_fields_are_told_with_their_path() -> None:
    spec = {
        "SleepInterval": "5s",
        "newConfig": {"locale": "C", "owner": "me"},
        "pgParameters": {"any": "thing"},
        "pitrConfig": {"recoveryTargetSettings": {"recoveryTargetTime": "", "until": ""}},
    }
    assert unknown_fields(spec) == ["SleepInterval", "newConfig.owner", "pitrConfig.recoveryTargetSettings.until"]


# What stolon takes and refuses (measured against stolonctl in tests/integration/test_stolonctl.py)


@pytest.mark.parametrize(
    "spec",
    [
        {"proxyCheckInterval": "14999ms"},
        {"proxyCheckInterval": "20s", "proxyTimeout": "21s"},
        {"minSynchronousStandbys": 0},
        {"maxStandbys": 65535},
        {"maxStandbyLag": 2**32 - 1},
        {"additionalMasterReplicationSlots": ["a_1", "stolon"]},
        {"initMode": "existing", "existingConfig": {"keeperUID": "k"}},
        {"initMode": "pitr", "pitrConfig": {"dataRestoreCommand": "x", "recoveryTargetSettings": {}}},
        {"initMode": "pitr", "pitrConfig": {"dataRestoreCommand": "x"}, "role": "standby", "standbyConfig": {}},
        {"defaultSUReplAccessMode": "strict"},
        {"pgHBA": []},
        {"pgHBA": ["host all all ::/0 md5"]},
        {"standbyConfig": {}},
    ],
)
def test_a_spec_that_stolon_takes(spec: dict[str, Any]) -> None:
    assert validate_spec(NEW | spec) == []


@pytest.mark.parametrize(
    ("spec", "fault"),
    [
        ({"initMode": None}, "initMode is missing"),
        ({"initMode": "clone"}, "initMode: expected one of new, existing, pitr, found 'clone'"),
        ({"sleepInterval": 5}, "sleepInterval: expected a duration such as 30s, found a number"),
        ({"sleepInterval": False}, "sleepInterval: expected a duration such as 30s, found true or false"),
        ({"sleepInterval": "5"}, "sleepInterval: '5' is not a duration"),
        ({"syncTimeout": "-1ns"}, "syncTimeout: expected a duration of zero or more, found -1ns"),
        ({"proxyCheckInterval": "15s"}, "proxyCheckInterval (15s) must be less than proxyTimeout (15s)"),
        ({"proxyTimeout": "4s"}, "proxyCheckInterval (5s) must be less than proxyTimeout (4s)"),
        ({"maxStandbys": 0}, "maxStandbys: expected a whole number from 1 to 65535, found 0"),
        ({"maxStandbysPerSender": 0}, "maxStandbysPerSender: expected a whole number from 1"),
        ({"maxStandbys": 65536}, "maxStandbys: expected a whole number from 1 to 65535, found 65536"),
        ({"maxStandbys": True}, "maxStandbys: expected a whole number, found true or false"),
        ({"maxStandbys": 3.0}, "maxStandbys: expected a whole number, found a number"),
        ({"maxStandbyLag": 2**32}, "maxStandbyLag: expected a whole number from 0 to 4294967295"),
        ({"maxSynchronousStandbys": 0}, "maxSynchronousStandbys: expected a whole number from 1"),
        ({"minSynchronousStandbys": 2}, "maxSynchronousStandbys (1) must be at least minSynchronousStandbys (2)"),
        ({"usePgrewind": "yes"}, "usePgrewind: expected true or false, found a text"),
        ({"additionalMasterReplicationSlots": ["A"]}, "'A' is no slot name"),
        ({"additionalMasterReplicationSlots": ["a\n"]}, "is no slot name"),
        ({"additionalMasterReplicationSlots": [None]}, "'' is no slot name"),
        ({"additionalMasterReplicationSlots": ["stolon_x"]}, "'stolon_x' is reserved"),
        ({"pgHBA": "host"}, "pgHBA: expected a list of texts, found a text"),
        ({"pgHBA": ["a", 1]}, "pgHBA: expected a list of texts, found a list that holds other things"),
        ({"pgHBA": ["a", "b\nc"]}, "pgHBA[1]: an entry is one line"),
        ({"pgParameters": {"work_mem": 4}}, "pgParameters: expected a mapping of texts to texts, found a mapping"),
        ({"newConfig": {"dataChecksums": "on"}}, "newConfig.dataChecksums: expected true or false, found a text"),
        ({"newConfig": []}, "newConfig: expected a mapping, found a list"),
        ({"role": "standby", "standbyConfig": {}}, "role standby needs initMode existing or pitr, not new"),
        ({"role": "replica"}, "role: expected one of master, standby, found 'replica'"),
        ({"initMode": "existing"}, "existingConfig.keeperUID is missing"),
        ({"initMode": "pitr", "pitrConfig": {}}, "pitrConfig.dataRestoreCommand is missing"),
        ({"initMode": "existing", "existingConfig": {"keeperUID": "k"}, "role": "standby"}, "standbyConfig is missing"),
        (
            {
                "initMode": "pitr",
                "role": "standby",
                "standbyConfig": {},
                "pitrConfig": {"dataRestoreCommand": "x", "recoveryTargetSettings": {}},
            },
            "pitrConfig.recoveryTargetSettings makes no sense for role standby",
        ),
        ({"defaultSUReplAccessMode": "none"}, "defaultSUReplAccessMode: expected one of all, strict"),
    ],
)
def test_a_spec_that_stolon_refuses(spec: dict[str, Any], fault: str) -> None:
    faults = validate_spec(NEW | spec)
    assert len(faults) == 1
    assert fault in faults[0]


def test_all_faults_are_told_at_once() -> None:
    assert len(validate_spec({"maxStandbys": 0, "sleepInterval": "x", "role": "x"})) == 3
    assert len(validate_spec({"minSynchronousStandbys": 2, "proxyTimeout": "1s"})) == 3


def test_a_password_in_a_connection_string_of_the_wrong_type_is_not_shown() -> None:
    spec = {"standbyConfig": {"standbySettings": {"primaryConninfo": ["password=s3cret"]}}}
    assert "s3cret" not in str(validate_spec(NEW | spec))


@pytest.mark.parametrize(
    ("live", "desired", "fault"),
    [
        (
            NEW,
            {"initMode": "existing", "existingConfig": {"keeperUID": "k"}},
            "initMode cannot be changed: it is 'new'",
        ),
        (
            {"initMode": "existing", "existingConfig": {"keeperUID": "k"}},
            {"initMode": "existing", "existingConfig": {"keeperUID": "k"}, "role": "standby", "standbyConfig": {}},
            "role cannot be changed from master to standby",
        ),
        (NEW, NEW | {"maxStandbys": 0}, "maxStandbys"),
    ],
)
def test_a_change_that_stolon_refuses(live: dict[str, Any], desired: dict[str, Any], fault: str) -> None:
    faults = validate_change(live, desired)
    assert len(faults) == 1
    assert fault in faults[0]


def test_a_standby_cluster_may_become_a_master() -> None:
    live = {"initMode": "existing", "existingConfig": {"keeperUID": "k"}, "role": "standby", "standbyConfig": {}}
    assert validate_change(live, live | {"sleepInterval": "1s"}) == []
    assert validate_change(live, live | {"role": "master"}) == []
    assert validate_change(live, {name: value for name, value in live.items() if name != "role"}) == []


# Parameters


def test_every_parameter_that_stolon_sets_is_refused_with_its_reason() -> None:
    refused = refuse_parameters(dict.fromkeys(OVERRIDDEN_PARAMETERS, "x") | {"work_mem": "4MB"}, use_pgrewind=True)
    assert refused == OVERRIDDEN_PARAMETERS


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("work_mem", "4MB"),
        ("wal_level", "logical"),
        ("wal_log_hints", "on"),
        ("restore_command", "false"),
        ("auto_explain.log_nested", "on"),
    ],
)
def test_a_parameter_that_is_the_users_own(name: str, value: str) -> None:
    assert refuse_parameters({name: value}, use_pgrewind=False) == {}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("wal_level", "replica"),
        ("WAL_LEVEL", "logical"),
        ("Port", "5433"),
        ("a\nb", ""),
        ("work_mem\n", ""),
        ("", ""),
        ("a b", ""),
        ("a'", ""),
    ],
)
def test_a_parameter_that_is_not(name: str, value: str) -> None:
    assert list(refuse_parameters({name: value}, use_pgrewind=False)) == [name]


# Cluster data


@pytest.mark.parametrize("name", NAMES)
def test_the_specs_of_real_clusters_are_valid_and_fully_known(name: str) -> None:
    data = parse_clusterdata(raw(name))
    assert validate_spec(data.spec) == []
    assert unknown_fields(data.spec) == []
    assert validate_change(data.spec, normalise(data.spec)) == []


@pytest.mark.parametrize(
    ("name", "keeper", "major", "keepers"),
    [("demo2", None, 15, 1), ("three-keepers-sync", "keeper3", 15, 3), ("v16", None, 16, 2), ("v18", None, 18, 2)],
)
def test_a_real_cluster(name: str, keeper: str | None, major: int, keepers: int) -> None:
    data = parse_clusterdata(raw(name))
    master = data.dbs[document(name)["cluster"]["status"]["master"]]
    assert data.phase == "normal"
    assert data.master_keeper == master.keeper
    assert keeper is None or data.master_keeper == keeper
    assert data.pg_major_version == major
    assert len(data.keepers) == keepers
    assert master.role == "master"
    assert data.proxy_master_db == master.uid


def test_keepers_and_their_databases() -> None:
    data = parse_clusterdata(raw("three-keepers-sync"))
    assert {uid: each.db.uid for uid, each in data.keepers.items() if each.db} == {
        "keeper1": "6b44074d",
        "keeper2": "b5f583d2",
        "keeper3": "5bba7514",
    }
    master = data.dbs["5bba7514"]
    assert (master.generation, master.pending, master.address, master.port) == (4, False, "127.0.0.1", "35433")
    assert master.synchronous_wanted == master.synchronous_known == ("6b44074d",)
    assert all(each.healthy and each.can_be_master and each.version == (15, 18) for each in data.keepers.values())
    assert data.pending_keepers == ()


def changed(*path: str, to: object, name: str = "three-keepers-sync") -> bytes:
    whole = document(name)
    holder: Any = whole
    for step in path[:-1]:
        holder = holder[step]
    holder[path[-1]] = to
    return json.dumps(whole).encode()


def test_a_generation_that_differs_is_pending() -> None:
    data = parse_clusterdata(changed("dbs", "6b44074d", "generation", to=3))
    assert data.pending_keepers == ("keeper1",)
    assert not parse_clusterdata(changed("dbs", "6b44074d", "status", to={})).dbs["6b44074d"].healthy


def test_false_and_zero_are_absent() -> None:
    data = parse_clusterdata(changed("keepers", "keeper1", "status", to={}))
    keeper = data.keepers["keeper1"]
    assert (keeper.healthy, keeper.version, keeper.can_be_master) == (False, None, True)
    refused = changed("keepers", "keeper1", "status", to={"canBeMaster": False})
    assert not parse_clusterdata(refused).keepers["keeper1"].can_be_master


def test_the_version_of_a_cluster_without_master() -> None:
    whole = document("three-keepers-sync")
    whole["cluster"]["status"].pop("master")
    assert parse_clusterdata(json.dumps(whole).encode()).pg_major_version == 15
    whole["keepers"]["keeper1"]["status"]["postgresBinaryVersion"]["Maj"] = 16
    assert parse_clusterdata(json.dumps(whole).encode()).pg_major_version is None
    assert parse_clusterdata(json.dumps(whole).encode()).master_keeper is None


def test_a_cluster_that_is_still_being_made() -> None:
    bare = {"formatVersion": 1, "cluster": {"spec": {"initMode": "new"}, "status": {"phase": "initializing"}}}
    data = parse_clusterdata(json.dumps(bare | {"keepers": {}, "dbs": None, "proxy": {}}).encode())
    assert (data.phase, data.master_keeper, data.pg_major_version, dict(data.dbs)) == ("initializing", None, None, {})


def test_unknown_fields_are_let_through_and_kept() -> None:
    data = parse_clusterdata(changed("dbs", "6b44074d", "tomorrow", to=[1]))
    assert data.document["dbs"]["6b44074d"]["tomorrow"] == [1]
    assert len(data.dbs) == 3


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "expected a JSON object"),
        (b"{}", "formatVersion: expected 1, found None"),
        (b'{"formatVersion":true}', "formatVersion: expected 1, found True"),
        (b'{"formatVersion":0,"cluster":{"spec":{}}}', "formatVersion: expected 1, found 0"),
        (b'{"formatVersion":2,"cluster":{"spec":{}}}', "formatVersion: expected 1, found 2"),
        (b'{"formatVersion":1}', "cluster: expected a mapping, found nothing"),
        (b'{"formatVersion":1,"cluster":{}}', r"cluster\.spec: expected a mapping, found nothing"),
        (changed("dbs", to=[]), "dbs: expected a mapping, found list"),
        (changed("dbs", "6b44074d", to=None), r"dbs\.6b44074d: expected a mapping, found nothing"),
        (
            changed("dbs", "6b44074d", "generation", to="2"),
            r"dbs\.6b44074d\.generation: expected a whole number, found str",
        ),
        (
            changed("keepers", "keeper1", "status", "healthy", to=1),
            r"keepers\.keeper1\.status\.healthy: expected true or false",
        ),
        (changed("cluster", "status", "master", to=7), r"cluster\.status\.master: expected a text, found int"),
        (changed("proxy", "spec", "enabledProxies", to=[7]), r"proxy\.spec\.enabledProxies: expected a list of texts"),
    ],
)
def test_a_document_that_is_not_stolons_is_refused_aloud(data: bytes, words: str) -> None:
    with pytest.raises(NotClusterData, match=words):
        parse_clusterdata(data)
