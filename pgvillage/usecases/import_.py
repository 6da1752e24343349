"""Another tool's configuration becomes an estate: read, understood, validated, then written; no server is asked."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pgvillage.core.errors import Diagnostic, ManifestError, UsageError
from pgvillage.estate.loader import load_manifests
from pgvillage.estate.references import SettingsNames
from pgvillage.estate.yaml12 import parse_documents
from pgvillage.imports.documents import Made, documents_of, drop_part
from pgvillage.imports.draft import Draft
from pgvillage.imports.formats import FORMATS, format_of
from pgvillage.imports.reading import Note, Reading, read_source
from pgvillage.imports.scope import Scope
from pgvillage.usecases.estate_files import Document, write_estate, write_manifests
from pgvillage.usecases.init import Connection, Repositories, refuse_existing, write_settings

_NAME = re.compile(r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?")
_ATTEMPTS = 1000
_LOCAL = ("localhost:", "127.0.0.1:", "[::1]:", "/")


@dataclass(frozen=True, slots=True)
class Imported:
    """What was written, and every key that is not in it."""

    format: str
    source: str
    files: tuple[str, ...]
    counts: Mapping[str, int]
    notes: tuple[Note, ...]


def import_file(source: Path, folder: Path, scope: Scope, format_name: str | None, git: Repositories) -> Imported:
    """Writes `folder`/estate and `folder`/pgvillage.yaml.

    Raises UsageError where there is an estate already, ManifestError with every fault of the file.
    """
    refuse_existing(folder)
    if not _NAME.fullmatch(scope.cluster):
        raise UsageError(
            f"--cluster {scope.cluster!r}: expected lower-case letters, digits, `-`, `_` and `.`, at most 63"
        )
    reading = read_source(source)
    name = format_name or format_of(reading)
    draft = FORMATS[name].convert(reading, scope)
    made = documents_of(draft, scope.cluster)
    reading.finish()  # what can't be read is told before anything is made of it
    _make_valid(reading, made, draft)
    head = (
        f"# Made by `pgvillage import` from {Path(reading.file).name} ({draft.tool}); read it before you commit it.\n"
    )
    files = write_estate(folder, made.files, head)
    write_settings(folder, _connection(draft), _settings(draft), git)
    counts = dict.fromkeys(("Cluster", "Database", "Group", "User"), 0)
    for document in _all(made):
        if document["kind"] in counts:
            counts[document["kind"]] += 1
        counts["Database"] += len(document["spec"].get("databases", ()))
    return Imported(name, reading.file, (*files, "pgvillage.yaml"), counts, reading.finish())


def _all(made: Made) -> list[Document]:
    return [document for documents in made.files.values() for document in documents]


def _make_valid(reading: Reading, made: Made, draft: Draft) -> None:
    """Leave out, and name, whatever the loader does not take. Raises ManifestError when that is the whole of it."""
    names = SettingsNames(frozenset({"admin"}), frozenset(draft.directories), frozenset(draft.secrets))
    with tempfile.TemporaryDirectory(prefix="pgvillage-import-") as temporary:
        for _ in range(_ATTEMPTS):
            stage = Path(temporary) / "stage"
            shutil.rmtree(stage, ignore_errors=True)
            write_manifests(stage, made.files)
            try:
                load_manifests(stage / "estate", names, max_file_size=1 << 30)
            except ManifestError as error:
                _leave_out(stage / "estate", made, error)
            else:
                return
    raise ManifestError([Diagnostic("no valid estate can be made of this file", reading.root.position)])


def _leave_out(stage: Path, made: Made, error: ManifestError) -> None:
    """The part that the first error is about; its whole document where no part can go."""
    fault = next(d for d in error.diagnostics if d.severity == "error")
    if fault.position is None or fault.position.file not in made.files:
        raise error
    documents = made.files[fault.position.file]
    text = (stage / fault.position.file).read_text(encoding="utf-8")
    starts = [positions.value(()).line for _, positions in parse_documents(text, fault.position.file)[0]]
    number = sum(start <= fault.position.line for start in starts) - 1
    document, node = documents[number], made.origin(documents[number])
    if drop_part(document, _steps(fault.path)):
        node.note(f"{fault.path.removeprefix('spec.')} was left out: {fault.message}", fault.hint)
    elif document["kind"] == "Cluster":
        raise error
    else:
        del documents[number]
        node.note(f"{document['kind']} {document['metadata']['name']} was left out: {fault.message}", fault.hint)


def _steps(path: str) -> list[str | int]:
    """`spec.databases[0]."a.b"` as steps."""
    found: list[str | int] = []
    for quoted, index, plain in re.findall(r'"((?:[^"])*)"|\[([0-9]+)\]|([^.\[\]"]+)', path):
        found.append(int(index) if index else plain or quoted)
    return found


def _connection(draft: Draft) -> Connection:
    server = draft.server
    hosts = server.hosts or ["localhost:5432"]
    local = all(host.startswith(_LOCAL) for host in hosts)
    return Connection(
        hosts=hosts,
        user=server.user or "postgres",
        database=server.database or "postgres",
        sslmode=server.sslmode or ("prefer" if local else "verify-full"),
        password=server.password,
        sslrootcert=server.sslrootcert or None,
    )


def _settings(draft: Draft) -> dict[str, Any]:
    found = {"secrets": draft.secrets, "directories": draft.directories, **draft.settings}
    return {key: value for key, value in found.items() if value}
