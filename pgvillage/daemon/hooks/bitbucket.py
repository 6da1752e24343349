"""Webhooks of Bitbucket Cloud and of Bitbucket Data Center."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pgvillage.daemon.hooks.delivery import Headers, HookDialect, Push, Ref, hex_proof, part, places

_FOLDERS = {"branch": "refs/heads/", "tag": "refs/tags/"}


def push_of(headers: Headers, document: Mapping[str, Any]) -> Push | None:
    event = headers.get("x-event-key")
    if event == "repo:push":
        links = part(document, "repository", "links")
        changes = part(document, "push", "changes")
        return Push(places(part(links, "html", "href")), tuple(_cloud_refs(changes)))
    if event == "repo:refs_changed":
        clones = part(document, "repository", "links", "clone")
        urls = [part(each, "href") for each in clones] if isinstance(clones, list) else []
        # Data Center has /scm/ in the path that clones by https take, and nowhere else.
        plain = [url.replace("/scm/", "/", 1) for url in urls if isinstance(url, str)]
        return Push(places(*urls, *plain), tuple(_server_refs(document.get("changes"))))
    return None


def _cloud_refs(changes: object) -> list[Ref]:
    """`new` is null where a ref is gone."""
    found = []
    for change in changes if isinstance(changes, list) else ():
        ref = part(change, "new") or part(change, "old")
        folder, name = _FOLDERS.get(str(part(ref, "type"))), part(ref, "name")
        if folder and isinstance(name, str):
            found.append(Ref(folder + name, gone=part(change, "new") is None))
    return found


def _server_refs(changes: object) -> list[Ref]:
    found = []
    for change in changes if isinstance(changes, list) else ():
        name = part(change, "ref", "id")
        if isinstance(name, str) and name.startswith("refs/"):
            found.append(Ref(name, gone=part(change, "type") == "DELETE"))
    return found


BITBUCKET = HookDialect(hex_proof("x-hub-signature", "sha256="), push_of)
