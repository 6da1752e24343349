"""Secret stores: Vault, SOPS and files, read and filled; no error ever holds a value."""

from __future__ import annotations

import shutil
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from pydantic import ValidationError

from pgvillage.clients.secrets import look_up, obtain, read_secret
from pgvillage.core.errors import PgVillageError, SecretError, SecretMissing, SettingsError
from pgvillage.settings import Settings
from tests.servers.vault import FakeVault, fake_vault

FIXTURES = Path(__file__).parents[1] / "fixtures" / "sops"
VALUE, TOKEN = "planted-välue", "hvs.planted-token"


@pytest.fixture
def vault(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeVault]:
    monkeypatch.setenv("VAULT_WORD", TOKEN)
    with fake_vault() as found:
        found.tokens[TOKEN] = ()
        yield found


@pytest.fixture
def sops(tmp_path: Path) -> Path:
    """A copy of the files that the real sops wrote."""
    return Path(shutil.copytree(FIXTURES, tmp_path / "sops"))


def settings(vault: FakeVault | None = None, sops: Path | None = None, **secrets: Any) -> Settings:
    body: dict[str, Any] = {"repository": {"url": "/estate"}, "secrets": {k: v for k, v in secrets.items() if k != "_"}}
    if vault is not None:
        body["vaults"] = {"main": {"address": vault.url, "token": {"env": "VAULT_WORD"}}}
    if sops is not None:
        body["sops"] = {"identity": {"file": str(sops / "age-key.txt")}}
    return Settings.model_validate(body)


def value(found: Settings, name: str = "app") -> str:
    return read_secret(found.secrets[name], f"secret {name!r}", name).reveal()


