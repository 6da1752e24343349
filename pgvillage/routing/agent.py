"""HAProxy's agent-check: a line `GROUP/NODE CHECK` comes in, `up`, `drain` or `down` goes out."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from pgvillage.routing.answers import Answers
from pgvillage.routing.health import CHECKS, Sight, agent_word

_LONGEST = 400  # bytes of a question
_SECONDS = 2.0
_MOST = 256  # who may ask at a time


class Agent:
    def __init__(self, answers: Answers, most: int | None) -> None:
        self._answers, self._most = answers, most
        self._open = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, one question."""
        self._open += 1
        try:
            if self._open <= _MOST:
                with suppress(TimeoutError, OSError, asyncio.LimitOverrunError, asyncio.IncompleteReadError):
                    async with asyncio.timeout(_SECONDS):
                        line = await reader.readuntil(b"\n")
                        writer.write(f"{self.word(line.decode('utf-8', 'replace'))}\n".encode())
                        await writer.drain()
        finally:
            self._open -= 1
            writer.close()

    def word(self, line: str) -> str:
        """`down` for whatever is no question, too."""
        place, _, check = line.strip().partition(" ")
        group, _, node = place.partition("/")
        sight = self._answers.node(group, node)
        if not isinstance(sight, Sight) or check not in CHECKS:
            return "down # no such node or check"
        return agent_word(check, sight, self._most)


async def agent_server(agent: Agent, host: str, port: int) -> asyncio.Server:
    """Raises OSError."""
    return await asyncio.start_server(agent.serve, host, port, limit=_LONGEST)
