"""Notes of a GitLab merge request, and statuses of its commits."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from typing import Any
from urllib.parse import quote

from pgvillage.clients.forge.api import ForgeApi, pages
from pgvillage.core.errors import PgVillageError
from pgvillage.core.merge_request import Comment, CommitStatus, MergeRequest

_PAGE = 100
_TARGET_URL_CHARACTERS = 255
RIGHTS = "the scope `api` and the role Reporter for comments, Developer for statuses"


class GitlabConversation:
    limit = 1_000_000

    def __init__(self, api: ForgeApi, place: MergeRequest) -> None:
        self._api, self._place = api, place
        self._project = f"/projects/{quote(place.project, safe='')}"
        self._notes = f"{self._project}/merge_requests/{place.number}/notes"

    async def account(self) -> Collection[str]:
        name = _part((await self._api.get("/user")).document, "username")
        if not isinstance(name, str):
            raise PgVillageError("the forge does not say whose the token is")
        return (name,)

    async def comments(self) -> AsyncIterator[Comment]:
        for note in await pages(self._api, self._notes, "per_page", _PAGE, sort="asc", order_by="created_at"):
            if note.get("system") is not True:
                author = _part(note.get("author"), "username")
                yield Comment(str(note.get("id")), str(author or ""), str(note.get("body") or ""))

    async def add(self, body: str) -> None:
        await self._api.send("POST", self._notes, {"body": body}, again=False)

    async def edit(self, comment: str, body: str) -> None:
        await self._api.send("PUT", f"{self._notes}/{quote(comment, safe='')}", {"body": body}, again=True)

    async def set_status(self, status: CommitStatus) -> None:
        """In the pipeline that runs, so that no other one is made for it."""
        document: dict[str, Any] = {
            "state": "success" if status.good else "failed",
            "name": status.context,
            "description": status.description,
        }
        if status.url and len(status.url) <= _TARGET_URL_CHARACTERS:
            document["target_url"] = status.url
        if self._place.pipeline.isdigit():
            document["pipeline_id"] = int(self._place.pipeline)
        await self._api.send("POST", f"{self._project}/statuses/{self._place.sha}", document, again=True)


def _part(document: object, key: str) -> object:
    return document.get(key) if isinstance(document, dict) else None
