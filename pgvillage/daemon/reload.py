"""Settings that are read again while the daemon runs: valid ones go into force, others are said and left."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import structlog

from pgvillage.core.errors import PgVillageError
from pgvillage.daemon.chat_service import check_channels
from pgvillage.settings import Settings
from pgvillage.wiring import RealWorld, real_world

log = structlog.get_logger("pgvillage.settings")

_LOOK = 2.0  # seconds between looks at the file
_AT_START = ("listen", "replica", "replicas", "database", "logs")


def checked(world: RealWorld) -> RealWorld:
    """Raises SettingsError for what no single section can see."""
    check_channels(world.settings)
    return world


class Reload:
    """`ask` (SIGHUP), or a file that changed, reads it again; `apply` puts valid settings into force."""

    def __init__(self, file: Path, settings: Settings, apply: Callable[[RealWorld], None]) -> None:
        self._file, self._settings, self._apply = file, settings, apply
        self._asked = asyncio.Event()
        self._stamp = _stamp(file)
        self.told: Callable[[bool], None] = lambda _: None

    def ask(self) -> None:
        self._asked.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                async with asyncio.timeout(_LOOK):
                    await self._asked.wait()
            except TimeoutError:
                if _stamp(self._file) == self._stamp:
                    continue
            self._asked.clear()
            await self.once()

    async def once(self) -> None:
        self._stamp = _stamp(self._file)
        try:
            world = checked(await asyncio.to_thread(real_world, self._file))
            self._apply(world)
        except PgVillageError as error:
            log.error("settings not taken", file=str(self._file), error=str(error), stays="the old ones are in force")
            self.told(False)
            return
        waits = [f"serve.{name}" for name in _AT_START if _differs(world.settings.serve, self._settings.serve, name)]
        waits += ["state"] if world.settings.state != self._settings.state else []
        log.info("settings read again", needs_restart=", ".join(waits))
        self.told(True)


def _differs(one: object, other: object, name: str) -> bool:
    return bool(getattr(one, name) != getattr(other, name))


def _stamp(file: Path) -> tuple[int, int, int]:
    try:
        found = file.stat()
    except OSError:
        return (0, 0, 0)
    return (found.st_mtime_ns, found.st_size, found.st_ino)
