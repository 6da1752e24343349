"""SCRAM verifiers: a password fits its own and no other; anything odd fits nothing."""

from __future__ import annotations

import pytest

from pgvillage.core.secret import Secret
from pgvillage.resources.postgres.scram import matches
from tests.resources.case import verifier


@pytest.mark.parametrize("password", ["simple", "spa ce", "ünï", "\u00aa", "a\u00adb", "x" * 500])
def test_fits_its_own(password: str) -> None:
    assert matches(Secret(password), Secret(verifier(password)))
    assert not matches(Secret(password + "x"), Secret(verifier(password)))


def test_rfc_7677() -> None:
    known = (
        "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY="
        ":wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
    )
    assert matches(Secret("pencil"), Secret(known))
    assert not matches(Secret("Pencil"), Secret(known))


def test_prepared_as_postgresql_does() -> None:
    assert matches(Secret("\u2168"), Secret(verifier("IX")))
    assert matches(Secret("a\u00a0b"), Secret(verifier("a b")))


@pytest.mark.parametrize(
    "text",
    ["", "md5abc", "SCRAM-SHA-256$0:YQ==$YQ==:YQ==", "SCRAM-SHA-256$99999999:YQ==$YQ==:YQ==", "SCRAM-SHA-256$1:a$b:c",
     "SCRAM-SHA-256$1:YQ==$YQ==:YQ==\n"],
)  # fmt: skip
def test_odd_verifiers_fit_nothing(text: str) -> None:
    assert not matches(Secret("x"), Secret(text))
