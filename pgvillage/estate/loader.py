"""Files -> documents: every manifest of an estate, or every fault of every file at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pgvillage.core.errors import Diagnostic, ManifestError, Position, SettingsError
from pgvillage.estate.explain_errors import explain, found_text, suggestion
from pgvillage.estate.job_sql import scripts_of
from pgvillage.estate.located import Located, Lost, Manifests
from pgvillage.estate.manifest import KINDS, Document
from pgvillage.estate.manifest_files import IGNORE_FILE, Unreadable, find_manifests, read_manifest, shown
from pgvillage.estate.references import SettingsNames, check_references
from pgvillage.estate.yaml12 import Positions, decode, parse_documents
from pgvillage.settings import Settings

__all__ = ["Located", "Manifests", "load_manifests", "load_settings"]

_API = "pgvillage/v1"


def load_manifests(
    root: Path, names: SettingsNames | None = None, *, max_file_size: int = 1 << 20, max_files: int = 20_000
) -> Manifests:
    """Every manifest below `root`, checked by itself and against the others; warnings are in the result.

    With `names`, what manifests name of the settings must be there. Raises ManifestError with every fault of every
    file, sorted by file and line.
    """
    if not root.is_dir():
        raise ManifestError([Diagnostic("not a folder", Position(shown(str(root)), 1))])
    try:
        files, faults = find_manifests(root)
    except Unreadable as error:
        raise ManifestError([Diagnostic(str(error), Position(".", 1))]) from error
    if len(files) > max_files:
        message = f"{len(files)} manifests are more than the {max_files} allowed"
        raise ManifestError([Diagnostic(message, Position(shown(files[max_files]), 1))])
    estate = _Estate()
    for file in files:
        estate.read(root / file, shown(file), max_file_size)
    manifests = estate.manifests(root)
    return _judged(manifests, [*faults, *estate.faults, *check_references(manifests, names)])


def _judged(manifests: Manifests, faults: list[Diagnostic]) -> Manifests:
    faults.sort(key=_place)
    if any(fault.severity == "error" for fault in faults):
        raise ManifestError(faults)
    if not manifests.files:
        faults.append(Diagnostic("no manifests here", Position(".", 1), severity="warning"))
    values = {name: getattr(manifests, name) for name in manifests.__dataclass_fields__}
    scripts = scripts_of(manifests.root, manifests.jobs.values())
    return Manifests(**{**values, "warnings": tuple(faults), "scripts": scripts})


def _place(fault: Diagnostic) -> tuple[str, int, int]:
    position = fault.position or Position("", 0)
    return position.file, position.line, position.column


class _Estate:
    """What has been read so far."""

    def __init__(self) -> None:
        self.faults: list[Diagnostic] = []
        self.files: list[str] = []
        self.lost = Lost()
        self.by_kind: dict[str, dict[str, Located[Any]]] = {kind: {} for kind in KINDS}

    def read(self, path: Path, file: str, max_file_size: int) -> None:
        self.files.append(file)
        documents, faults = _parse(path, file, max_file_size)
        self.faults.extend(faults)
        self.lost.everything = self.lost.everything or bool(faults)
        for content, positions in documents:
            self.add(content, positions, file)

    def add(self, content: object, positions: Positions, file: str) -> None:
        kind, faults = _identify(content, positions)
        if kind is None or not isinstance(content, dict):
            self.lost.everything = True
            self.faults.extend(faults)
            return
        try:
            document = KINDS[kind].model_validate(content)
        except ValidationError as error:
            self.faults.extend(explain(error, KINDS[kind], content, positions))
            self.lost.add(kind, content)
            return
        self.index(kind, Located(document, file, positions))

    def index(self, kind: str, located: Located[Document]) -> None:
        known, name = self.by_kind[kind], located.document.metadata.name
        first = next(iter(known.values()), None) if kind == "Estate" else known.get(name)
        if first is None:
            known[name] = located
        elif kind == "Estate":
            message = f"a second Estate; the first one is at {first.at('kind')}"
            self.faults.append(located.fault(message, "kind", hint="an estate has one"))
        else:
            message = f"{kind} {name} is here a second time; the first one is at {first.at('metadata', 'name')}"
            self.faults.append(located.fault(message, "metadata", "name", hint="metadata.name is the document's id"))

    def manifests(self, root: Path) -> Manifests:
        return Manifests(
            estate=next(iter(self.by_kind["Estate"].values()), None),
            clusters=self.by_kind["Cluster"],
            databases=self.by_kind["Database"],
            users=self.by_kind["User"],
            groups=self.by_kind["Group"],
            jobs=self.by_kind["Job"],
            files=tuple(self.files),
            root=root,
            lost=self.lost,
        )


def _parse(path: Path, file: str, limit: int) -> tuple[list[tuple[object, Positions]], list[Diagnostic]]:
    try:
        data = read_manifest(path, limit)
    except Unreadable as error:
        return [], [Diagnostic(str(error), Position(file, 1))]
    text = decode(data, file)
    return ([], [text]) if isinstance(text, Diagnostic) else parse_documents(text, file)


def _identify(content: object, positions: Positions) -> tuple[str | None, list[Diagnostic]]:
    """The document's kind, or what keeps it from having one."""
    if not isinstance(content, dict):
        message = f"expected a manifest with apiVersion, kind, metadata and spec, found {found_text(content, ())}"
        return None, [positions.diagnose(message, (), hint=_foreign())]
    if "kind" not in content and "apiVersion" not in content:
        message = "this is no manifest: it has neither `apiVersion` nor `kind`"
        return None, [positions.diagnose(message, (), hint=_foreign())]
    faults = [] if content.get("apiVersion") == _API else [_wrong_version(content, positions)]
    kind = content.get("kind")
    if isinstance(kind, str) and kind in KINDS:
        return kind, []  # the model says what is wrong with apiVersion
    if kind is None and "kind" not in content:
        faults.append(positions.diagnose("the key `kind` is missing", (), hint=f"one of: {', '.join(KINDS)}"))
    else:
        hint = suggestion(kind if isinstance(kind, str) else "", KINDS, what="known kinds")
        faults.append(positions.diagnose(f"unknown kind, found {found_text(kind, ())}", ("kind",), hint=hint))
    return None, faults


