"""A user that rotates is a group and two logins; who reads roles sees these, and no kind knows of rotation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pgvillage.core.errors import Diagnostic, Position
from pgvillage.core.rotation import Rotation
from pgvillage.estate.located import Located, Manifests
from pgvillage.estate.manifest import User
from pgvillage.estate.manifest.common import NAME_BYTES, MembershipOptions
from pgvillage.estate.manifest.user import Auth, Rotate, SecretName
from pgvillage.estate.source_text import DocPath, Positions

_ROTATE: DocPath = ("spec", "auth", "rotate")
# What a login has as it is written: faults in it belong to where it stands, all else to `rotate`.
_PASSED_ON = ("heir", "login", "settings", "databaseSettings", "validUntil", "connectionLimit", "clusters")


@dataclass
class _OfLogin(Positions):
    """The places of a login that no manifest spells out: its line in `rotate`."""

    index: int = 0

    def known(self, path: DocPath) -> DocPath:
        if path[:1] == ("spec",) and len(path) > 1 and path[1] in _PASSED_ON and path in self.marks:
            return super().known(path)
        return super().known((*_ROTATE, "roles", self.index))

    def diagnose(
        self, message: str, path: DocPath, *, at_key: bool = False, hint: str = "", severity: str = "error"
    ) -> Diagnostic:
        return super().diagnose(message, self.known(path), at_key=at_key, hint=hint, severity=severity)


def expanded(users: Iterable[Located[User]]) -> Iterator[Located[User]]:
    """Every user; one that rotates as its group and its two logins."""
    for located in users:
        rotate = rotate_of(located.document)
        if rotate is None:
            yield located
            continue
        yield Located(_group(located.document, rotate), located.file, located.positions)
        for index, login in enumerate(login_roles(located.document, rotate)):
            positions = _OfLogin(located.positions.source, located.positions.marks, index)
            yield Located(_login(located.document, login), located.file, positions)


def rotations(users: Iterable[Located[User]]) -> tuple[Rotation, ...]:
    """Those of users that stay."""
    return tuple(rotation for each in users if (rotation := rotation_of(each.document)) is not None)


def rotation_of(user: User) -> Rotation | None:
    auth, rotate = user.spec.auth, rotate_of(user)
    if rotate is None or user.spec.ensure == "absent":
        return None
    assert auth is not None
    assert auth.password is not None
    return Rotation(user.role, login_roles(user, rotate), auth.password.secret, rotate.period)


def rotate_of(user: User) -> Rotate | None:
    return user.spec.auth.rotate if user.spec.auth is not None else None


def login_roles(user: User, rotate: Rotate) -> tuple[str, str]:
    first, second = rotate.roles or (f"{user.role}_a", f"{user.role}_b")
    return first, second


def _group(user: User, rotate: Rotate) -> User:
    """The user's own role: what it may and owns stays with it, how one logs in goes to the logins."""
    if rotate.keep_login:
        return _with(user, auth=None)
    nothing: dict[str, object] = {"valid_until": None, "connection_limit": -1, "settings": {}, "database_settings": {}}
    return _with(user, login=False, auth=Auth(method="none"), **nothing)


def _login(user: User, login: str) -> User:
    """A member that acts as the group from its first statement on, so that whatever it makes belongs to the group."""
    absent = user.spec.ensure == "absent"
    assert user.spec.auth is not None
    assert user.spec.auth.password is not None
    # not validated: the name is one that no manifest can write
    secret = SecretName.model_construct(secret=f"{user.spec.auth.password.secret}/{login}")
    return _with(
        user,
        role=login,
        auth=Auth.model_construct(method="scram", password=secret, rotate=None),
        superuser=False,
        createdb=False,
        createrole=False,
        bypassrls=False,
        inherit=True,
        comment=None,
        settings={**user.spec.settings, "role": user.role},
        member_of=[MembershipOptions(role=user.role, set=True)],
        privileges=[],
        heir=user.spec.heir if absent else user.role,
    )


def _with(user: User, **changes: object) -> User:
    return user.model_copy(update={"spec": user.spec.model_copy(update=changes)})


def check_rotations(manifests: Manifests) -> Iterator[Diagnostic]:
    """What only shows when a rotation meets the rest: its names, its settings, and who else uses its secret."""
    used: dict[str, Position] = {}
    for user in _rotating_first(manifests):
        rotation, auth = rotation_of(user.document), user.document.spec.auth
        if auth is None or auth.password is None or user.document.spec.ensure == "absent":
            continue
        path: DocPath = ("spec", "auth", "password", "secret")
        if rotation is not None:
            yield from _names_and_settings(user, rotation)
        elif auth.password.secret not in used:
            continue
        first = used.setdefault(auth.password.secret, user.at(*path))
        if first != user.at(*path):
            hint = "a rotation has a secret of its own"
            yield user.fault(f"this secret holds the logins of the user at {first}", *path, hint=hint)


def _rotating_first(manifests: Manifests) -> list[Located[User]]:
    return sorted(manifests.users.values(), key=lambda user: rotate_of(user.document) is None)


def _names_and_settings(user: Located[User], rotation: Rotation) -> Iterator[Diagnostic]:
    for login in rotation.roles:
        if len(login.encode()) > NAME_BYTES:
            hint = "name two shorter ones: `roles: [NAME, NAME]`"
            yield user.fault(f"the login {login} is longer than {NAME_BYTES} bytes", *_ROTATE, hint=hint)
    for name in user.document.spec.settings:
        if name.lower() == "role":
            text = f"the logins of a rotation act as {rotation.role}: `role` can't be set besides"
            yield user.fault(text, "spec", "settings", name, hint="remove it")
