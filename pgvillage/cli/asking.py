"""Where commands have their answers from: a daemon's API, the state database here, or a plan made now."""

from __future__ import annotations

import enum
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import typer

from pgvillage.cli.options import world_of

if TYPE_CHECKING:
    from pgvillage.clients.api import ApiClient
    from pgvillage.clients.state.state import State
    from pgvillage.wiring import RealWorld

Row = dict[str, Any]
ServerOption = Annotated[
    str | None,
    typer.Option("--server", envvar="PGVILLAGE_SERVER", help="URL of the daemon to ask; its token in PGVILLAGE_TOKEN."),
]
TokenFileOption = Annotated[Path | None, typer.Option("--token-file", help="File with the token for --server.")]
CaOption = Annotated[Path | None, typer.Option("--ca", help="CA file for the certificate of --server.")]
WatchOption = Annotated[bool, typer.Option("--watch", "-w", help="Go on until interrupted.")]
LimitOption = Annotated[int, typer.Option("--limit", min=1, max=10_000, help="At most so many, the newest.")]


class Kind(enum.StrEnum):
    TARGETS = "targets"
    DRIFTS = "drifts"
    PLANS = "plans"
    RUNS = "runs"
    CLUSTER = "cluster"


@dataclass(frozen=True, slots=True)
class Server:
    """What the options say of a daemon."""

    url: str | None
    token_file: Path | None = None
    ca: Path | None = None


class Asker(Protocol):
    def listed(self, what: Kind, query: Mapping[str, Any], limit: int | None) -> list[Row]: ...
    def target(self, name: str) -> Row: ...
    def cluster(self, name: str) -> Row: ...
    def plan(self, name: str) -> Row: ...
    def events(self, after: int | None, target: str | None, wait: int = 0, limit: int = 100) -> Row: ...


class Remote:
    def __init__(self, client: ApiClient) -> None:
        self._client = client

    def listed(self, what: Kind, query: Mapping[str, Any], limit: int | None) -> list[Row]:
        from pgvillage.clients.api import listed

        labels = [f"{key}={value}" for key, value in (query.get("labels") or {}).items()]
        asked = {"target": query.get("target"), "label": labels or None, "ended": query.get("ended")}
        return listed(self._client, what, limit, {key: value for key, value in asked.items() if value})

    def target(self, name: str) -> Row:
        return self._client.get("targets", name)

    def cluster(self, name: str) -> Row:
        return self._client.get("clusters", name)

    def plan(self, name: str) -> Row:
        return self._client.get("targets", name, "plan")

    def events(self, after: int | None, target: str | None, wait: int = 0, limit: int = 100) -> Row:
        return self._client.get("events", wait=wait, after=after, target=target, limit=min(limit, 500))


class Local:
    def __init__(self, state: State, world: RealWorld) -> None:
        from pgvillage.daemon.answers import Answers

        self._answers = Answers(state, world.now)

    def listed(self, what: Kind, query: Mapping[str, Any], limit: int | None) -> list[Row]:
        from pgvillage.daemon.answers import Paging, Selection
        from pgvillage.report.state_models import as_document

        target = query.get("target")
        which = Selection(labels=query.get("labels") or {}, targets=(target,) if target else ())
        more = {"only_open": not query.get("ended")} if what is Kind.DRIFTS else {}
        paging = Paging(limit if limit is not None else 1_000_000)
        return list(as_document(getattr(self._answers, what)(which, paging, **more))[what])

    def target(self, name: str) -> Row:
        return self._answers.target(name, {}).model_dump(mode="json")

    def cluster(self, name: str) -> Row:
        return self._answers.cluster(name, {}).model_dump(mode="json")

    def plan(self, name: str) -> Row:
        return self._answers.plan(name, "", {}).model_dump(mode="json")

    def events(self, after: int | None, target: str | None, wait: int = 0, limit: int = 100) -> Row:
        import time

        from pgvillage.daemon.answers import Selection

        due = time.monotonic() + wait
        while True:
            found = self._answers.events(after, Selection(targets=(target,) if target else ()), limit)
            if found.events or time.monotonic() >= due:
                return found.model_dump(mode="json")
            time.sleep(0.5)


@contextmanager
def client_of(server: Server) -> Iterator[ApiClient | None]:
    """None without a server. Raises UsageError."""
    import os

    from pgvillage.clients.api import ApiClient
    from pgvillage.core.errors import UsageError
    from pgvillage.core.secret import Secret

    if server.url is None:
        if server.token_file is not None or server.ca is not None:
            raise UsageError("--token-file and --ca go with --server")
        yield None
        return
    token = os.environ.get("PGVILLAGE_TOKEN", "")
    if server.token_file is not None:
        try:
            token = server.token_file.read_text().strip()
        except (OSError, ValueError):
            raise UsageError(f"--token-file: {server.token_file} can't be read") from None
    if not token.isascii() or not token.isprintable():
        raise UsageError("the token holds characters that no token has")
    with ApiClient(server.url, Secret(token) if token else None, server.ca) as client:
        yield client


@contextmanager
def asker_of(server: Server, settings: Path) -> Iterator[Asker | None]:
    """None where there is no daemon named and no state database."""
    with client_of(server) as client:
        if client is not None:
            yield Remote(client)
            return
        world = world_of(settings)
        with state_of(world) as state:
            yield Local(state, world) if state is not None else None


@contextmanager
def state_of(world: RealWorld) -> Iterator[State | None]:
    """The state database of the settings, as it is."""
    from pgvillage.clients.state.opening import existing_state

    state = existing_state(world.settings, world.state_folder())
    try:
        yield state
    finally:
        if state is not None:
            state.close()


def no_history(instead: str = "") -> Exception:
    from pgvillage.core.errors import UsageError

    return UsageError(
        "there is no history here: no state database yet (`pgvillage serve` keeps one), and no --server was named"
        + instead
    )


def say(text: str) -> None:
    """To a person, beside what programs read."""
    print(text, file=sys.stderr)


def somebody() -> str:
    """Who runs this command, and where."""
    import getpass
    import os
    import socket

    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        name = f"uid {os.getuid()}"
    return f"{name}@{socket.gethostname()}"
