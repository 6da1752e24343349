"""GitLab's webhooks: a secret token that is sent along, or a signature as of Standard Webhooks."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from typing import Any

from pgvillage.daemon.hooks.delivery import Delivery, Headers, HookDialect, Push, part, places, ref_after, same, text

_WINDOW = 300  # seconds, of Standard Webhooks
_KEY_PREFIX = "whsec_"
_LONGEST_ID = 200


def by_token(delivery: Delivery, key: bytes, now: float) -> str | None:
    del now
    found = delivery.headers.get("x-gitlab-token", "").encode(errors="replace")
    return delivery.identity if hmac.compare_digest(found, key) else None


def by_signature(delivery: Delivery, key: bytes, now: float) -> str | None:
    """webhook-signature is `v1,BASE64`, several when a key is being changed, over `ID.SECONDS.BODY`."""
    identity, sent = (delivery.headers.get(f"webhook-{name}", "") for name in ("id", "timestamp"))
    signed = b".".join((identity.encode(errors="replace"), sent.encode(errors="replace"), delivery.body))
    expected = "v1," + base64.b64encode(hmac.new(_key(key), signed, hashlib.sha256).digest()).decode()
    given = delivery.headers.get("webhook-signature", "").split(" ")
    good = [same(each, expected) for each in given[:8]]
    recent = sent.isascii() and sent.isdigit() and len(sent) < 15 and abs(now - int(sent)) <= _WINDOW
    return identity if any(good) and recent and 0 < len(identity) <= _LONGEST_ID else None


def _key(key: bytes) -> bytes:
    """The bytes behind `whsec_BASE64`; another text stands for itself."""
    if not key.startswith(_KEY_PREFIX.encode()):
        return key
    try:
        return base64.b64decode(key[len(_KEY_PREFIX) :], validate=True)
    except binascii.Error:
        return key


def push_of(headers: Headers, document: Mapping[str, Any]) -> Push | None:
    if headers.get("x-gitlab-event") not in ("Push Hook", "Tag Push Hook", "System Hook"):
        return None
    if document.get("object_kind") not in ("push", "tag_push"):
        return None
    project = document.get("project")
    urls = (part(project, key) for key in ("git_http_url", "git_ssh_url", "web_url"))
    refs = ref_after(document.get("ref"), document.get("after"))
    return Push(places(*urls), refs, text(part(project, "default_branch")))


TOKEN = HookDialect(by_token, push_of)
SIGNED = HookDialect(by_signature, push_of)
