"""The daemon put together: loop, HTTP, signals, logs."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys

import structlog
import uvicorn

from pgvillage.clients.state.state import State
from pgvillage.core.errors import SettingsError
from pgvillage.daemon.chat import Gather, Notifier
from pgvillage.daemon.chat_delivery import deliver
from pgvillage.daemon.chat_sender import Sender
from pgvillage.daemon.http import http_app
from pgvillage.daemon.metrics import Metrics
from pgvillage.daemon.notices import Notices
from pgvillage.daemon.reconciler import Reconciler
from pgvillage.wiring import RealWorld

_PORTS = 65_535
_PROCESSORS = (
    structlog.contextvars.merge_contextvars,
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
)


def configure_logs() -> None:
    """One JSON object a line on stderr, what libraries say included."""
    render = structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[*_PROCESSORS, render],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    of_libraries = logging.StreamHandler(sys.stderr)
    of_libraries.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*_PROCESSORS, structlog.stdlib.add_logger_name],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.dict_tracebacks,
                render,
            ],
        )
    )
    logging.basicConfig(level=logging.WARNING, handlers=[of_libraries], force=True)


async def serve(world: RealWorld) -> None:
    """Runs until SIGTERM or SIGINT; a write that is under way is finished first. Raises SettingsError."""
    settings = world.settings.serve
    unknown = sorted(set(settings.notify) - set(world.settings.channels))
    if unknown:
        raise SettingsError(f"serve.notify names channels the settings do not have: {', '.join(unknown)}")
    metrics = Metrics()
    state = State.in_file(world.state_folder() / "state.db")
    sender = _sender(state, world, metrics)
    notifier = Notifier(
        state.outbox, world.settings.channels, settings.notify, url=settings.url,
        gather=Gather.within(settings.observe), wake=sender.wake,
    )  # fmt: skip
    reconciler = Reconciler(world, settings, world.source().head, Notices(notifier), metrics)
    sending = asyncio.create_task(sender.run())
    stop = asyncio.Event()
    server = _server(reconciler, metrics)
    listening = asyncio.create_task(server.serve([_socket(settings.listen)]))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    listening.add_done_callback(lambda _: stop.set())
    structlog.get_logger("pgvillage").info("serving", listen=settings.listen, apply=settings.apply)
    await reconciler.run(stop)
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    state.close()
    server.should_exit = True
    await listening
    structlog.get_logger("pgvillage").info("stopped")


def _sender(state: State, world: RealWorld, metrics: Metrics) -> Sender:
    def counted(channel: str, result: str) -> None:
        metrics.delivered(channel, result)

    return Sender(state.outbox, world.settings.channels, deliver, counted=counted)


class _Server(uvicorn.Server):
    """Leaves signals to us: uvicorn would stop on its own and leave the loop running."""

    def install_signal_handlers(self) -> None:
        return

    def capture_signals(self):  # type: ignore[no-untyped-def]
        import contextlib

        return contextlib.nullcontext()


def _server(reconciler: Reconciler, metrics: Metrics) -> _Server:
    app = http_app(reconciler, metrics)
    config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=2)
    return _Server(config)


def _socket(listen: str) -> socket.socket:
    """Bound here, as uvicorn would end the process when it can't. Raises SettingsError."""
    host, _, port = listen.rpartition(":")
    host = host.strip("[]")
    if not port.isdigit() or int(port) > _PORTS or not host:
        raise SettingsError(f"serve.listen: expected ADDRESS:PORT, found {listen!r}")
    try:
        family = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, int(port)), family=family)
    except OSError as error:
        words = error.strerror if isinstance(error, socket.gaierror) else os.strerror(error.errno or 0)
        raise SettingsError(f"serve.listen: can't listen on {listen}: {words}") from None
