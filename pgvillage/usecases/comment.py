"""Telling a merge request what its plan is: one comment, edited in place, and a commit's status."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from typing import Protocol

from pgvillage.core.errors import PgVillageError
from pgvillage.core.merge_request import Comment, CommitStatus


class Conversation(Protocol):
    """A merge request on its forge. Everything raises PgVillageError with words that say what to do."""

    limit: int

    async def account(self) -> Collection[str]: ...
    def comments(self) -> AsyncIterator[Comment]: ...
    async def add(self, body: str) -> None: ...
    async def edit(self, comment: str, body: str) -> None: ...
    async def set_status(self, status: CommitStatus) -> None: ...


async def tell(conversation: Conversation, mark: str, body: str, status: CommitStatus) -> list[str]:
    """What could not be told, in words; a comment that fails does not keep the status from being set."""
    problems = []
    try:
        await _comment(conversation, mark, body)
    except PgVillageError as error:
        problems.append(f"the comment was not written: {error}")
    try:
        await conversation.set_status(status)
    except PgVillageError as error:
        problems.append(f"the commit's status was not set: {error}")
    return problems


async def _comment(conversation: Conversation, mark: str, body: str) -> None:
    """The first of ours with the mark is edited: what others wrote is never touched, whatever it holds."""
    ours = await conversation.account()
    async for comment in conversation.comments():
        if comment.author in ours and comment.body.startswith(mark):
            if comment.body.strip() != body.strip():
                await conversation.edit(comment.id, body)
            return
    await conversation.add(body)