# --- settings


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"secrets": {"a": {"vault": "p#k"}}}, "does not say in which"),
        ({"secrets": {"a": {"vault": "p#k", "store": "x"}}}, "know no vault 'x'; there are none"),
        ({"secrets": {"a": {"sops": "f.yaml#k"}}}, "`sops: {identity: …}` is missing"),
        ({"secrets": {"a": {"env": "X", "generate": {}}}}, "never into env or command"),
        ({"secrets": {"a": {"file": "/x", "generate": {"length": 8}}}}, "greater than or equal to 16"),
        ({"secrets": {"a": {"vault": "p"}}}, "pattern"),
        ({"secrets": {"a": {"env": "A", "file": "/b"}}}, "exactly one of: env, file, command, vault, sops"),
        ({"vaults": {"v": {"address": "https://v"}}}, "exactly one of: token, approle"),
        (
            {"credentials": {"a": {"user": "u", "hosts": ["h:1"], "password": {"file": "/x", "generate": {}}}}},
            "has its place under `secrets`",
        ),
    ],
)
def test_settings_that_can_not_be(body: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Settings.model_validate({"repository": {"url": "/estate"}, **body})


def test_every_source_knows_the_stores(vault: FakeVault) -> None:
    vault.put("pg/admin", password=VALUE)
    found = Settings.model_validate(
        {
            "repository": {"url": "/estate", "token": {"vault": "pg/admin#password"}},
            "vaults": {"main": {"address": vault.url, "token": {"env": "VAULT_WORD"}}},
            "credentials": {"a": {"user": "u", "hosts": ["h:1"], "password": {"vault": "pg/admin#password"}}},
            "channels": {"ops": {"service": "webhook", "url": {"vault": "pg/admin#password", "store": "main"}}},
        }
    )
    sources = [found.repository.token, found.credentials["a"].password, found.channels["ops"].url]
    assert [read_secret(s, "x").reveal() for s in sources if s] == [VALUE] * 3


# --- Vault


def test_a_value_of_a_vault(vault: FakeVault) -> None:
    vault.put("pg/app", password=VALUE, port=5432)
    assert value(settings(vault, app={"vault": "pg/{name}#password"})) == VALUE
    assert vault.requests == [("GET", "/v1/secret/data/pg/app")]
    with pytest.raises(SecretError, match="'port' at pg/app of vault 'main' is not text"):
        value(settings(vault, app={"vault": "pg/app#port"}))


def test_approle_and_namespace(vault: FakeVault) -> None:
    vault.namespace = "team/a"
    vault.approles["role"] = TOKEN
    vault.put("app", password=VALUE)
    approle = {"roleId": "role", "secretId": {"env": "VAULT_WORD"}}
    body = {"repository": {"url": "/e"}, "secrets": {"app": {"vault": "app#password"}}}
    body["vaults"] = {"main": {"address": vault.url, "approle": approle, "namespace": "team/a"}}
    assert value(Settings.model_validate(body)) == VALUE
    vault.approles["role"] = "another"
    with pytest.raises(SecretError, match="refuses the AppRole login"):
        value(Settings.model_validate(body))
    body["vaults"]["main"]["namespace"] = "team/b"
    with pytest.raises(SecretError, match="refuses the AppRole login"):
        value(Settings.model_validate(body))


def test_many_secrets_are_read_with_one_login_and_each_record_once(vault: FakeVault) -> None:
    vault.approles["role"] = TOKEN
    vault.put("app", a=VALUE, b="other")
    vaults = {"main": {"address": vault.url, "approle": {"roleId": "role", "secretId": {"env": "VAULT_WORD"}}}}
    secrets = {"*": {"vault": "app#{name}"}}
    found = Settings.model_validate({"repository": {"url": "/e"}, "vaults": vaults, "secrets": secrets})
    seen = look_up(found.secrets, ["a", "b", "c"])
    assert {name: secret.reveal() for name, secret in seen.values.items()} == {"a": VALUE, "b": "other"}
    assert seen.absent["c"].reason == "vault 'main' has no 'c' at app"
    assert vault.requests == [("POST", "/v1/auth/approle/login"), ("GET", "/v1/secret/data/app")]


def test_what_a_vault_says_no_to(vault: FakeVault) -> None:
    found = settings(vault, app={"vault": "pg/app#password"})
    with pytest.raises(SecretMissing, match="has no 'password' at pg/app"):
        value(found)
    vault.put("pg/app", password=VALUE)
    vault.tokens[TOKEN] = ("other/",)
    with pytest.raises(SecretError, match=r"may not do this \(403\)") as refused:
        value(found)
    assert not isinstance(refused.value, SecretMissing)
    vault.tokens[TOKEN] = ()
    vault.delete("pg/app")
    with pytest.raises(SecretMissing):
        value(found)
    vault.sealed = True
    with pytest.raises(SecretError, match=r"sealed or not ready \(503\)") as sealed:
        value(found)
    assert not isinstance(sealed.value, SecretMissing)
    with pytest.raises(SecretError, match="is no path"):
        value(settings(vault, app={"vault": "../sys/seal#x"}))


def test_a_wrong_mount_is_not_an_empty_place(vault: FakeVault) -> None:
    body = settings(vault, app={"vault": "a#b"}).model_dump(by_alias=True, exclude_none=True)
    body["vaults"]["main"]["mount"] = "kv"
    with pytest.raises(SecretError, match="no such KV store") as caught:
        value(Settings.model_validate(body))
    assert not isinstance(caught.value, SecretMissing)


def test_a_passing_failure_is_tried_once_more(vault: FakeVault) -> None:
    vault.put("a", k=VALUE)
    vault.fail_next = [502]
    assert value(settings(vault, app={"vault": "a#k"})) == VALUE
    vault.fail_next = [502, 502]
    with pytest.raises(SecretError, match="it answered 502"):
        value(settings(vault, app={"vault": "a#k"}))


@pytest.mark.parametrize("address", ["http://vault.example:8200", "vault:8200", "https://u:p@v", "http://127.0.0.1.x"])
def test_addresses_that_nothing_is_sent_to(address: str, vault: FakeVault) -> None:
    vault.url = address
    with pytest.raises(SettingsError, match="must be an https:// URL"):
        value(settings(vault, app={"vault": "a#k"}))


def test_tls_is_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_WORD", TOKEN)
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    pem, key, ca = tmp_path / "cert.pem", tmp_path / "key.pem", tmp_path / "ca.pem"
    issued.cert_chain_pems[0].write_to_path(pem)
    issued.private_key_pem.write_to_path(key)
    authority.cert_pem.write_to_path(ca)
    with fake_vault((pem, key)) as vault:
        vault.tokens[TOKEN] = ()
        vault.put("a", k=VALUE)
        body = settings(vault, app={"vault": "a#k"}).model_dump(by_alias=True, exclude_none=True)
        with pytest.raises(SecretError, match="its certificate is not trusted"):
            value(Settings.model_validate(body))
        assert vault.requests == []
        body["vaults"]["main"]["ca"] = str(ca)
        assert value(Settings.model_validate(body)) == VALUE


def test_no_error_of_a_vault_holds_a_value(vault: FakeVault, monkeypatch: pytest.MonkeyPatch) -> None:
    vault.put("a", k=VALUE, n={"deep": VALUE})
    monkeypatch.setenv("VAULT_BAD", "hvs.bad\nplanted")
    for place, token in (("a#n", "VAULT_WORD"), ("a#k", "VAULT_BAD"), ("b#k", "VAULT_WORD")):
        body = settings(vault, app={"vault": place}).model_dump(by_alias=True, exclude_none=True)
        body["vaults"]["main"]["token"] = {"env": token}
        with pytest.raises(PgVillageError) as caught:
            value(Settings.model_validate(body))
        chain = f"{caught.value!r}{caught.value.__cause__!r}"
        assert VALUE not in chain
        assert "planted" not in chain


# --- SOPS


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("secrets.yaml#orders-app", "fixture-orders-pässword"),
        ("secrets.yaml#db/etl", 'fixture-etl "quoted"'),
        ("secrets.json#orders-app", "fixture-orders-json"),
        ("secrets.json#db/etl", "fixture-etl-json"),
        ("only.yaml#password", "fixture-only"),
        ("only.yaml#db/a", "b"),
    ],
)
def test_values_of_files_that_the_real_sops_wrote(sops: Path, place: str, expected: str) -> None:
    assert value(settings(sops=sops, app={"sops": f"{sops}/{place}"})) == expected


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("secrets.yaml", "note_unencrypted: plain text", "note_unencrypted: another text"),
        ("secrets.yaml", "port_unencrypted: 5432", "port_unencrypted: 5433"),
        ("secrets.yaml", 'lastmodified: "20', 'lastmodified: "21'),
        ("secrets.yaml", "nothing: null", "added: x"),
        ("secrets.json", '"n_unencrypted": 7', '"n_unencrypted": 8'),
        ("only.yaml", "password: ENC", "db2: ENC"),
    ],
)
def test_a_file_that_was_tampered_with_gives_nothing(sops: Path, file: str, old: str, new: str) -> None:
    path = sops / file
    assert path.read_text().count(old) == 1
    path.write_text(path.read_text().replace(old, new))
    key = "password" if file == "only.yaml" else "orders-app"
    with pytest.raises(SecretError, match=r"the MAC does not fit|can't be decrypted") as caught:
        value(settings(sops=sops, app={"sops": f"{path}#{key}"}))
    assert "fixture-" not in str(caught.value)


