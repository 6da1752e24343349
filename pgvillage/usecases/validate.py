"""Validation of manifests alone: no server is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pgvillage.core.errors import Diagnostic, UsageError
from pgvillage.estate.loader import load_manifests
from pgvillage.estate.references import SettingsNames


@dataclass(frozen=True, slots=True)
class Summary:
    """What a valid estate holds."""

    counts: dict[str, int]
    files: int
    warnings: Sequence[Diagnostic]

    def __str__(self) -> str:
        words = [f"{n} {name if n == 1 else name + 's'}" for name, n in self.counts.items() if n]
        return f"valid: {', '.join(words) or 'no documents'} in {self.files} file{'' if self.files == 1 else 's'}"


def validate_estate(folder: Path, names: SettingsNames | None, max_file_size: int) -> Summary:
    """Raises ManifestError with every fault, UsageError where there is no such folder."""
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder")
    manifests = load_manifests(folder, names, max_file_size=max_file_size)
    counts = {
        "cluster": len(manifests.clusters),
        "database": len(manifests.databases),
        "user": len(manifests.users),
        "group": len(manifests.groups),
        "job": len(manifests.jobs),
    }
    return Summary(counts, len(manifests.files), manifests.warnings)
