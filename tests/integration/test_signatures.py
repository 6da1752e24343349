"""Signed commits: only what the listed people signed is applied, whatever a repository or a user configures."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from pgvillage.clients.git import EstateSource
from pgvillage.core.errors import SourceError
from pgvillage.settings import Repository
from tests.integration.conftest import EstateMaker
from tests.integration.daemon_process import Daemon, serving
from tests.integration.estate_builder import EXIT_PARTIAL, cluster, free_policy, user
from tests.integration.test_git import Repo
from tests.servers.postgres import PostgresServer
from tests.servers.webhook import webhook

GPG_NAME = "Gil <gil@example.org>"


class Signed(Repo):
    """A repository whose commits carry the signature of a key, or of none."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.keys = folder.parent / "keys"
        self.keys.mkdir(mode=0o700)
        self.allowed = self.keys / "allowed"
        for name in ("ann", "eve"):
            subprocess.run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", self.keys / name], check=True
            )
        self.allow("ann")

    def allow(self, *names: str) -> None:
        keys = ((self.keys / f"{name}.pub").read_text().split()[:2] for name in names)
        lines = [
            f'{name}@example.org namespaces="git" {" ".join(key)}\n' for name, key in zip(names, keys, strict=True)
        ]
        self.allowed.write_text("".join(lines))

    def by(self, name: str | None, message: str, content: str) -> str:
        """A commit; its hash."""
        (self.folder / "a.yaml").write_text(f"# {content}\n")
        self.git("add", "-A")
        options = ["-c", "gpg.format=ssh", "-c", f"user.signingKey={self.keys / name}"] if name else []
        self.git(*options, "commit", "-q", "-S" if name else "--no-gpg-sign", "-m", message)
        return self.git("rev-parse", "HEAD")

    def source(self, cache: Path, **signatures: Any) -> EstateSource:
        listed = signatures or {"allowedSigners": self.allowed}
        settings = {"url": f"file://{self.folder}", "signatures": {"required": True, **listed}}
        return EstateSource(Repository.model_validate(settings), cache)


@pytest.fixture
def repo(tmp_path: Path) -> Signed:
    return Signed(tmp_path / "repo")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def test_what_is_signed_is_taken(repo: Signed, cache: Path) -> None:
    for number in range(3):
        commit = repo.by("ann", "good", str(number))
        found = repo.source(cache).checkout()
        assert (found.revision, found.refused) == (commit, "")


def test_the_last_good_one_stays(repo: Signed, cache: Path) -> None:
    good = repo.by("ann", "good", "1")
    source = repo.source(cache)
    source.checkout()
    bad = repo.by(None, "by hand", "2")
    for each in (source, repo.source(cache)):
        found = each.checkout()
        assert found.revision == good
        assert (found.root / "a.yaml").read_text() == "# 1\n"
        assert found.refused == (
            f"{bad[:12]} is refused: commit {bad[:12]} ('by hand' by 'Ann') is not signed (repository.signatures); "
            f"{good[:12]} stays"
        )
    later = repo.by("ann", "good again", "3")
    found = source.checkout()
    assert found.revision == good, "one in between is not made good by one that comes after"
    assert f"{later[:12]} is refused: commit {bad[:12]}" in found.refused


def test_history_before_the_first_look_is_what_its_head_vouches_for(repo: Signed, cache: Path) -> None:
    repo.by(None, "old", "1")
    head = repo.by("ann", "now we sign", "2")
    assert repo.source(cache).checkout().revision == head


@pytest.mark.parametrize(
    ("by", "words"),
    [(None, "is not signed"), ("eve", "is signed with a key that the settings don't list")],
)
def test_a_stranger_at_first_sight(repo: Signed, cache: Path, by: str | None, words: str) -> None:
    commit = repo.by(by, "first", "1")
    with pytest.raises(SourceError, match=words) as raised:
        repo.source(cache).checkout()
    assert commit[:12] in str(raised.value)


def test_each_commit_that_a_merge_brings(repo: Signed, cache: Path) -> None:
    good = repo.by("ann", "good", "1")
    source = repo.source(cache)
    source.checkout()
    repo.git("checkout", "-qb", "side")
    bad = repo.by("eve", "from the side", "2")
    repo.git("checkout", "-q", "main")
    signing = ["-c", "gpg.format=ssh", "-c", f"user.signingKey={repo.keys / 'ann'}"]
    repo.git(*signing, "merge", "-q", "--no-ff", "-S", "-m", "merged", "side")
    found = source.checkout()
    assert found.revision == good
    assert f"commit {bad[:12]}" in found.refused


