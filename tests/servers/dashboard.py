"""The dashboard alone, served by uvicorn in a thread, with a state of its own."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette

from pgvillage.clients.state.state import State
from pgvillage.core.password_hash import hash_password
from pgvillage.daemon.actions import Actions
from pgvillage.daemon.dashboard.board import AskAccess, Board
from pgvillage.daemon.dashboard.routes import dashboard_routes
from pgvillage.settings import Settings
from tests.servers import free_port, wait_until

PASSWORD = "correct horse"


@dataclass
class Served:
    url: str
    port: int
    state: State
    board: Board
    woken: list[str] = field(default_factory=list)


@functools.cache
def _hash() -> str:
    return hash_password(PASSWORD)


def settings_of(folder: Path, port: int, **dashboard: Any) -> Settings:
    hash_file = folder / "password-hash"
    hash_file.write_text(_hash())
    users = [{"name": n, "role": n, "password": {"file": str(hash_file)}} for n in ("viewer", "approver", "admin")]
    serve = {"listen": f"127.0.0.1:{port}", **dashboard.pop("serve", {})}
    return Settings.model_validate(
        {
            "repository": {"url": "https://robot:hunter2@git.example/estate.git"},
            "secrets": {"etl": {"env": "ETL_PASSWORD"}},
            "serve": serve,
            "dashboard": {"users": users, **dashboard},
        }
    )


@contextmanager
def dashboard(folder: Path, *, port: int = 0, ask_access: AskAccess | None = None, **settings: Any) -> Iterator[Served]:
    port = port or free_port()
    state = State.in_file(folder / f"state-{port}.db")
    woken: list[str] = []
    actions = Actions(state, lambda: datetime.now(UTC), woken.append)
    board = Board(state, actions, settings_of(folder, port, **settings), ask_access)
    app = Starlette(routes=dashboard_routes(board))
    config = uvicorn.Config(
        app, host="127.0.0.1", port=port, log_config=None, lifespan="off", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: server.started, "the dashboard")
        yield Served(f"http://127.0.0.1:{port}", port, state, board, woken)
    finally:
        server.should_exit = True
        thread.join()
        state.close()
