"""HTTP calls of jobs: one request, no redirect, one time limit for all of it."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING

from pgvillage.clients.job_output import Output
from pgvillage.core.job_work import HttpWork, Sink, WorkResult
from pgvillage.core.secret import Secret

if TYPE_CHECKING:
    import httpx2


async def call(work: HttpWork, sink: Sink) -> WorkResult:
    """What came of it; never raises for what the other side does. TLS is verified with the system's authorities."""
    import httpx2

    output = Output(work.keep, work.headers.values(), sink)
    headers = {name: value.reveal() if isinstance(value, Secret) else value for name, value in work.headers.items()}
    headers.setdefault("Idempotency-Key", work.key)
    sent = False
    try:
        async with (
            asyncio.timeout(work.seconds),
            httpx2.AsyncClient(timeout=None, trust_env=False, follow_redirects=False) as client,
        ):
            body = work.body.encode() if work.body is not None else None
            request = client.build_request(work.method, work.url, content=body, headers=headers)
            sent = True
            answer = await client.send(request, stream=True)
            try:
                await _read(answer, output)
            finally:
                await answer.aclose()
    except TimeoutError:
        return WorkResult(1, output=output.end(), error=f"no whole answer within {work.seconds:g} s", uncertain=sent)
    except (httpx2.ConnectError, httpx2.InvalidURL, httpx2.UnsupportedProtocol, ssl.SSLError, ValueError) as error:
        return WorkResult(1, error=output.clean(f"nothing was sent: {_words(error)}"))
    except httpx2.HTTPError as error:
        words = output.clean(f"the connection broke: {_words(error)}")
        return WorkResult(1, output=output.end(), error=words, uncertain=True)
    return _judged(work, answer.status_code, output)


async def _read(answer: httpx2.Response, output: Output) -> None:
    """As much as is kept: the rest of an endless body is nobody's business."""
    async for chunk in answer.aiter_bytes():
        output.feed(chunk)
        if output.truncated:
            return


def _judged(work: HttpWork, status: int, output: Output) -> WorkResult:
    good = status in work.status if work.status else 200 <= status < 300
    wanted = ", ".join(map(str, work.status)) or "200 to 299"
    redirect = "; redirects are not followed" if 300 <= status < 400 else ""
    error = "" if good else f"answered {status}, expected {wanted}{redirect}"
    return WorkResult(0 if good else status, output=output.end(), truncated=output.truncated, error=error)


def _words(error: Exception) -> str:
    return str(error).splitlines()[0][:300] if str(error) else type(error).__name__