def test_sops_files_that_do_not_open(sops: Path, tmp_path: Path) -> None:
    import pyrage

    place = {"sops": f"{sops}/secrets.yaml#orders-app"}
    key = sops / "age-key.txt"
    key.write_text(str(pyrage.x25519.Identity.generate()))
    with pytest.raises(SecretError, match="none of those it is encrypted for"):
        value(settings(sops=sops, app=place))
    key.write_text("AGE-SECRET-KEY-1PLANTED")
    with pytest.raises(SecretError, match="expected AGE-SECRET-KEY-1") as caught:
        value(settings(sops=sops, app=place))
    assert "PLANTED" not in str(caught.value)
    for text in ("a: b", "- a", "a: [", "sops: {mac: x}\na: b", "a: 1\n---\nb: 2\n"):
        (tmp_path / "odd.yaml").write_text(text)
        with pytest.raises(SecretError, match=r"odd\.yaml"):
            value(settings(sops=sops, app={"sops": f"{tmp_path}/odd.yaml#a"}))
    with pytest.raises(SecretError, match="cannot read"):
        value(settings(sops=sops, app={"sops": f"{tmp_path}/none.yaml#a"}))


@pytest.mark.parametrize("file", ["secrets.yaml", "secrets.json"])
@pytest.mark.parametrize("key", ["made", "deep/er/made", "on", 'odd "key"'])
def test_a_value_is_added_to_a_sops_file(sops: Path, file: str, key: str) -> None:
    path = sops / file
    path.chmod(0o640)
    before = path.read_text().splitlines()
    found = settings(sops=sops, app={"sops": f"{path}#{key}", "generate": {}})
    made = obtain(found.secrets, "app").reveal()
    assert len(made) == 32
    assert value(found) == made == obtain(found.secrets, "app").reveal()
    assert value(settings(sops=sops, app={"sops": f"{path}#orders-app"})).startswith("fixture-orders")
    assert made not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    if file == "secrets.yaml":
        lost = [line for line in before if line not in path.read_text().splitlines()]
        assert [line.split(":")[0].strip() for line in lost] == ["lastmodified", "mac"]
    assert sorted(p.name for p in sops.iterdir()) == sorted(p.name for p in FIXTURES.iterdir())


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("only.yaml#other", "does not encrypt what is called 'other'"),
        ("secrets.yaml#made_unencrypted", "does not encrypt"),
        ("secrets.yaml#db/made", "'db' is there already"),
        ("secrets.json#db/made", "'db' is there already"),
        ("secrets.yaml#orders-app/made", "is a value"),
        ("secrets.yaml#sops/made", "can't be a key"),
    ],
)
def test_what_is_not_added_to_a_sops_file(sops: Path, place: str, words: str) -> None:
    before = (sops / place.split("#", maxsplit=1)[0]).read_bytes()
    found = settings(sops=sops, app={"sops": f"{sops}/{place}", "generate": {}})
    with pytest.raises(SecretError, match=words):
        obtain(found.secrets, "app")
    assert (sops / place.split("#", maxsplit=1)[0]).read_bytes() == before


