"""Marks: they know a password again, differ each time, and hold nothing that could be looked up."""

from __future__ import annotations

import hashlib

import pytest

from pgvillage.core.password_mark import fits, mark_of
from pgvillage.core.secret import Secret


@pytest.mark.parametrize("password", ["x", "pässword", "a" * 5000, "with\nnewline"])
def test_a_mark_knows_its_password_and_no_other(password: str) -> None:
    mark = mark_of(Secret(password))
    assert fits(Secret(password), mark)
    assert not fits(Secret(password + "x"), mark)
    assert mark != mark_of(Secret(password)), "a new salt each time"


def test_a_mark_is_slow_and_no_plain_hash() -> None:
    kind, iterations, salt, _ = mark_of(Secret("password")).split("$")
    assert kind == "pbkdf2-sha256"
    assert int(iterations) >= 4096
    assert len(salt) >= 22
    for plain in (hashlib.sha256, hashlib.md5, hashlib.sha512):
        assert plain(b"password").hexdigest() not in mark_of(Secret("password"))


@pytest.mark.parametrize(
    "odd",
    ["", "x", "pbkdf2-sha256$0$AAAA$AAAA", "pbkdf2-sha256$9999999$AAAA$AAAA", "pbkdf2-sha256$4096$A$A", "md5abc"],
)
def test_what_is_no_mark_fits_nothing(odd: str) -> None:
    assert not fits(Secret("x"), odd)
