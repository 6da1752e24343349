"""Webhooks of GitHub, and of Gitea and Forgejo, which speak nearly the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pgvillage.daemon.hooks.delivery import (
    Headers,
    HookDialect,
    Push,
    PushOf,
    hex_proof,
    part,
    places,
    ref_after,
    text,
)

_URLS = ("clone_url", "ssh_url", "html_url")


def _push_of(event_header: str) -> PushOf:
    def push_of(headers: Headers, document: Mapping[str, Any]) -> Push | None:
        if headers.get(event_header) != "push":
            return None
        repository = document.get("repository")
        refs = ref_after(document.get("ref"), document.get("after"))
        urls = (part(repository, key) for key in _URLS)
        return Push(places(*urls), refs, text(part(repository, "default_branch")))

    return push_of


GITHUB = HookDialect(hex_proof("x-hub-signature-256", "sha256="), _push_of("x-github-event"))
GITEA = HookDialect(hex_proof("x-gitea-signature"), _push_of("x-gitea-event"))
# Forgejo sends Gitea's headers as well; its own are what its documentation names.
FORGEJO = HookDialect(hex_proof("x-forgejo-signature"), _push_of("x-forgejo-event"))
