"""What a step asks of the world, ready to be sent, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pgvillage.core.job_run import Scalar
from pgvillage.core.secret import Secret

Values = Mapping[str, Scalar | Secret]
# Called with each piece of output as it comes, redacted already; must not block.
Sink = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class SqlStatement:
    """`text` has `$1`, `$2`, … in the places of `names`. `at` counts characters of the script. `alone`: PostgreSQL
    refuses it inside a transaction. `line` is the script's in which `text` begins; 0: counted from those before.
    """

    text: str
    names: tuple[str, ...] = ()
    at: int = 0
    alone: bool = False
    line: int = 0


@dataclass(frozen=True, slots=True)
class SqlWork:
    """A script. In one `transaction` the run's row is committed with it, by `key`: no second try does it again.

    Times are milliseconds, 0 is no limit. `keep`: bytes of output that are kept.
    """

    statements: tuple[SqlStatement, ...]
    key: str
    run: str
    step: str
    token: int
    role: str | None
    transaction: bool = True
    read_only: bool = False
    values: Values = field(default_factory=dict)
    statement_timeout: int = 0
    lock_timeout: int = 0
    keep: int = 65_536


@dataclass(frozen=True, slots=True)
class ShellWork:
    """A program by its argument list, or a script for sh. `host` is where by SSH, None is where PgVillage runs.

    `seconds`: then all that it has begun is ended, first by SIGTERM.
    """

    command: tuple[str, ...] | None
    script: str | None
    host: str | None
    key: str
    env: Mapping[str, str | Secret] = field(default_factory=dict)
    folder: str | None = None
    seconds: float = 3600
    keep: int = 65_536


@dataclass(frozen=True, slots=True)
class HttpWork:
    """One call; no redirect is followed. `key` goes as Idempotency-Key. `status` is what succeeds, 2xx when empty."""

    method: str
    url: str
    key: str
    headers: Mapping[str, str | Secret] = field(default_factory=dict)
    body: str | None = None
    status: tuple[int, ...] = ()
    seconds: float = 60
    keep: int = 65_536


@dataclass(frozen=True, slots=True)
class WorkResult:
    """See StepRecord for what they mean. `error` "" is success.

    `moved`: the node is no longer what the job asked for (a failover). `uncertain`: it was sent, and nobody knows
    whether it was done. `transient`: nothing was done, and the same again may succeed (deadlock, serialization).
    """

    rc: int = 0
    rows: int | None = None
    value: str | None = None
    output: str = ""
    truncated: bool = False
    error: str = ""
    already: bool = False
    moved: bool = False
    uncertain: bool = False
    transient: bool = False
