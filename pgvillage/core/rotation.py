"""Rotation: two login roles of one user by turns, as a record of a secret store; pure, and safe between any two steps.

absent ─ begin ─> pending ─ every cluster has it ─ promote ─> in use ─ `every` later ─ begin ─> pending …
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from pgvillage.core.errors import SecretError
from pgvillage.core.secret import Absent, InUse, Secret, SecretsFound

NewPassword = Callable[[], str]

_FORM = "%Y-%m-%dT%H:%M:%SZ"
# What stands in a store. `username` and `password` are for applications, the rest is for us.
KEYS = (
    "username", "password", "since",
    "previous_username", "previous_password",
    "next_username", "next_password",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Rotation:
    """What a User asks for: `role` is the user's own, `roles` log in by turns, `every` says how often they change."""

    role: str
    roles: tuple[str, str]
    secret: str
    every: timedelta

    def secret_of(self, login: str) -> str:
        """The name by which the login's password is asked for; no secret of the settings can be called so."""
        return f"{self.secret}/{login}"

    def login_of(self, secret: str) -> str | None:
        return next((login for login in self.roles if self.secret_of(login) == secret), None)


@dataclass(frozen=True, slots=True)
class Login:
    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Logins:
    """The record: the login that applications use, the one before (valid until its turn comes), the one to be next."""

    active: Login | None = None
    since: datetime | None = None
    previous: Login | None = None
    pending: Login | None = None

    def of(self, username: str) -> Login | None:
        """What the role's password is, or is about to be."""
        known = (self.pending, self.active, self.previous)
        return next((login for login in known if login is not None and login.username == username), None)


@dataclass(frozen=True, slots=True)
class LoginsSeen:
    """What a look at a target found: logins of rotations, and the passwords that it has, by the secret's name."""

    in_use: Mapping[str, InUse] = field(default_factory=dict)
    confirmed: Mapping[str, Secret] = field(default_factory=dict)


def read_logins(values: Mapping[str, object], what: str) -> Logins:
    """The record in a store's keys. Raises SecretError, which holds no value, when it is none of ours."""
    texts = {key: values[key] for key in KEYS if key in values}
    if not texts or not all(isinstance(text, str) for text in texts.values()):
        raise SecretError(_foreign(what))

    def login(prefix: str) -> Login | None:
        pair = (texts.get(f"{prefix}username"), texts.get(f"{prefix}password"))
        if pair == (None, None):
            return None
        if not prefix and pair[0] is None:
            raise SecretError(_foreign(what))
        if not all(pair):
            raise SecretError(f"{what}: {prefix}username and {prefix}password of its record do not belong together")
        return Login(str(pair[0]), str(pair[1]))

    found = Logins(login(""), _since(texts.get("since"), what), login("previous_"), login("next_"))
    if (found.active is None) is not (found.since is None):
        raise SecretError(f"{what}: its record says `username` without `since`, or the other way round")
    return found


def _foreign(what: str) -> str:
    return f"{what}: its place holds something else than logins: name a new secret for them"


def active_password(secret: Secret, what: str) -> Secret:
    """The password in use, where the value is a whole record as text; any other value is itself."""
    text = secret.reveal()
    try:
        values = json.loads(text) if text.startswith("{") else None
    except (ValueError, RecursionError):
        return secret
    if not isinstance(values, dict) or not values or not set(values) <= set(KEYS):
        return secret
    active = read_logins(values, what).active
    if active is None:
        raise SecretError(f"{what}: no login of its rotation is in use yet")
    return Secret(active.password)


def _since(text: object, what: str) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        raise SecretError(f"{what}: `since` of its record is no time such as 2026-03-01T12:00:00Z") from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def written_logins(logins: Logins) -> dict[str, str]:
    """The keys as they are stored; what is not there has none."""
    found: dict[str, str] = {}
    pairs = (("", logins.active), ("previous_", logins.previous), ("next_", logins.pending))
    for prefix, login in pairs:
        if login is not None:
            found |= {f"{prefix}username": login.username, f"{prefix}password": login.password}
    if logins.since is not None:
        found["since"] = logins.since.astimezone(UTC).strftime(_FORM)
    return {key: found[key] for key in KEYS if key in found}


def due(logins: Logins | None, rotation: Rotation, now: datetime) -> str:
    """Why a rotation has to begin, in words; nothing while one is under way or none is due."""
    if logins is None:
        return "there is no login yet"
    if logins.pending is not None and logins.pending.username in rotation.roles:
        return ""
    active, since = logins.active, logins.since
    if active is None or since is None:
        return "there is no login yet"
    if active.username not in rotation.roles:
        return f"{active.username} is none of its roles any more"
    return f"{active.username} is {age(since, now)} old" if now - since >= rotation.every else ""


def age(since: datetime, now: datetime) -> str:
    """`30 d`, or `7 h` for less than a day."""
    hours = max(0, int((now - since).total_seconds() // 3600))
    return f"{hours // 24} d" if hours >= 24 else f"{hours} h"


def next_role(logins: Logins | None, rotation: Rotation) -> str:
    """Whose turn it is."""
    first, second = rotation.roles
    return second if logins is not None and logins.active and logins.active.username == first else first


def begin(logins: Logins | None, rotation: Rotation, now: datetime, new: NewPassword) -> Logins:
    """The record with a password for the role whose turn it is, as pending; itself when nothing is due."""
    if not due(logins, rotation, now):
        assert logins is not None
        return logins
    old = logins or Logins()
    turn = next_role(old, rotation)
    other = next(role for role in rotation.roles if role != turn)
    begun = replace(old, pending=Login(turn, new()))
    return begun if begun.of(other) else replace(begun, previous=Login(other, new()))


def promote(logins: Logins, rotation: Rotation, now: datetime) -> Logins:
    """The pending login is the one in use; the one before keeps its password until its turn comes."""
    assert logins.pending is not None
    other = next(role for role in rotation.roles if role != logins.pending.username)
    before = logins.active if logins.active and logins.active.username == other else logins.previous
    return Logins(active=logins.pending, since=now, previous=before)


def passwords(logins: Logins | None, rotation: Rotation, now: datetime) -> SecretsFound:
    """What each of the two roles has or is to have; for a rotation that is due, that an apply will make it."""
    values: dict[str, Secret] = {}
    absent: dict[str, Absent] = {}
    why = due(logins, rotation, now)
    for role in rotation.roles:
        name = rotation.secret_of(role)
        login = logins.of(role) if logins is not None else None
        if why and (login is None or role == next_role(logins, rotation)):
            words = "" if login is None else f"rotate the password of {role}: {why}"
            absent[name] = Absent(why, generates=True, rotates=words)
        elif login is not None:
            values[name] = Secret(login.password)
        else:
            absent[name] = Absent("its record has no password for this role; the next rotation gives it one")
    return SecretsFound(values, absent, {} if logins is None else {rotation.secret: in_use(logins)})


def in_use(logins: Logins) -> InUse:
    active, pending = logins.active, logins.pending
    return InUse(active.username if active else "", logins.since, pending.username if pending else "")
