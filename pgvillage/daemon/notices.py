"""Drift reports to chat: on transitions only, remembered over restarts."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import structlog

from pgvillage.core.errors import PgVillageError
from pgvillage.core.plan import Plan, Status
from pgvillage.daemon.look import Look
from pgvillage.daemon.metrics import Metrics
from pgvillage.report.chat import DriftMessage, as_json, as_slack, drift_message, resolved_message
from pgvillage.settings import Webhook

log = structlog.get_logger("pgvillage.notices")

Post = Callable[[str, Webhook, Mapping[str, Any]], Awaitable[None]]


class Notices:
    """What each channel was told last about each target; a message that could not be delivered is told again."""

    def __init__(self, file: Path, channels: Mapping[str, Webhook], post: Post, metrics: Metrics) -> None:
        self._file, self._channels, self._post, self._metrics = file, channels, post, metrics
        self._told: dict[str, dict[str, str]] = _load(file)

    async def tell(self, plan: Plan) -> None:
        """Send what is new: drift that appeared, changed or went away. What could not be read is no news."""
        for target in plan.targets:
            if target.status is not Status.PLANNED or target.unread:
                continue
            name = str(target.target)
            message = drift_message(plan, target=target.target)
            for channel in self._channels:
                told = self._told.setdefault(channel, {})
                if message.lines and told.get(name) != message.key:
                    if await self._send(channel, message):
                        told[name] = message.key
                elif (
                    not message.lines
                    and name in told
                    and await self._send(channel, resolved_message(target.target, told[name]))
                ):
                    del told[name]
        _store(self._file, self._told)

    async def looked(self, look: Look) -> None:
        await self.tell(look.plan)

    async def keep(self, targets: Collection[str]) -> None:
        """A target that left the estate has nothing to be resolved."""
        for told in self._told.values():
            for name in set(told) - set(targets):
                del told[name]
        _store(self._file, self._told)

    async def _send(self, channel: str, message: DriftMessage) -> bool:
        settings = self._channels[channel]
        payload = as_slack(message) if settings.format == "slack" else as_json(message)
        try:
            await self._post(channel, settings, payload)
        except PgVillageError as error:
            log.warning("message not delivered", channel=channel, error=str(error))
            self._metrics.delivered(channel, good=False)
            return False
        log.info("message delivered", channel=channel, title=message.title)
        self._metrics.delivered(channel, good=True)
        return True


def _load(file: Path) -> dict[str, dict[str, str]]:
    """Losing this file costs one repeated message, so a broken one is as good as none."""
    try:
        found = json.loads(file.read_text())
        return {str(c): {str(t): str(k) for t, k in told.items()} for c, told in found.items()}
    except (OSError, ValueError, AttributeError):
        return {}


def _store(file: Path, told: Mapping[str, Mapping[str, str]]) -> None:
    """What can't be kept costs a repeated message after a restart, and no round."""
    fresh = file.with_suffix(".new")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        fresh.write_text(json.dumps(told))
        fresh.replace(file)
    except OSError as error:
        log.warning("what was told can't be kept", file=str(file), error=error.strerror)
