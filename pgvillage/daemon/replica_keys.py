"""What replicas keep in etcd under their prefix: whose estate it is, who lives, who claims and who asks."""

from __future__ import annotations

import hashlib
import json
import os
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from pgvillage.clients.etcd import KeyValue
from pgvillage.core.errors import SettingsError
from pgvillage.daemon.share_plan import Claim, Member, View
from pgvillage.settings import Repository

CLAIMS, DUTIES, WANTS = "claims/", "duties/", "wants/"
_MEMBERS = "members/"


@dataclass(frozen=True, slots=True)
class Identity:
    """Which estate these replicas reconcile; `repository` is shown to people and holds no password."""

    digest: str
    repository: str

    @classmethod
    def of(cls, repository: Repository) -> Identity:
        at = repository.tag or repository.commit or repository.branch or ""
        url = _without_user(repository.url)
        digest = hashlib.sha256("\0".join([url, at, repository.path]).encode()).hexdigest()[:24]
        return cls(
            digest, f"{url}{f' at {at}' if at else ''}{f', folder {repository.path}' if repository.path else ''}"
        )


@dataclass(frozen=True, slots=True)
class Estate:
    """The key that says whose prefix this is. A claim's token is `base` plus its revision.

    A new etcd counts revisions from 1 again; `base`, microseconds since 1970 when this key was made, keeps tokens
    growing all the same.
    """

    identity: Identity
    base: int
    made: int
    changed: int


@dataclass(frozen=True, slots=True)
class Found:
    """Everything under the prefix, at one revision."""

    estate: Estate | None
    view: View


class Keys:
    """Where things stand under one prefix."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix.rstrip("/") + "/"
        self.estate = self.prefix + "estate"
        self.members = self.prefix + _MEMBERS

    def member(self, name: str) -> str:
        return self.members + name

    def unit(self, unit: str) -> str:
        """Units begin with CLAIMS or DUTIES."""
        return self.prefix + unit

    def want(self, unit: str) -> str:
        return self.prefix + WANTS + unit

    def understand(self, kvs: Iterable[KeyValue]) -> Found:
        """Raises SettingsError when the estate's key holds something else."""
        estate: Estate | None = None
        members: dict[str, Member] = {}
        claims: dict[str, Claim] = {}
        wants: dict[str, str] = {}
        for kv in kvs:
            name = kv.key.removeprefix(self.prefix)
            if name == "estate":
                estate = self._estate(kv)
            elif name.startswith(_MEMBERS):
                member = _member(name.removeprefix(_MEMBERS), kv)
                members[member.name] = member
            elif name.startswith((CLAIMS, DUTIES)):
                claims[name] = Claim(kv.lease, kv.create_revision)
            elif name.startswith(WANTS):
                wants[name.removeprefix(WANTS)] = kv.value.decode("utf-8", "surrogateescape")
        return Found(estate, View(members, claims, wants))

    def _estate(self, kv: KeyValue) -> Estate:
        try:
            found = json.loads(kv.value)
            identity = Identity(str(found["identity"]), str(found["repository"]))
            return Estate(identity, int(found["base"]), kv.create_revision, kv.mod_revision)
        except (ValueError, KeyError, TypeError):
            raise SettingsError(
                f"serve.replicas: the key {kv.key!r} in etcd was not written by PgVillage; choose another prefix"
            ) from None


def estate_value(identity: Identity, base: int) -> bytes:
    return _json({"identity": identity.digest, "repository": identity.repository, "base": base})


def member_value(*, active: bool) -> bytes:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return _json({"active": active, "host": socket.gethostname(), "pid": os.getpid(), "since": now})


def _member(name: str, kv: KeyValue) -> Member:
    try:
        found = json.loads(kv.value)
        told = {key: str(found[key]) for key in ("host", "pid", "since") if key in found}
        return Member(name, kv.lease, found["active"] is True, told)
    except (ValueError, KeyError, TypeError):
        return Member(name, kv.lease, active=False)


def _json(found: dict[str, Any]) -> bytes:
    return json.dumps(found, sort_keys=True).encode()


def _without_user(url: str) -> str:
    """Ssh's `git@` tells nothing apart, and what stands before the @ of an https URL may be a password."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url.rpartition("@")[2]
    if not parts.netloc:
        return url
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