def _foreign() -> str:
    return f"a file that is no manifest is named in {IGNORE_FILE}"


def _wrong_version(content: Mapping[str, object], positions: Positions) -> Diagnostic:
    if "apiVersion" not in content:
        return positions.diagnose("the key `apiVersion` is missing", (), hint=f"write `apiVersion: {_API}`")
    found = found_text(content["apiVersion"], ())
    return positions.diagnose(f"this pgvillage reads {_API}, found {found}", ("apiVersion",))


def load_settings(path: Path) -> Settings:
    """The settings, by the same rules of YAML; relative paths in them stay as written.

    Raises SettingsError with every fault.
    """
    documents, faults = _parse(path, shown(str(path)), 1 << 20)
    if not faults and len(documents) != 1:
        message = "expected one document with settings, found " + ("none" if not documents else str(len(documents)))
        faults = [Diagnostic(message, Position(shown(str(path)), 1))]
    if faults:
        raise SettingsError(_joined(faults))
    content, positions = documents[0]
    if not isinstance(content, dict):
        message = f"expected a mapping with settings, found {found_text(content, ())}"
        raise SettingsError(str(positions.diagnose(message, ())))
    try:
        return Settings.model_validate(content)
    except ValidationError as error:
        raise SettingsError(_joined(explain(error, Settings, content, positions))) from None


def _joined(faults: Iterable[Diagnostic]) -> str:
    return "\n".join(str(fault) for fault in sorted(faults, key=_place))
