"""Webhook deliveries in the shapes that forges send: headers and bodies, cut to what a push consists of and beside."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import Any

BEFORE, AFTER, GONE = "95790bf891e76fee5e1747ab589903a6a1f80f22", "da1560886d4f094c3e6c9ef40349f7d38b5d27d7", "0" * 40
SECRET = "planted-hook-secret"
SIGNING = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
Made = tuple[dict[str, str], bytes]
_MAIN = "refs/heads/main"


def gitlab_document(ref: str = _MAIN, after: str = AFTER, host: str = "git.example") -> dict[str, Any]:
    tag = ref.startswith("refs/tags/")
    return {
        "object_kind": "tag_push" if tag else "push",
        "event_name": "tag_push" if tag else "push",
        "before": BEFORE,
        "after": after,
        "ref": ref,
        "ref_protected": True,
        "checkout_sha": after,
        "message": None,
        "user_id": 4,
        "user_name": "John <script>@here</script>",
        "user_username": "jsmith",
        "user_email": "john@example.com",
        "project_id": 15,
        "project": {
            "id": 15,
            "name": "estate",
            "description": "",
            "web_url": f"https://{host}/dba/estate",
            "git_ssh_url": f"git@{host}:dba/estate.git",
            "git_http_url": f"https://{host}/dba/estate.git",
            "namespace": "dba",
            "visibility_level": 0,
            "path_with_namespace": "dba/estate",
            "default_branch": "main",
            "homepage": f"https://{host}/dba/estate",
            "url": f"git@{host}:dba/estate.git",
        },
        "commits": [{"id": after, "message": "fixed", "timestamp": "2026-01-03T23:36:29+02:00", "added": ["a.yaml"]}],
        "total_commits_count": 1,
        "repository": {"name": "estate", "url": f"git@{host}:dba/estate.git", "visibility_level": 0},
    }


def gitlab(document: Any = None, secret: str = SECRET, event: str = "Push Hook") -> Made:
    return {
        "content-type": "application/json",
        "user-agent": "GitLab/18.1.0",
        "x-gitlab-event": event,
        "x-gitlab-token": secret,
        "x-gitlab-instance": "https://git.example",
        "x-gitlab-webhook-uuid": "13792a34-cac6-4fda-95a8-c58e00a3954e",
        "x-gitlab-event-uuid": "7e5a8d9e-3c5e-4d7b-8a7e-1f1a0f1b2c3d",
        "idempotency-key": "a5f3a2f0-6f7e-4e0a-9d6f-3f2a1b0c9d8e",
    }, json.dumps(gitlab_document() if document is None else document).encode()  # fmt: skip


def gitlab_signed(document: Any = None, secret: str = SIGNING, at: float | None = None, identity: str = "m1") -> Made:
    headers, body = gitlab(document)
    del headers["x-gitlab-token"]
    sent = str(int(time.time() if at is None else at))
    key = base64.b64decode(secret.removeprefix("whsec_"))
    mac = hmac.new(key, f"{identity}.{sent}.".encode() + body, hashlib.sha256).digest()
    signature = f"v1,{base64.b64encode(b'another key').decode()} v1,{base64.b64encode(mac).decode()}"
    return {
        **headers, "webhook-id": identity, "webhook-timestamp": sent, "webhook-signature": signature,
    }, body  # fmt: skip


def github_document(ref: str = _MAIN, after: str = AFTER, host: str = "git.example") -> dict[str, Any]:
    return {
        "ref": ref,
        "before": BEFORE,
        "after": after,
        "created": False,
        "deleted": after == GONE,
        "forced": False,
        "base_ref": None,
        "compare": f"https://{host}/dba/estate/compare/95790bf891e7...da1560886d4f",
        "commits": [{"id": after, "message": "fixed", "author": {"name": "A", "email": "a@b"}, "added": []}],
        "repository": {
            "id": 1,
            "name": "estate",
            "full_name": "dba/estate",
            "private": True,
            "html_url": f"https://{host}/dba/estate",
            "git_url": f"git://{host}/dba/estate.git",
            "ssh_url": f"git@{host}:dba/estate.git",
            "clone_url": f"https://{host}/dba/estate.git",
            "pushed_at": 1_767_477_389,
            "default_branch": "main",
        },
        "pusher": {"name": "a", "email": "a@b"},
        "sender": {"login": "a", "id": 1},
    }


def _hex(secret: str, body: bytes) -> str:
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def github(document: Any = None, secret: str = SECRET, event: str = "push") -> Made:
    body = json.dumps(github_document() if document is None else document).encode()
    return {
        "content-type": "application/json",
        "user-agent": "GitHub-Hookshot/044aadd",
        "x-github-delivery": "72d3162e-cc78-11e3-81ab-4c9367dc0958",
        "x-github-event": event,
        "x-github-hook-id": "292430182",
        "x-hub-signature": "sha1=7d38cdd689735b008b3c702edd92eea23791c5f6",
        "x-hub-signature-256": "sha256=" + _hex(secret, body),
    }, body


def gitea(document: Any = None, secret: str = SECRET, event: str = "push", name: str = "gitea") -> Made:
    body = json.dumps(github_document() if document is None else document).encode()
    found = {"content-type": "application/json", "x-hub-signature-256": "sha256=" + _hex(secret, body)}
    for each in {"gitea", "gogs", name}:
        found |= {
            f"x-{each}-delivery": "f6266f16-1bf3-46a5-9ea4-602e06ead473",
            f"x-{each}-event": event,
            f"x-{each}-event-type": event,
            f"x-{each}-signature": _hex(secret, body),
        }
    return found, body


def forgejo(document: Any = None, secret: str = SECRET, event: str = "push") -> Made:
    return gitea(document, secret, event, "forgejo")


def bitbucket_document(ref: str = _MAIN, after: str = AFTER, host: str = "git.example") -> dict[str, Any]:
    """Cloud's."""
    _, folder, name = ref.split("/", 2)
    new = {
        "type": {"heads": "branch", "tags": "tag"}[folder],
        "name": name,
        "target": {"type": "commit", "hash": after},
    }
    return {
        "push": {"changes": [{"old": {**new, "target": {"type": "commit", "hash": BEFORE}},
                              "new": None if after == GONE else new, "created": False, "forced": False,
                              "closed": after == GONE, "commits": [], "truncated": False}]},
        "repository": {
            "type": "repository",
            "full_name": "dba/estate",
            "name": "estate",
            "uuid": "{b8d6b5b0-0000-0000-0000-000000000000}",
            "is_private": True,
            "links": {"self": {"href": f"https://api.{host}/2.0/repositories/dba/estate"},
                      "html": {"href": f"https://{host}/dba/estate"},
                      "avatar": {"href": f"https://{host}/avatar"}},
        },
        "actor": {"type": "user", "display_name": "A"},
    }  # fmt: skip


