"""The daemon put together: loop, HTTP, signals, logs."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys

import structlog
import uvicorn

from pgvillage.clients.chat import post
from pgvillage.core.errors import SettingsError
from pgvillage.daemon.http import http_app
from pgvillage.daemon.metrics import Metrics
from pgvillage.daemon.notices import Notices
from pgvillage.daemon.reconciler import Reconciler
from pgvillage.wiring import RealWorld


def configure_logs() -> None:
    """One JSON object a line on stderr."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


async def serve(world: RealWorld) -> None:
    """Runs until SIGTERM or SIGINT; a write that is under way is finished first. Raises SettingsError."""
    settings = world.settings.serve
    unknown = sorted(set(settings.notify) - set(world.settings.channels))
    if unknown:
        raise SettingsError(f"serve.notify names channels the settings do not have: {', '.join(unknown)}")
    metrics = Metrics()
    channels = {name: world.settings.channels[name] for name in settings.notify}
    notices = Notices(world.state_folder() / "notices.json", channels, post, metrics)
    reconciler = Reconciler(world, settings, world.source().head, notices, metrics)
    stop = asyncio.Event()
    server = _server(settings.listen, reconciler, metrics)
    listening = asyncio.create_task(server.serve())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    listening.add_done_callback(lambda _: stop.set())
    structlog.get_logger("pgvillage").info("serving", listen=settings.listen, apply=settings.apply)
    await reconciler.run(stop)
    server.should_exit = True
    await listening
    structlog.get_logger("pgvillage").info("stopped")


class _Server(uvicorn.Server):
    """Leaves signals to us: uvicorn would stop on its own and leave the loop running."""

    def install_signal_handlers(self) -> None:
        return

    def capture_signals(self):  # type: ignore[no-untyped-def]
        import contextlib

        return contextlib.nullcontext()


def _server(listen: str, reconciler: Reconciler, metrics: Metrics) -> _Server:
    host, _, port = listen.rpartition(":")
    if not port.isdigit() or not host:
        raise SettingsError(f"serve.listen: expected ADDRESS:PORT, found {listen!r}")
    config = uvicorn.Config(
        http_app(reconciler, metrics),
        host=host.strip("[]"),
        port=int(port),
        log_config=None,
        access_log=False,
        lifespan="off",
    )
    return _Server(config)
