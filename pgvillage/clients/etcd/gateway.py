"""One etcd cluster's HTTP gateway: end points with failover, login, single answers and streams."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from pgvillage.clients.etcd.faults import Answer, Fault, is_refusal, parsed, reason_of, refusal
from pgvillage.clients.etcd.tls import checked_endpoint, tls_context
from pgvillage.clients.secrets import read_secret
from pgvillage.core.errors import ReadError, SettingsError, StepFailed
from pgvillage.settings import Etcd

if TYPE_CHECKING:
    import httpx2


class Gateway:
    """Raises ReadError when nothing was read or written, StepFailed when a write was sent and its answer was lost."""

    def __init__(self, target: str, settings: Etcd) -> None:
        self.target = target
        self._settings = settings
        self._endpoints: list[str] = []
        self._http: httpx2.AsyncClient | None = None
        self._token: str | None = None
        self._login = asyncio.Lock()

    @property
    def endpoints(self) -> tuple[str, ...]:
        """The one that answered last comes first."""
        return tuple(self._endpoints)

    @property
    def timeout(self) -> float:
        """Seconds that one request may take."""
        return self._settings.timeout

    def open(self) -> None:
        """Raises SettingsError or CredentialRefused; nothing is sent yet."""
        import httpx2

        user = bool(self._settings.user)
        if user != bool(self._settings.password):
            raise SettingsError(f"{self.target}: user and password go together; set both or none")
        self._endpoints = [checked_endpoint(self.target, url, with_password=user) for url in self._settings.endpoints]
        limit = self._settings.timeout
        self._http = httpx2.AsyncClient(
            verify=tls_context(self.target, self._settings.tls),
            # half of the time for connecting, so that a member that is down is told from one that took the request
            timeout=httpx2.Timeout(limit, connect=limit / 2),
            trust_env=False,
            follow_redirects=False,
        )

    async def close(self) -> None:
        if self._http is not None:
            await self._http.aclose()
            self._http = None
        self._token = None

    async def call(self, method: str, body: Mapping[str, object], *, writes: bool) -> Mapping[str, Any]:
        """The body of a success, of the first endpoint that answers."""
        return (await self.answer(method, body, writes=writes)).body

    async def answer(self, method: str, body: Mapping[str, object], *, writes: bool) -> Answer:
        return self._accepted(await self._authorized(method, body, writes=writes))

    async def ask(self, endpoint: str, method: str) -> Mapping[str, Any]:
        """A question to this endpoint and no other. Raises ReadError."""
        token = await self._fresh_token(stale=None)
        try:
            return self._accepted(await self._post(endpoint, method, {}, token)).body
        except Fault as fault:
            raise ReadError(self.target, f"{endpoint}: {fault}") from None

    @asynccontextmanager
    async def stream(
        self, endpoint: str, method: str, body: Mapping[str, object], opening: float
    ) -> AsyncIterator[AsyncIterator[Mapping[str, Any]]]:
        """The results of a request that goes on, one JSON object each. Raises Fault or ReadError.

        `opening`: seconds until the stream must be open; how long it may then be silent is the reader's to judge.
        """
        import httpx2

        token = await self._fresh_token(stale=None)
        # A member that has no leader then ends the stream instead of keeping silent.
        headers = {"Grpc-Metadata-hasleader": "true"} | ({"Authorization": token} if token else {})
        time = httpx2.Timeout(None, connect=opening, write=opening, pool=opening)
        request = self._client.build_request(
            "POST", f"{endpoint}/v3/{method}", json=body, headers=headers, timeout=time
        )
        try:
            with _as_fault(opening):
                async with asyncio.timeout(opening):
                    answer = await self._client.send(request, stream=True)
        except Fault:
            self._token = None  # etcd 3.4 keeps silent about a token of a later state than its own
            raise
        try:
            if answer.status_code != 200:
                with _as_fault(opening):
                    content = await answer.aread()
                self._accepted(parsed(self.target, endpoint, answer.status_code, content))
            yield self._results(endpoint, answer)
        finally:
            await answer.aclose()

    async def _results(self, endpoint: str, answer: httpx2.Response) -> AsyncIterator[Mapping[str, Any]]:
        lines = answer.aiter_lines()
        while True:
            with _as_fault(self._settings.timeout):
                line = await anext(lines, None)
            if line is None:
                raise Fault("the stream ended", sent=True)
            if not line.strip():
                continue
            found = self._accepted(parsed(self.target, endpoint, 200, line.encode())).body.get("result")
            if not isinstance(found, Mapping):
                raise ReadError(self.target, f"{endpoint} answered with something that is not etcd's JSON")
            yield found

    async def renew_login(self) -> None:
        """After a stream was refused: its token may have been forgotten. Raises ReadError."""
        await self._fresh_token(stale=self._token)

    def pass_over(self, endpoint: str) -> None:
        """It gave no answer: ask it last."""
        self._endpoints.remove(endpoint)
        self._endpoints.append(endpoint)

    @property
    def _client(self) -> httpx2.AsyncClient:
        if self._http is None:
            raise RuntimeError("EtcdClient is used outside its `async with`")
        return self._http

    async def _authorized(self, method: str, body: Mapping[str, object], *, writes: bool) -> Answer:
        """Sends with a token where a user is set. A refused token means that nothing was done: log in again, once."""
        token = await self._fresh_token(stale=None)
        answer = await self._send(method, body, token, writes=writes)
        if self._settings.user and answer.token_is_stale:
            token = await self._fresh_token(stale=token)
            answer = await self._send(method, body, token, writes=writes)
        return answer

    async def _fresh_token(self, stale: str | None) -> str:
        """A token other than `stale`; empty where no user is set or etcd has authentication off."""
        user, source = self._settings.user, self._settings.password
        if user is None or source is None:
            return ""
        async with self._login:
            if self._token is None or self._token == stale:
                password = await asyncio.to_thread(read_secret, source, f"{self.target}: password")
                body = {"name": user, "password": password.reveal()}
                self._token = self._token_in(await self._send("auth/authenticate", body, "", writes=False))
            return self._token

    def _token_in(self, answer: Answer) -> str:
        """What the server says is never repeated here: it could hold the password."""
        if "authentication is not enabled" in answer.words:
            return ""
        token = str(answer.body.get("token", ""))
        if answer.status == 200 and token.isascii() and token.isprintable() and token:
            return token
        raise ReadError(
            self.target,
            f"{answer.endpoint} refused to log in user {self._settings.user!r} (HTTP status {answer.status}): "
            "check user and password in the settings",
        )

    async def _send(self, method: str, body: Mapping[str, object], token: str, *, writes: bool) -> Answer:
        """The first answer of an endpoint, beginning with the one that answered last."""
        faults = []
        for endpoint in tuple(self._endpoints):
            try:
                answer = await self._post(endpoint, method, body, token)
            except Fault as fault:
                if writes and fault.sent:
                    # The next request is another's turn: whoever swallows answers would swallow the next one too.
                    self.pass_over(endpoint)
                    raise StepFailed(
                        f"{self.target}: a write was sent to {endpoint} and its answer was lost ({fault}). "
                        "It may have been done or not: read again before another attempt"
                    ) from None
                faults.append(f"{endpoint}: {fault}")
            else:
                self._prefer(endpoint)
                return answer
        raise ReadError(self.target, "no endpoint answered; " + "; ".join(faults))

    def _prefer(self, endpoint: str) -> None:
        at = self._endpoints.index(endpoint)
        self._endpoints = self._endpoints[at:] + self._endpoints[:at]

    async def _post(self, endpoint: str, method: str, body: Mapping[str, object], token: str) -> Answer:
        import httpx2

        headers = {"Authorization": token} if token else {}
        try:
            async with asyncio.timeout(self._settings.timeout):
                answer = await self._client.post(f"{endpoint}/v3/{method}", json=body, headers=headers)
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout) as error:
            raise Fault(reason_of(error, self._settings.timeout / 2), sent=False) from None
        except (httpx2.HTTPError, httpx2.StreamError, OSError) as error:
            raise Fault(reason_of(error, self._settings.timeout), sent=not is_refusal(error)) from None
        return parsed(self.target, endpoint, answer.status_code, answer.content)

    def _accepted(self, answer: Answer) -> Answer:
        """Raises ReadError unless it is a success."""
        if answer.refused:
            raise refusal(self.target, answer, self._settings.user, self._token)
        return answer


class _as_fault:  # noqa: N801 - a context manager, used like a function
    """What httpx2 raises while a stream is open, as Fault."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        import httpx2

        if isinstance(error, httpx2.HTTPError | httpx2.StreamError | OSError):
            raise Fault(reason_of(error, self._seconds), sent=True) from None
