"""Rotations against their stores: what each login's password is, a new one before it is set, promotion after."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

from pgvillage.clients.login_stores import LoginEntry, LoginFile, LoginRecord, LoginStore
from pgvillage.clients.secret_stores import FilePlace, OpenStores, SopsPlace, VaultPlace
from pgvillage.clients.secrets import PARALLEL, called, new_password, place_of, read_secret, reason_of, source_of
from pgvillage.core.errors import PgVillageError, SecretError
from pgvillage.core.rotation import Logins, Rotation, begin, passwords, promote, read_logins, written_logins
from pgvillage.core.secret import Absent, Secret, SecretsFound
from pgvillage.settings import SecretSource

Secrets = Mapping[str, SecretSource]

_TRIES = 5


def look_up_logins(secrets: Secrets, rotations: Iterable[Rotation], now: datetime) -> SecretsFound:
    """The passwords of every login that can be had here, and why the others can't; nothing is made or written."""

    def one(rotation: Rotation) -> SecretsFound:
        try:
            logins, _ = _read(_store(secrets, rotation, stores), rotation)
            return passwords(logins, rotation, now)
        except PgVillageError as error:
            reason = f"{reason_of(error, rotation.secret)}; whether a rotation is due is not known here"
            return SecretsFound(absent={rotation.secret_of(role): Absent(reason) for role in rotation.roles})

    found = SecretsFound()
    with OpenStores(read_secret) as stores, ThreadPoolExecutor(PARALLEL) as pool:
        for each in pool.map(one, rotations):
            found |= each
    return found


def obtain_login(secrets: Secrets, rotation: Rotation, login: str, now: datetime) -> Secret:
    """The login's password as an apply needs it: where its turn has come, a new one is made and stored first.

    Of two that do so at once one is the first, and the other takes what is there then. Raises SecretError.
    """
    source = source_of(secrets, rotation.secret)

    def begun(logins: Logins | None) -> Logins:
        length = source.generate.length if source.generate else 32
        return begin(logins, rotation, now, lambda: new_password(length))

    found = _changed(secrets, rotation, begun).of(login)
    if found is None:
        raise SecretError(f"{called(rotation.secret)}: its record has no password for {login}")
    return Secret(found.password)


def promote_login(secrets: Secrets, rotation: Rotation, confirmed: Secret, now: datetime) -> bool:
    """Put the pending login in use, if it is still the one whose password is `confirmed`; False if it is not."""
    mine = False

    def promoted(logins: Logins | None) -> Logins:
        nonlocal mine
        mine = logins is not None and logins.pending is not None and Secret(logins.pending.password) == confirmed
        if logins is None or not mine:
            return logins or Logins()
        return promote(logins, rotation, now)

    _changed(secrets, rotation, promoted)
    return mine


def _changed(secrets: Secrets, rotation: Rotation, change: Callable[[Logins | None], Logins]) -> Logins:
    """The record after `change`, stored if it differs; begun again when somebody else was faster."""
    with OpenStores(read_secret) as stores:
        store = _store(secrets, rotation, stores)
        for _ in range(_TRIES):
            old, version = _read(store, rotation)
            new = change(old)
            if new == (old or Logins()) or store.swap(version, written_logins(new)):
                return new
    raise SecretError(f"{called(rotation.secret)}: others change it all the time; run again")


def _read(store: LoginStore, rotation: Rotation) -> tuple[Logins | None, object]:
    values, version = store.read()
    return (None if values is None else read_logins(values, called(rotation.secret))), version


def _store(secrets: Secrets, rotation: Rotation, stores: OpenStores) -> LoginStore:
    name = rotation.secret
    source, what = source_of(secrets, name), called(name)
    if source.generate is None:
        raise SecretError(
            f"{what}: the settings do not let it be rotated: give it a file, vault or sops and `generate`"
        )
    place = place_of(source, what, name, stores)
    if isinstance(place, VaultPlace):
        return LoginRecord(place)
    if isinstance(place, SopsPlace):
        return LoginEntry(place, what)
    assert isinstance(place, FilePlace)
    return LoginFile(place)
