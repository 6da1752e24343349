"""The way to a cluster's primary: hosts by the manifest or by etcd, and who leads by the HA engine's word."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Self

from pgvillage.clients.leading import Lead, StateUnusable
from pgvillage.clients.pg_connect import Endpoint
from pgvillage.core.errors import ReadError


class Way:
    """An async context, which may be entered again after it was left. `endpoint` is what manifest and settings say:
    without hosts where these are the engine's to name.
    """

    def __init__(self, endpoint: Endpoint, lead: Lead | None = None) -> None:
        self.endpoint, self._lead = endpoint, lead
        self._term = ""
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Raises SettingsError or CredentialRefused for an etcd that may not be asked like that."""
        if self._lead is not None:
            await self._stack.enter_async_context(self._lead)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def find(self) -> Endpoint:
        """Where to connect now. Raises ReadError where only etcd could tell, or where what it tells is no good."""
        if self._lead is None:
            return self.endpoint
        try:
            found = await self._lead.ask()
        except StateUnusable:
            raise
        except ReadError as error:
            return self._unasked(error)
        self._term = found.term
        if self.endpoint.hosts:
            return replace(self.endpoint, leadership=found)
        if not found.addresses:
            raise ReadError(self.endpoint.cluster, f"{found.engine} names no node in etcd yet: does it run?")
        return replace(self.endpoint, hosts=found.hosts, leadership=replace(found, followed=True))

    def _unasked(self, error: ReadError) -> Endpoint:
        if not self.endpoint.hosts:
            raise ReadError(self.endpoint.cluster, f"nobody says where it is: {error}") from None
        self._term = ""
        text = f"who leads was not asked, and the manifest's hosts were taken as they are: {error}"
        return replace(self.endpoint, notes=(text,))

    async def term(self) -> str:
        """The term of whoever leads now, by one small question; the one of before where etcd does not answer and the
        manifest has hosts. "" without an engine. Raises ReadError.
        """
        if self._lead is None:
            return ""
        try:
            return await self._lead.term()
        except StateUnusable:
            raise
        except ReadError as error:
            if not self.endpoint.hosts:
                raise ReadError(self.endpoint.cluster, f"nobody says who leads: {error}") from None
            return self._term
