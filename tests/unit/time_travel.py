"""An event loop whose clock jumps to the next thing that is due: hours of a daemon's life in a moment."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _Selector(selectors.DefaultSelector):
    """Where nothing is ready and no thread works, the time until the next timer passes at once."""

    def __init__(self) -> None:
        super().__init__()
        self.passed = 0.0
        self.threads = 0

    def select(self, timeout: float | None = None) -> Any:
        found = super().select(0)
        if found or timeout == 0:
            return found
        if self.threads or timeout is None:
            return super().select(0.05 if timeout is None else min(timeout, 0.05))
        self.passed += max(timeout, 1e-6)
        return found


class TravelLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._hurried = _Selector()
        super().__init__(self._hurried)

    def time(self) -> float:
        return self._hurried.passed

    def run_in_executor(self, executor: Any, call: Callable[..., Any], *arguments: Any) -> Any:
        self._hurried.threads += 1
        future = super().run_in_executor(executor, call, *arguments)
        future.add_done_callback(self._returned)
        return future

    def _returned(self, _: object) -> None:
        self._hurried.threads -= 1


def travel(story: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=TravelLoop) as runner:
        return runner.run(story)


async def until(ready: Callable[[], object], what: str, seconds: float = 3600, step: float = 0.25) -> None:
    """Waits in the loop's own time."""
    clock = asyncio.get_running_loop().time
    end = clock() + seconds
    while not ready():
        assert clock() < end, f"not within {seconds} s: {what}"
        await asyncio.sleep(step)


Story = Callable[..., Awaitable[None]]
