"""Saved plans, read back: a plan document whose digests bind the apply."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pgvillage.core.errors import PgVillageError

FORMAT_VERSION = "1"
Document = dict[str, Any]

_LARGEST = 256 << 20  # characters; a plan of 100,000 changes has some 90 million
_DIGEST = re.compile(r"[0-9a-f]{64}\Z")
# A revision goes to git: it must not be able to look like an option.
_REVISION = re.compile(r"[0-9A-Za-z][0-9A-Za-z+._/-]{0,199}\Z")


def plan_id(revision: str, digests: Mapping[str, str]) -> str:
    """64 hex digits over the revision and the digest of every planned target."""
    text = "\n".join([revision, *(f"{target} {digest}" for target, digest in sorted(digests.items()))])
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class SavedPlan:
    """What an apply needs of a saved plan; `digests` has every target that was planned."""

    revision: str
    digests: dict[str, str]
    scope: tuple[str, ...]
    dirty: bool


def read_saved_plan(text: str, largest: int = _LARGEST) -> SavedPlan:
    """Raises PgVillageError for what is no plan, or not whole, or not of this version."""
    document = _parsed(text, largest)
    version = document.get("format_version")
    if version is None or "targets" not in document or "plan_id" not in document:
        raise _no_plan("it has no format_version, plan_id or targets")
    if version != FORMAT_VERSION:
        raise PgVillageError(
            f"this plan has format_version {str(version)[:20]!r}, and this pgvillage reads {FORMAT_VERSION!r}: "
            "plan again with the version that applies"
        )
    try:
        saved = _saved(document)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise _no_plan(f"a part is missing or not as it should be ({str(error)[:80]})") from None
    if document["plan_id"] != plan_id(saved.revision, saved.digests):
        raise PgVillageError("this plan was changed after it was saved (its plan_id does not fit): plan again")
    return saved


def _no_plan(why: str) -> PgVillageError:
    return PgVillageError(f"this is not a plan saved by `pgvillage plan --out FILE`: {why}")


def _parsed(text: str, largest: int) -> Document:
    if len(text) > largest:
        raise _no_plan(f"it is larger than {largest:,} characters")
    try:
        document = json.loads(text.removeprefix("\ufeff"))
    except json.JSONDecodeError as error:
        cut = text.lstrip("\ufeff \n\r\t").startswith("{") and not text.rstrip().endswith("}")
        raise _no_plan(f"it is {'cut short' if cut else 'not JSON'} (line {error.lineno}: {error.msg})") from None
    except (RecursionError, ValueError):
        raise _no_plan("it is not JSON that a plan could be") from None
    if not isinstance(document, dict):
        raise _no_plan("it is JSON, but not an object")
    return document


def _saved(document: Document) -> SavedPlan:
    digests: dict[str, str] = {}
    for target in document["targets"]:
        name, digest = target["address"], target["digest"]
        if not isinstance(name, str) or name in digests:
            raise ValueError("targets.address")
        if digest is not None:
            digests[name] = _matching(_DIGEST, digest, "digest")
    scope, dirty = document["scope"], document["dirty"]
    if not isinstance(dirty, bool) or not isinstance(scope, list) or not all(isinstance(word, str) for word in scope):
        raise ValueError("dirty, scope")
    return SavedPlan(_matching(_REVISION, document["revision"], "revision"), digests, tuple(scope), dirty)


def _matching(pattern: re.Pattern[str], value: str, name: str) -> str:
    if not pattern.match(value):
        raise ValueError(name)
    return value
