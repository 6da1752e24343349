"""The URL of an estate repository, taken apart and checked before git sees it."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from pgvillage.clients.loopback import is_loopback
from pgvillage.core.errors import SourceError

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_SCP = re.compile(r"([A-Za-z0-9_][A-Za-z0-9._-]*@)?([A-Za-z0-9][A-Za-z0-9.-]*):([^:-].*)")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class Remote:
    """A checked URL: what git is given, what people are shown (never a login), and the folder if it is on this host."""

    argument: str
    shown: str
    scheme: str
    host: str = ""
    folder: Path | None = None
    in_place: bool = False


def plain(text: str) -> str:
    """`text` without control characters and without what turns the direction of writing: safe on a terminal."""
    return CONTROL.sub("", text)


def parse_remote(url: str) -> Remote:
    """Raises SourceError for what git would read in another way than it looks; never repeats a password."""
    if CONTROL.search(url) or not url.strip():
        raise SourceError("repository.url is empty or holds control characters")
    if "://" in url:
        return _from_url(url)
    if ":" in url.split("/", 1)[0]:
        return _from_scp(url)
    folder = Path(os.path.abspath(Path(url).expanduser()))  # noqa: PTH100 - resolve() would follow links
    return Remote(str(folder), str(folder), "file", folder=folder, in_place=True)


def _from_url(url: str) -> Remote:
    hidden = re.sub(r"//.*@", "//", url).split("?")[0]
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise SourceError(f"repository.url {hidden} is not a URL") from None
    _no_login(parts, hidden)
    if parts.query or parts.fragment:
        raise SourceError(f"repository.url {hidden} must end with its path, without `?` or `#`")
    if parts.scheme == "file":
        return _from_file_url(parts, hidden)
    if parts.scheme not in {"https", "ssh"} and not (parts.scheme == "http" and is_loopback(host)):
        raise SourceError(f"repository.url {hidden} must be a local path or a file, https or ssh URL")
    if not host or host.startswith("-") or not parts.path.strip("/") or " " in url:
        raise SourceError(f"repository.url {hidden} needs a host and a path")
    place = f"[{host}]" if ":" in host else host
    shown = f"{parts.scheme}://{place}{f':{port}' if port else ''}{parts.path}"
    return Remote(url if parts.scheme == "ssh" else shown, shown, parts.scheme, host)


def _no_login(parts: SplitResult, hidden: str) -> None:
    if parts.password is not None:
        raise SourceError(f"repository.url {hidden} holds a password: take it out, and use repository.token or sshKey")
    if parts.username is None:
        return
    if parts.scheme != "ssh":
        raise SourceError(f"repository.url {hidden} holds a login: use repository.username and repository.token")
    if not _USER.fullmatch(parts.username):
        raise SourceError(f"repository.url {hidden}: the user name is not one that ssh takes")


def _from_file_url(parts: SplitResult, hidden: str) -> Remote:
    if parts.netloc not in {"", "localhost"} or not parts.path.startswith("/"):
        raise SourceError(f"repository.url {hidden} must be file:///PATH")
    folder = Path(unquote(parts.path))
    if CONTROL.search(str(folder)):
        raise SourceError("repository.url holds control characters")
    return Remote(str(folder), f"file://{folder}", "file", folder=folder)


def _from_scp(url: str) -> Remote:
    match = _SCP.fullmatch(url)
    if not match or "@" in match[3]:
        hidden = url.rsplit("@", 1)[-1]
        raise SourceError(f"repository.url {hidden} is not understood: write a URL, git@HOST:PATH, or ./ before a path")
    return Remote(url, f"{match[2]}:{match[3]}", "ssh", match[2])
