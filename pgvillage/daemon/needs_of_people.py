"""What `serve` needs for those it speaks with: forges, chat, people who sign in, programs with tokens, signers."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from pgvillage.clients import chat
from pgvillage.clients.oidc import OidcClient, OidcError
from pgvillage.clients.secrets import read_secret
from pgvillage.core.errors import PgVillageError, SettingsError
from pgvillage.core.password_hash import is_password_hash
from pgvillage.core.repository_place import repository_place
from pgvillage.daemon.api_auth import Auth
from pgvillage.daemon.chat_service import check_channels
from pgvillage.settings import Channel, Hook
from pgvillage.usecases.doctor import Check
from pgvillage.wiring import RealWorld

_SHORT = 16  # characters of a webhook's secret


def _said(name: str, check: Callable[[], str]) -> Check:
    try:
        return Check(name, True, check())
    except PgVillageError as error:
        return Check(name, False, str(error))


def _webhooks(world: RealWorld) -> Sequence[Check]:
    return [_hook(name, hook, world.settings.repository.url) for name, hook in world.settings.webhooks.items()]


def _hook(name: str, hook: Hook, url: str) -> Check:
    title, source = f"webhook {name}", hook.signing or hook.secret
    assert source is not None
    if repository_place(hook.repository or url) is None:
        return Check(title, False, f"repository.url is a folder: set webhooks.{name}.repository to the forge's URL")
    check = _said(title, lambda: str(len(read_secret(source, f"webhook {name!r}").reveal())))
    if not check.good:
        return check
    if int(check.text) < _SHORT:
        return Check(title, True, f"its secret has fewer than {_SHORT} characters: make a longer one", warning=True)
    return Check(title, True, f"{hook.forge}, POST /hooks/{name}, secret found")


def _tokens(world: RealWorld) -> Sequence[Check]:
    count = len(world.settings.api.tokens)
    if not count:
        return []

    def look() -> str:
        Auth.of(world.settings)
        return f"{count} token{'' if count == 1 else 's'}, each long enough and of its own"

    return [_said("api", look)]


def _channels(world: RealWorld) -> Sequence[Check]:
    found = [_said(f"channel {name}", _channel(name, each)) for name, each in world.settings.channels.items()]
    try:
        check_channels(world.settings)
    except SettingsError as error:
        found.append(Check("channels", False, str(error)))
    return found


def _channel(name: str, channel: Channel) -> Callable[[], str]:
    return lambda: f"{channel.service} at {chat.ready(name, channel)}; `pgvillage notify test {name}` sends one message"


def _forge(world: RealWorld) -> Sequence[Check]:
    source = world.settings.forge.token
    if source is None:
        return []

    def look() -> str:
        read_secret(source, "forge.token")
        return "token found"

    return [_said("forge", look)]


def _users(world: RealWorld) -> Sequence[Check]:
    users = world.settings.dashboard.users
    wrong = []
    for user in users:
        text = read_secret(user.password, f"dashboard.users: {user.name!r}").reveal()
        if not is_password_hash(text):
            wrong.append(user.name)
    if wrong:
        words = f"{', '.join(wrong)}: no hash; store what `pgvillage password-hash` prints, never the password itself"
        return [Check("dashboard", False, words)]
    return [Check("dashboard", True, f"{len(users)} {'person' if len(users) == 1 else 'people'}")] if users else []


def _oidc(world: RealWorld) -> Sequence[Check]:
    settings = world.settings.dashboard.oidc
    if settings is None:
        return []

    def look() -> str:
        if settings.client_secret is not None:
            read_secret(settings.client_secret, "dashboard.oidc.clientSecret")
        try:
            asyncio.run(OidcClient(settings).discover())
        except OidcError as error:
            raise SettingsError(f"{settings.issuer}: {error}; is dashboard.oidc.issuer right?") from None
        return f"{settings.issuer} answers, with keys"

    return [_said("oidc", look)]


def _signatures(world: RealWorld) -> Sequence[Check]:
    found = world.settings.repository.signatures
    if found is None:
        return []
    needed: list[tuple[str, Path | None, str, str]] = [
        ("allowedSigners", found.allowed_signers, "ssh-keygen", "openssh-client"),
        ("keyring", found.keyring, "gpg", "gpg"),
    ]
    problems = []
    for field, file, program, package in needed:
        if file is not None and not file.is_file():
            problems.append(f"{field}: there is no file {file}")
        if file is not None and shutil.which(program) is None:
            problems.append(f"{field} needs {program}: apt-get install {package}")
    return [Check("signatures", not problems, "; ".join(problems) or "keys and tools are there")]


PEOPLE: Sequence[tuple[str, Callable[[RealWorld], Sequence[Check]]]] = (
    ("webhooks", _webhooks),
    ("api", _tokens),
    ("channels", _channels),
    ("forge", _forge),
    ("dashboard", _users),
    ("oidc", _oidc),
    ("signatures", _signatures),
)
