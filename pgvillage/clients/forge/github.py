"""Comments of a pull request of GitHub, Gitea or Forgejo, and statuses of its commits."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from pgvillage.clients.forge.api import ForgeApi, pages
from pgvillage.core.errors import PgVillageError
from pgvillage.core.merge_request import Comment, CommitStatus, MergeRequest

RIGHTS = "to write pull requests (comments) and commit statuses"


@dataclass(frozen=True, slots=True)
class Service:
    """What differs. `robots` are the accounts of a job's own token, which may not ask for its name."""

    limit: int
    page_size_name: str
    page_size: int
    robots: tuple[str, ...]


SERVICES = {
    "github": Service(65_536, "per_page", 100, ("github-actions[bot]",)),
    "gitea": Service(65_536, "limit", 50, ("gitea-actions",)),
    "forgejo": Service(65_536, "limit", 50, ("forgejo-actions", "gitea-actions")),
}


class GithubConversation:
    def __init__(self, api: ForgeApi, place: MergeRequest) -> None:
        self._api, self._place = api, place
        self._service = SERVICES[place.kind]
        self.limit = self._service.limit
        self._repository = f"/repos/{quote(place.project)}"
        self._comments = f"{self._repository}/issues/{place.number}/comments"

    async def account(self) -> Collection[str]:
        try:
            found = (await self._api.get("/user")).document
        except PgVillageError as error:
            if "(403)" not in str(error) and "(404)" not in str(error):
                raise
            return self._service.robots
        return (_login(found),)

    async def comments(self) -> AsyncIterator[Comment]:
        service = self._service
        for comment in await pages(self._api, self._comments, service.page_size_name, service.page_size):
            yield Comment(str(comment.get("id")), _login(comment.get("user")), str(comment.get("body") or ""))

    async def add(self, body: str) -> None:
        await self._api.send("POST", self._comments, {"body": body}, again=False)

    async def edit(self, comment: str, body: str) -> None:
        path = f"{self._repository}/issues/comments/{quote(comment, safe='')}"
        await self._api.send("PATCH", path, {"body": body}, again=True)

    async def set_status(self, status: CommitStatus) -> None:
        document: dict[str, Any] = {
            "state": "success" if status.good else "failure",
            "context": status.context,
            "description": status.description,
        }
        if status.url:
            document["target_url"] = status.url
        await self._api.send("POST", f"{self._repository}/statuses/{self._place.sha}", document, again=True)


def _login(user: object) -> str:
    found = user.get("login") if isinstance(user, dict) else None
    return found if isinstance(found, str) else ""