def test_a_revision_that_is_asked_for_answers_as_well(repo: Signed, cache: Path) -> None:
    repo.by("ann", "good", "1")
    source = repo.source(cache)
    source.checkout()
    bad = repo.by("eve", "bad", "2")
    with pytest.raises(SourceError, match="don't list"):
        source.checkout(revision=bad)


def test_a_changed_commit_has_a_bad_signature(repo: Signed, cache: Path) -> None:
    repo.by("ann", "good", "1")
    raw = repo.git("cat-file", "commit", "HEAD") + "\n"
    forged = repo.git("hash-object", "-t", "commit", "-w", "--stdin", stdin=raw.replace("good", "evil").encode())
    repo.git("update-ref", "refs/heads/main", forged)
    with pytest.raises(SourceError, match="signature"):
        repo.source(cache).checkout()


def test_nobody_elses_configuration_has_a_say(repo: Signed, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the user's, nor the repository's, nor what the environment brings."""
    repo.by("eve", "bad", "1")
    theirs = repo.keys / "theirs"
    theirs.write_text("* " + (repo.keys / "eve.pub").read_text())
    config = repo.keys / "gitconfig"
    config.write_text(
        f'[gpg]\n\tminTrustLevel = undefined\n[gpg "ssh"]\n\tallowedSignersFile = {theirs}\n\tprogram = true\n'
    )
    repo.git("config", "gpg.ssh.allowedSignersFile", str(theirs))
    repo.git("config", "gpg.ssh.program", "true")
    for name, value in {
        "HOME": str(repo.keys), "GIT_CONFIG_GLOBAL": str(config), "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "gpg.ssh.allowedSignersFile", "GIT_CONFIG_VALUE_0": str(theirs),
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    with pytest.raises(SourceError, match="don't list"):
        repo.source(cache).checkout()


def test_a_work_tree_is_read_as_committed(repo: Signed, cache: Path) -> None:
    commit = repo.by("ann", "good", "1")
    (repo.folder / "a.yaml").write_text("# by hand\n")
    settings = {"url": str(repo.folder), "signatures": {"allowedSigners": repo.allowed}}
    found = EstateSource(Repository.model_validate(settings), cache).checkout()
    assert (found.revision, found.dirty) == (commit, False)
    assert (found.root / "a.yaml").read_text() == "# 1\n"


def test_a_key_that_left(repo: Signed, cache: Path) -> None:
    """What was taken stays; the next commit by that key is refused."""
    repo.allow("ann", "eve")
    repo.by("eve", "good", "1")
    source = repo.source(cache)
    good = source.checkout().revision
    repo.allow("ann")
    assert source.checkout().revision == good
    repo.by("eve", "too late", "2")
    assert "don't list" in source.checkout().refused


@pytest.mark.parametrize("listed", ["allowedSigners", "keyring"])
def test_keys_that_are_not_there(repo: Signed, cache: Path, listed: str) -> None:
    repo.by("ann", "good", "1")
    with pytest.raises(SourceError, match=f"repository.signatures.{listed}: there is no file"):
        repo.source(cache, **{listed: repo.keys / "nothing"}).checkout()


def test_openpgp(repo: Signed, cache: Path) -> None:
    home = repo.keys / "gnupg"
    home.mkdir(mode=0o700)
    env = {**os.environ, "GNUPGHOME": str(home)}
    make = [
        "gpg",
        "--batch",
        "--quiet",
        "--passphrase",
        "",
        "--quick-generate-key",
        GPG_NAME,
        "ed25519",
        "sign",
        "never",
    ]
    subprocess.run(make, env=env, check=True, capture_output=True)
    keyring = repo.keys / "keyring"
    exported = subprocess.run(["gpg", "--export", GPG_NAME], env=env, check=True, capture_output=True).stdout
    try:
        (repo.folder / "a.yaml").write_text("# 1\n")
        repo.git("add", "-A")
        repo.git("commit", "-q", "-S", "-m", "good", GNUPGHOME=str(home), GIT_COMMITTER_NAME="Gil",
                 GIT_COMMITTER_EMAIL="gil@example.org")  # fmt: skip
    finally:
        subprocess.run(["gpgconf", "--kill", "gpg-agent"], env=env, check=False, capture_output=True)
    keyring.write_bytes(exported)
    commit = repo.git("rev-parse", "HEAD")
    assert repo.source(cache, keyring=keyring).checkout().revision == commit
    with pytest.raises(SourceError, match="don't list"):
        repo.source(cache / "ssh").checkout()
    after = repo.by("ann", "with ssh", "2")
    assert "don't list" in repo.source(cache, keyring=keyring).checkout().refused
    assert repo.source(cache, keyring=keyring, allowedSigners=repo.allowed).checkout().revision == after


def test_a_plan_says_it_and_stays(pg: PostgresServer, estate_of: EstateMaker, tmp_path: Path) -> None:
    estate = estate_of(pg)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "key"], check=True)
    signers = tmp_path / "signers"
    signers.write_text("dba@example.org " + (tmp_path / "key.pub").read_text())
    estate.documents = {"a": [free_policy(), cluster("c", pg.host), user("etl")]}
    estate.settings["repository"]["signatures"] = {"allowedSigners": str(signers)}
    estate.commit()
    sign = ("-c", "gpg.format=ssh", "-c", f"user.signingKey={tmp_path / 'key'}")
    estate.git(*sign, "commit", "-q", "--amend", "-S", "--no-edit")
    estate.apply().done()
    estate.documents["a"][2]["spec"]["superuser"] = True
    estate.commit("unsigned")
    ran = estate.plan().done(EXIT_PARTIAL)
    assert ran.changes == {}
    assert "is not signed" in ran.text
    estate.apply()
    assert pg.sql("SELECT rolsuper FROM pg_roles WHERE rolname = 'etl'") == [(False,)]


def test_the_daemon_tells_once_and_stays(pg: PostgresServer, estate_of: EstateMaker, tmp_path: Path) -> None:
    """As with a broken manifest; at a first start too, when not even an older commit is known to be good."""
    estate = estate_of(pg)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "key"], check=True)
    signers = tmp_path / "signers"
    signers.write_text("dba@example.org " + (tmp_path / "key.pub").read_text())
    sign = ("-c", "gpg.format=ssh", "-c", f"user.signingKey={tmp_path / 'key'}")
    estate.documents = {"a": [free_policy(), cluster("c", pg.host), user("etl", connectionLimit=1)]}
    estate.settings["repository"]["signatures"] = {"allowedSigners": str(signers)}

    def limit() -> list[tuple[int]]:
        return pg.sql("SELECT rolconnlimit FROM pg_roles WHERE rolname = 'etl'")

    def refused(daemon: Daemon) -> None:
        head = estate.git("rev-parse", "HEAD")[:12]
        daemon.wait(lambda: daemon.said("estate not valid"), "the refusal in the log")
        daemon.wait(lambda: len(chat.posts) % 2 == 1, "the message")
        assert daemon.metric("estate_valid") == 0
        [said] = daemon.said("estate not valid")
        assert "is not signed" in said["error"]
        assert said["revision"].startswith(head)
        assert head in json.dumps(chat.posts[-1])

    with webhook() as chat:
        estate.environment["CHAT"] = chat.url("/chat")
        estate.settings["channels"] = {"dba": {"service": "webhook", "url": {"env": "CHAT"}}}
        estate.commit("by hand")
        with serving(estate, notify=["dba"]) as daemon:
            refused(daemon)
            assert daemon.get("/readyz")[0] == 503
            assert limit() == []
            estate.git(*sign, "commit", "-q", "--amend", "-S", "--no-edit")
            daemon.wait(lambda: limit() == [(1,)], "what was signed")
            daemon.wait(lambda: daemon.metric("estate_valid") == 1, "a valid estate")
            daemon.wait(lambda: len(chat.posts) == 2, "the end of it, told")
            daemon.stop()
        estate.documents["a"][2]["spec"]["connectionLimit"] = 2
        estate.commit("by hand")
        with serving(estate, notify=["dba"]) as daemon:
            refused(daemon)
            daemon.rounds(3)
            refused(daemon)
            assert daemon.get("/readyz")[0] == 200
            assert limit() == [(1,)]
            events = [event["reason"] for event in json.loads(daemon.get("/api/v1/events")[1])["events"]]
            assert events.count("EstateInvalid") == 2
            estate.git(*sign, "commit", "-q", "--amend", "-S", "--no-edit")
            daemon.wait(lambda: limit() == [(2,)], "what was signed")
            daemon.wait(lambda: len(chat.posts) == 4, "the end of it, told")
            assert daemon.metric("estate_valid") == 1
            daemon.stop()
