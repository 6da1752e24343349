"""Thousands of broken files: always a ManifestError with places, never anything else, and no secret in it."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import yaml

from pgvillage.core.errors import ManifestError
from pgvillage.estate.loader import load_manifests
from tests.unit.manifest_corpus import GOOD, mutated

FILES = 2_000
HUNTER = "hunter2-0cf81d"
TEXT = GOOD.replace("password: {secret: orders-app}", f"password: {HUNTER}").encode()
DOCUMENTS = [document + b"\n" for document in TEXT.split(b"---\n")]


def _insert(rng: random.Random, text: bytes, piece: bytes) -> bytes:
    at = rng.randrange(len(text))
    return text[:at] + piece + text[at:]


def _lines(rng: random.Random, text: bytes, change: Callable[[list[bytes], int], None]) -> bytes:
    lines = text.split(b"\n")
    change(lines, rng.randrange(len(lines) - 1))
    return b"\n".join(lines)


def _delete(lines: list[bytes], at: int) -> None:
    del lines[at]


def _indent(lines: list[bytes], at: int) -> None:
    lines[at] = b"   " + lines[at]


def _outdent(lines: list[bytes], at: int) -> None:
    lines[at] = lines[at].lstrip()


def _tab(lines: list[bytes], at: int) -> None:
    lines[at] = b"\t" + lines[at]


def _twice(lines: list[bytes], at: int) -> None:
    lines.insert(at, lines[at])


def _swap(lines: list[bytes], at: int) -> None:
    lines[at], lines[at + 1] = lines[at + 1], lines[at]


PIECES = (
    b"&a ",
    b"*a ",
    b"*b",
    b"&a [*a]",
    b"!foo ",
    b"!!python/name:os.system ",
    b"<<: ",
    b"{",
    b"]",
    b'"',
    b"'",
    b": ",
    b"- ",
    b"|\n",
    b"? ",
    b"%",
    b"@",
    b"`",
    b"\0",
    b"\x1b[31m",
    b"\xff",
    b"\xef\xbb\xbf",
    b"\xc2\x85",
    b"\xe2\x80\xa8",
    b"\r",
    b"\n---\n",
    b"\n...\n",
    b"[" * 60,
    b"{a: " * 200,
    b"9" * 6000,
    "é".encode(),
    b"\xed\xa0\xbd",
    b"# ",
    b"~: 1, ",
)
CHANGES = (_delete, _indent, _outdent, _tab, _twice, _swap)


def _broken(rng: random.Random) -> bytes:
    text = rng.choice(DOCUMENTS)
    for _ in range(rng.choice((1, 1, 2, 4))):
        kind = rng.randrange(5)
        if kind == 0:
            text = _insert(rng, text, rng.choice(PIECES))
        elif kind == 1:
            text = text[: rng.randrange(10, len(text)) if len(text) > 10 else None]
        elif kind == 2:
            text = _insert(rng, text, rng.randbytes(rng.randrange(1, 5)))
        elif b"\n" in text:
            text = _lines(rng, text, rng.choice(CHANGES))
    return text


def _load(folder: Path, text: bytes) -> ManifestError | None:
    (folder / "broken.yaml").write_bytes(text)
    try:
        load_manifests(folder)
    except ManifestError as error:
        return error
    return None


def _assert_told_well(error: ManifestError, text: bytes) -> None:
    lines = text.count(b"\n") + text.count(b"\r") + 1
    assert error.diagnostics
    for fault in error.diagnostics:
        assert fault.position is not None, fault
        assert 1 <= fault.position.line <= lines, fault
        assert fault.position.column >= 1, fault
        assert fault.message, text
        assert all(char.isprintable() or char == "\n" for char in str(fault)), fault
        assert all(len(line) <= 110 for line in fault.excerpt.splitlines()), fault
    assert [f.position.line for f in error.diagnostics if f.position] == sorted(
        f.position.line for f in error.diagnostics if f.position
    )


def test_broken_files_are_told_with_places(tmp_path: Path) -> None:
    rng = random.Random(7)
    told = 0
    for _ in range(FILES):
        text = _broken(rng)
        if (error := _load(tmp_path, text)) is not None:
            _assert_told_well(error, text)
            told += 1
    assert told > FILES * 0.8


def test_a_password_in_a_broken_file_is_never_shown(tmp_path: Path) -> None:
    rng = random.Random(8)
    user = next(document for document in DOCUMENTS if HUNTER.encode() in document)
    lines_with_faults = 0
    for _ in range(400):
        at = user.index(HUNTER.encode())
        near = rng.randrange(at - 40, at - len("password: ") - 3)  # on the line, before the key
        text = user[:near] + rng.choice(PIECES) + user[near:]
        if (error := _load(tmp_path, text)) is not None:
            assert HUNTER not in str(error), text
            lines_with_faults += "***" in str(error)
    assert lines_with_faults > 100


def test_documents_of_wrong_structure_are_told_with_places(tmp_path: Path) -> None:
    told = 0
    for document in mutated(400, seed=9):
        text = yaml.safe_dump(document, allow_unicode=True).encode()
        if (error := _load(tmp_path, text)) is not None:
            _assert_told_well(error, text)
            told += 1
    assert told > 300
