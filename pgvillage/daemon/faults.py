"""What is said of an error: our own speak for themselves, of a bug its type and place."""

from __future__ import annotations

import traceback
from pathlib import Path

from pgvillage.core.errors import PgVillageError


def words(error: BaseException) -> dict[str, str]:
    """For a log line. Of a bug no text is told, as it may hold anything."""
    if isinstance(error, PgVillageError):
        return {"error": str(error)}
    frames = traceback.extract_tb(error.__traceback__)
    where = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return {"error": "this is a bug, please report it", "type": type(error).__name__, "where": where}


def text(error: BaseException) -> str:
    """The same in one line."""
    said = words(error)
    return said["error"] + (f" ({said['type']} at {said['where']})" if "type" in said else "")
