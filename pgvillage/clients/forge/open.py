"""A merge request's conversation, opened with the token of the settings."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pgvillage.clients.forge import github, gitlab
from pgvillage.clients.forge.api import ForgeApi
from pgvillage.clients.secrets import read_secret
from pgvillage.core.errors import SecretError
from pgvillage.core.merge_request import MergeRequest
from pgvillage.settings import Forge, SecretSource

TOKEN_VARIABLE = "PGVILLAGE_FORGE_TOKEN"  # noqa: S105 - the name of a variable


@asynccontextmanager
async def conversation(
    forge: Forge, place: MergeRequest
) -> AsyncIterator[gitlab.GitlabConversation | github.GithubConversation]:
    """Raises SecretError, SettingsError; nothing is asked yet."""
    source = forge.token or SecretSource(env=TOKEN_VARIABLE)
    token = (await asyncio.to_thread(read_secret, source, "forge.token")).reveal()
    if not token.isascii() or not token.isprintable() or " " in token:
        raise SecretError("forge.token holds a character that HTTP cannot carry")
    if place.kind == "gitlab":
        async with ForgeApi(place.api, {"private-token": token}, gitlab.RIGHTS, forge.ca) as api:
            yield gitlab.GitlabConversation(api, place)
        return
    headers = {"authorization": f"token {token}"}
    if place.kind == "github":
        headers = {
            "authorization": f"Bearer {token}",
            "accept": "application/vnd.github+json",
            "x-github-api-version": "2022-11-28",
        }
    async with ForgeApi(place.api, headers, github.RIGHTS, forge.ca) as api:
        yield github.GithubConversation(api, place)
