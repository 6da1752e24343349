"""Which repository a URL stands for, whatever way it is reached."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

_SCP = re.compile(r"(?:[^@/:\s]+@)?([^/:\s]+):(?!//)(\S+)")


@dataclass(frozen=True, slots=True)
class RepositoryPlace:
    """Host and path in lower case, as forges compare them; the port is the way in and no part of the name."""

    host: str
    path: str


def repository_place(url: str) -> RepositoryPlace | None:
    """`git@git.example:Team/estate.git` and `https://git.example/team/estate` are the same place; None for a folder."""
    scp = _SCP.fullmatch(url) if "://" not in url else None
    if scp:
        host, path = scp[1], scp[2]
    else:
        try:
            parts = urlsplit(url)
            host, path = parts.hostname or "", unquote(parts.path)
        except ValueError:
            return None
        if parts.scheme not in ("http", "https", "ssh", "git", "git+ssh"):
            return None
    path = path.strip("/").removesuffix(".git").strip("/").lower()
    return RepositoryPlace(host.rstrip(".").lower(), path) if host and path else None