# --- generating


def places(vault: FakeVault, sops: Path, tmp_path: Path) -> dict[str, dict[str, Any]]:
    return {
        "file": {"file": str(tmp_path / "made"), "generate": {"length": 20}},
        "vault": {"vault": "pg/app#password", "generate": {"length": 20}},
        "sops": {"sops": f"{sops}/secrets.yaml#made", "generate": {"length": 20}},
    }


@pytest.mark.parametrize("where", ["file", "vault", "sops"])
def test_looking_makes_nothing_and_applying_makes_it_once(
    vault: FakeVault, sops: Path, tmp_path: Path, where: str
) -> None:
    found = settings(vault, sops, app=places(vault, sops, tmp_path)[where])
    before = (sops / "secrets.yaml").read_bytes()
    seen = look_up(found.secrets, ["app"])
    assert seen.absent["app"].generates
    assert not (tmp_path / "made").exists()
    assert (sops / "secrets.yaml").read_bytes() == before
    assert vault.records == {}
    made = obtain(found.secrets, "app").reveal()
    assert len(made) == 20
    assert look_up(found.secrets, ["app"]).values["app"].reveal() == made
    assert obtain(found.secrets, "app").reveal() == made


@pytest.mark.parametrize("where", ["file", "vault", "sops"])
def test_of_many_appliers_at_once_one_makes_it_and_all_use_it(
    vault: FakeVault, sops: Path, tmp_path: Path, where: str
) -> None:
    found = settings(vault, sops, app=places(vault, sops, tmp_path)[where])
    made: list[str] = []
    gate = threading.Barrier(6)

    def apply() -> None:
        gate.wait()
        made.append(obtain(found.secrets, "app").reveal())

    threads = [threading.Thread(target=apply) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 6
    assert len(set(made)) == 1
    assert value(found) == made[0]


def test_a_vault_record_keeps_its_other_keys_and_the_faster_writer_wins(vault: FakeVault) -> None:
    vault.put("pg/app", user="app")
    found = settings(vault, app={"vault": "pg/app#password", "generate": {}})
    vault.meanwhile = lambda: vault.put("pg/app", user="app", password=VALUE)
    assert obtain(found.secrets, "app").reveal() == VALUE
    assert vault.data("pg/app") == {"user": "app", "password": VALUE}
    vault.put("pg/b", user="b")
    made = obtain(settings(vault, app={"vault": "pg/b#password", "generate": {}}).secrets, "app").reveal()
    assert vault.data("pg/b") == {"user": "b", "password": made}


def test_a_deleted_vault_record_is_filled_by_its_version(vault: FakeVault) -> None:
    vault.put("pg/app", password="gone")
    vault.delete("pg/app")
    made = obtain(settings(vault, app={"vault": "pg/app#password", "generate": {}}).secrets, "app").reveal()
    assert vault.data("pg/app") == {"password": made}
    assert len(vault.records["pg/app"]) == 2


def test_nothing_is_made_where_the_place_could_not_be_looked_at(vault: FakeVault, tmp_path: Path) -> None:
    vault.tokens[TOKEN] = ("other/",)
    found = settings(vault, app={"vault": "pg/app#password", "generate": {}})
    assert not look_up(found.secrets, ["app"]).absent["app"].generates
    with pytest.raises(SecretError, match="403"):
        obtain(found.secrets, "app")
    assert [method for method, _ in vault.requests] == ["GET", "GET"]
    (tmp_path / "empty").touch()
    with pytest.raises(SecretError, match="is empty"):
        obtain(settings(app={"file": str(tmp_path / "empty"), "generate": {}}).secrets, "app")


def test_a_generated_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    found = settings(app={"file": str(tmp_path / "made"), "generate": {}})
    obtain(found.secrets, "app")
    assert stat.S_IMODE((tmp_path / "made").stat().st_mode) == 0o600
    assert [p.name for p in tmp_path.iterdir()] == ["made"]
    missing = settings(app={"file": str(tmp_path / "no" / "folder"), "generate": {}})
    with pytest.raises(SecretError, match="cannot write"):
        obtain(missing.secrets, "app")
