"""Which state database the settings mean."""

from __future__ import annotations

from pathlib import Path

from pgvillage.clients.secrets import read_secret
from pgvillage.clients.state.database import open_postgres, open_sqlite, postgres_engine, sqlite_engine
from pgvillage.clients.state.faults import Faults
from pgvillage.clients.state.migrate import require_this_version
from pgvillage.clients.state.state import State
from pgvillage.settings import Settings

FILE = "state.db"


def open_state(settings: Settings, state_folder: Path) -> State:
    """For the daemon: made where it is missing, brought to this version, begun anew where its file is damaged.

    PostgreSQL by `serve.database`, else `state.db` in the folder. Raises SettingsError, SecretError, StateError.
    """
    faults, url = Faults(), _url(settings)
    if url is None:
        return State(open_sqlite(state_folder / FILE, faults), faults)
    return State(open_postgres(url, faults), faults)


def existing_state(settings: Settings, state_folder: Path) -> State | None:
    """For commands: the state database as it is, which is neither made, nor changed, nor put aside; None without one.

    Raises SettingsError, SecretError, and StateError when it is of another version or can't be read.
    """
    faults, url = Faults(), _url(settings)
    file = state_folder / FILE
    if url is None and not file.exists():
        return None
    engine = sqlite_engine(file, faults) if url is None else postgres_engine(url, faults)
    try:
        there = require_this_version(engine)
    except BaseException:
        engine.dispose()
        raise
    if there:
        return State(engine, faults)
    engine.dispose()
    return None


def _url(settings: Settings) -> str | None:
    source = settings.serve.database
    return read_secret(source, "serve.database").reveal() if source is not None else None
