"""An estate repository with its settings in a folder, and the real command line run on them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.integration.warm_server import can_be_warm, warm_server
from tests.servers.postgres import PostgresServer

COMMAND = [sys.executable, "-m", "pgvillage"]
ROOT = Path(__file__).parents[2]
Document = dict[str, Any]

EXIT_DONE, EXIT_ERROR, EXIT_CHANGES, EXIT_INVALID, EXIT_BLOCKED = 0, 1, 2, 3, 4
EXIT_STALE, EXIT_PARTIAL, EXIT_LOCKED, EXIT_USAGE = 5, 6, 7, 64


@dataclass(frozen=True)
class Ran:
    """What one run of the command line gave back."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        return self.out + self.err

    @property
    def document(self) -> dict[str, Any]:
        assert self.out.lstrip().startswith("{"), self
        found = json.loads(self.out)
        assert isinstance(found, dict)
        return found

    @property
    def targets(self) -> dict[str, dict[str, Any]]:
        """A plan's targets by address."""
        return {target["address"]: target for target in self.document["targets"]}

    @property
    def changes(self) -> dict[str, dict[str, Any]]:
        """All changes of a plan by address."""
        return {change["address"]: change for target in self.targets.values() for change in target["changes"]}

    @property
    def statements(self) -> list[str]:
        return [step["sql"] for target in self.targets.values() for step in target["steps"]]

    def done(self, code: int = EXIT_DONE) -> Ran:
        """Itself, after a look at the exit code and for tracebacks."""
        assert "Traceback" not in self.text, self.text
        assert self.code == code, f"exit {self.code}, expected {code}\n{self.text}"
        return self


@dataclass
class EstateBuilder:
    """`documents` by file name become the repository's content at the next `commit`."""

    folder: Path
    settings: dict[str, Any] = field(default_factory=dict)
    documents: dict[str, list[Document]] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.repository = self.folder / "estate"
        self.repository.mkdir(parents=True)
        self.settings = {
            "repository": {"url": str(self.repository)},
            "state": str(self.folder / "state"),
            **self.settings,
        }
        self.git("init", "-q", "-b", "main")

    @property
    def settings_file(self) -> Path:
        return self.folder / "pgvillage.yaml"

    def git(self, *arguments: str) -> str:
        names = ["-c", "user.name=tests", "-c", "user.email=tests@example.test", "-c", "commit.gpgsign=false"]
        done = subprocess.run(
            ["git", "-C", self.repository, *names, *arguments], check=True, capture_output=True, text=True
        )
        return done.stdout

    def commit(self, message: str = "change") -> None:
        """Write settings and manifests, and commit these."""
        self.settings_file.write_text(json.dumps(self.settings, ensure_ascii=False, indent=1))
        for old in self.repository.glob("*.yaml"):
            old.unlink()
        for name, documents in self.documents.items():
            text = "\n---\n".join(json.dumps(document, ensure_ascii=False, indent=1) for document in documents)
            # the one character that JSON leaves as it is and YAML refuses
            (self.repository / f"{name}.yaml").write_text(text.replace("\x7f", "\\u007f"))
        self.git("add", "-A")
        self.git("commit", "-qm", message, "--allow-empty")

    def start(self, *arguments: str, **more: Any) -> subprocess.Popen[str]:
        """The command line, running."""
        command = [*COMMAND, *arguments[0].split(), "--settings", str(self.settings_file), *arguments[1:]]
        return subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            cwd=ROOT,
            env={**os.environ, **self.environment},
            **more,
        )

    def run(self, *arguments: str) -> Ran:
        """The command line in a process of its own, forked from one that has everything imported where it can be."""
        environment = {**os.environ, **self.environment}
        if not can_be_warm(environment):
            return finish(self.start(*arguments))
        whole = [*arguments[0].split(), "--settings", str(self.settings_file), *arguments[1:]]
        return Ran(*warm_server().run(whole, environment, ROOT, 60))

    def plan(self, *arguments: str) -> Ran:
        return self.run("plan", "-o", "json", *arguments)

    def apply(self, *arguments: str) -> Ran:
        return self.run("apply", "--auto", *arguments)

    def settled(self) -> None:
        """The next plan is empty."""
        ran = self.plan("--detailed-exitcode")
        assert not ran.changes, ran.out
        assert ran.code == EXIT_DONE, ran.text


def finish(process: subprocess.Popen[str], seconds: float = 60) -> Ran:
    out, err = process.communicate(timeout=seconds)
    return Ran(process.returncode, out, err)


def document(kind: str, name: str, labels: Mapping[str, str] | None = None, **spec: Any) -> Document:
    metadata = {"name": name, **({"labels": dict(labels)} if labels else {})}
    return {"apiVersion": "pgvillage/v1", "kind": kind, "metadata": metadata, "spec": spec}


def cluster(name: str, host: str, credential: str = "admin", **spec: Any) -> Document:
    connection = {"hosts": [host], "credential": credential}
    return document("Cluster", name, {"env": "test"}, connection=connection, **spec)


def group(name: str, role: str | None = None, **spec: Any) -> Document:
    return document("Group", name, clusters={"all": True}, **({"role": role} if role else {}), **spec)


def user(name: str, role: str | None = None, **spec: Any) -> Document:
    return document("User", name, clusters={"all": True}, **({"role": role} if role else {}), **spec)


def free_policy(correct: str = "all") -> Document:
    """An Estate whose limits never stand in the way."""
    wide = {"count": 100_000, "share": "100%"}
    return document("Estate", "tests", policy={"correct": correct, "limits": {"drop": wide, "revoke": wide}})


def credential(server: PostgresServer, port: int | None = None, **more: Any) -> dict[str, Any]:
    return {
        "user": "postgres",
        "password": {"file": str(server.folder / "pw")},
        "hosts": [f"127.0.0.1:{port or '*'}"],
        "sslmode": "disable",
        **more,
    }