def bitbucket(document: Any = None, secret: str = SECRET, event: str = "repo:push") -> Made:
    body = json.dumps(bitbucket_document() if document is None else document).encode()
    return {
        "content-type": "application/json",
        "user-agent": "Bitbucket-Webhooks/2.0",
        "x-event-key": event,
        "x-hook-uuid": "d6b4b5b0-0000-0000-0000-000000000000",
        "x-request-uuid": "e6b4b5b0-0000-0000-0000-000000000000",
        "x-attempt-number": "1",
        "x-hub-signature": "sha256=" + _hex(secret, body),
    }, body


def data_center_document(ref: str = _MAIN, after: str = AFTER, host: str = "git.example") -> dict[str, Any]:
    return {
        "eventKey": "repo:refs_changed",
        "date": "2026-06-17T19:37:57+1000",
        "actor": {"name": "john", "id": 500, "displayName": "John", "active": True, "slug": "john", "type": "NORMAL"},
        "repository": {
            "slug": "estate", "id": 656, "name": "estate", "scmId": "git", "state": "AVAILABLE",
            "project": {"key": "DBA", "id": 389, "name": "DBA", "public": True, "type": "NORMAL"},
            "public": False,
            "links": {"clone": [{"href": f"ssh://git@{host}:7999/dba/estate.git", "name": "ssh"},
                                {"href": f"https://{host}/scm/dba/estate.git", "name": "http"}],
                      "self": [{"href": f"https://{host}/projects/DBA/repos/estate/browse"}]},
        },
        "changes": [{"ref": {"id": ref, "displayId": ref.split("/", 2)[2], "type": "BRANCH"}, "refId": ref,
                     "fromHash": BEFORE, "toHash": after, "type": "DELETE" if after == GONE else "UPDATE"}],
    }  # fmt: skip


def data_center(document: Any = None, secret: str = SECRET, event: str = "repo:refs_changed") -> Made:
    return bitbucket(data_center_document() if document is None else document, secret, event)
