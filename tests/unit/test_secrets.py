"""Secrets: where they come from, and that no error or rendering ever holds one."""

from __future__ import annotations

import copy
import json
import pickle
import sys
from pathlib import Path

import pytest

from pgvillage.clients.secrets import named_secret, read_secret
from pgvillage.core.errors import SecretError
from pgvillage.core.secret import Secret, SecretRef
from pgvillage.core.step import SqlStep, Verifier
from pgvillage.settings import SecretSource

VALUE = "s3cret-value"


def test_from_everywhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PG_APP", VALUE)
    (tmp_path / "app").write_text(f"{VALUE}\n")
    sources = {
        "app": SecretSource(env="PG_APP"),
        "*": SecretSource(file=str(tmp_path / "{name}")),
        "asked": SecretSource(command=[sys.executable, "-c", f"print({VALUE!r})"]),
    }
    assert named_secret(sources, "app").reveal() == named_secret(sources, "asked").reveal() == VALUE
    assert named_secret({"*": sources["*"]}, "app").reveal() == VALUE


@pytest.mark.parametrize("name", ["", "*", "../etc/passwd", "a/b", ".x", "a\n", "a{name}", "x" * 128])
def test_odd_names_reach_nothing(name: str) -> None:
    with pytest.raises(SecretError, match="is not a secret's name"):
        named_secret({"*": SecretSource(file="/{name}")}, name)


def test_unknown_name() -> None:
    with pytest.raises(SecretError, match="know no secret 'app'"):
        named_secret({"other": SecretSource(env="X")}, "app")


@pytest.mark.parametrize("content", [b"", b"\n", b"a\0b", b"\xff", b"x" * 70_000])
def test_odd_contents(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "f").write_bytes(content)
    with pytest.raises(SecretError, match="credential 'x': the secret"):
        read_secret(SecretSource(file=str(tmp_path / "f")), "credential 'x'")


def test_what_a_failing_command_printed_is_not_told() -> None:
    argv = [sys.executable, "-c", f"import sys; print({VALUE!r}); print({VALUE!r}, file=sys.stderr); sys.exit(3)"]
    with pytest.raises(SecretError) as caught:
        read_secret(SecretSource(command=argv), "secret 'x'")
    assert str(caught.value) == f"secret 'x': {sys.executable} ended with exit code 3"


def test_missing_places() -> None:
    for source in (
        SecretSource(env="NOT_THERE_AT_ALL"),
        SecretSource(file="/not/there"),
        SecretSource(command=["/not/there"]),
    ):
        with pytest.raises(SecretError, match="secret 'x'"):
            read_secret(source, "secret 'x'")


def test_a_secret_refuses_to_be_shown() -> None:
    secret = Secret(VALUE)
    assert VALUE not in f"{secret} {secret!r} {secret:>20} %s" % secret
    for spill in (pickle.dumps, copy.copy, copy.deepcopy, json.dumps):
        with pytest.raises(TypeError):
            spill(secret)
    assert secret == Secret(VALUE)
    assert secret != Secret("other")
    assert secret != VALUE


def test_a_step_shows_the_name_alone() -> None:
    step = SqlStep((), ("ALTER ROLE x PASSWORD ", Verifier(SecretRef("app"), "x")))
    assert str(step) == "ALTER ROLE x PASSWORD '<verifier of secret:app>'"
    assert step.secret
