"""Part `ha` of a Cluster: which engine keeps it available, and what the engine's configuration should say."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StringConstraints, model_validator
from pydantic.alias_generators import to_camel

from pgvillage.estate.manifest.common import OnlyFalse, Part, lacking

GoDuration = Annotated[
    str,
    StringConstraints(pattern=r"^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$"),
    Field(description="A Go duration: 10s, 1m30s, 500ms."),
]


class Synchronous(Part):
    min: int = Field(1, ge=0, le=64, description="Writes wait while fewer standbys confirm; 0: they never wait long.")
    max: int = Field(1, ge=1, le=64, description="The standbys that confirm each commit while all are well.")
    quorum: bool = Field(False, description="Any `max` of them confirm, instead of the chosen ones; Patroni 4 alone.")

    @model_validator(mode="after")
    def _ordered(self) -> Synchronous:
        if self.min > self.max:
            raise ValueError(f"min ({self.min}) is larger than max ({self.max})")
        return self


class Timings(Part):
    """stolon's intervals as Go durations, or Patroni's in seconds."""

    sleep_interval: GoDuration | None = None
    request_timeout: GoDuration | None = None
    convergence_timeout: GoDuration | None = None
    init_timeout: GoDuration | None = None
    sync_timeout: GoDuration | None = None
    db_wait_ready_timeout: GoDuration | None = None
    fail_interval: GoDuration | None = None
    dead_keeper_removal_interval: GoDuration | None = None
    proxy_check_interval: GoDuration | None = None
    proxy_timeout: GoDuration | None = None
    ttl: int | None = Field(None, ge=20, description="Patroni: seconds that the leader's key lasts.")
    loop_wait: int | None = Field(None, ge=1, description="Patroni: seconds between two looks.")
    retry_timeout: int | None = Field(None, ge=3, description="Patroni: seconds that etcd may be away.")
    primary_start_timeout: int | None = Field(None, ge=0, description="Patroni: seconds for a primary to come back.")


Hosts = Annotated[
    str,
    StringConstraints(pattern=r"^[^\s'\\,=]+(,[^\s'\\,=]+)*$"),
    Field(description="A host or several with commas between; no quotes, spaces, `=` or backslashes."),
]
SlotName = Annotated[
    str, StringConstraints(pattern=r"^[a-z0-9_]{1,63}$"), Field(description="Lower-case letters, digits and `_`.")
]
PlainName = Annotated[
    str, StringConstraints(pattern=r"^[^\s'\\=]+$"), Field(description="No quotes, spaces, `=` or backslashes.")
]
Delay = Annotated[
    str, StringConstraints(pattern=r"^[0-9]+(ms|s|min|h|d)$"), Field(description="As PostgreSQL has it: 30min, 1h.")
]

PATRONI_TIMINGS = ("ttl", "loop_wait", "retry_timeout", "primary_start_timeout")


class StandbyOf(Part):
    """The cluster that this one follows as a whole; never a password: it is read on the hosts."""

    host: Hosts
    port: int = Field(5432, ge=1, le=65535)
    slot: SlotName | None = Field(None, description="A physical slot on the other side.")
    user: PlainName | None = Field(None, description="stolon: the role to replicate as.")
    restore_command: str | None = Field(None, min_length=1)
    apply_delay: Delay | None = Field(None, description="How long to stay behind.")


class RecoveryTarget(Part):
    """Where a restore stops; the end of the archive when nothing is named."""

    time: str | None = None
    lsn: str | None = None
    name: str | None = None
    xid: str | None = None
    timeline: str | None = None

    @model_validator(mode="after")
    def _one_end(self) -> RecoveryTarget:
        named = [n for n in ("time", "lsn", "name", "xid") if getattr(self, n) is not None]
        if len(named) > 1:
            raise ValueError(f"name at most one of: time, lsn, name, xid (found {', '.join(named)})")
        return self


class Init(Part):
    """How a cluster that is not in etcd yet begins; read once, and no part of drift afterwards. stolon alone."""

    mode: Literal["new", "existing", "pitr"] = "new"
    keeper: str | None = Field(None, description="mode existing: the keeper whose data it is.")
    data_restore_command: str | None = Field(None, min_length=1, description="mode pitr; `%d` is the data folder.")
    restore_command: str | None = Field(None, min_length=1, description="mode pitr: fetches WAL; `%f` and `%p`.")
    target: RecoveryTarget | None = None
    locale: str | None = None
    encoding: str | None = None
    data_checksums: bool | None = None

    @model_validator(mode="after")
    def _fits_mode(self) -> Init:
        of_pitr = (self.data_restore_command, self.restore_command, self.target)
        if self.mode == "pitr" and self.data_restore_command is None:
            raise ValueError("mode pitr needs dataRestoreCommand")
        if self.mode != "pitr" and any(value is not None for value in of_pitr):
            raise ValueError("dataRestoreCommand, restoreCommand and target go with mode pitr")
        if (self.mode == "existing") != (self.keeper is not None):
            raise ValueError("mode existing, and no other, needs a keeper")
        return self


_OF_PATRONI = {"api", "replication_role", "rewind_role"}
_OF_STOLON = {"init"}


class HighAvailability(Part):
    model_config = ConfigDict(
        json_schema_extra={
            "if": {"properties": {"engine": {"const": "none"}}},
            "then": lacking(
                "etcd", "api", "cluster", "synchronous", "timings", "maxLag", "rewind", "standbyOf", "init",
                "replicationRole", "rewindRole",
            ),
        }
    )  # fmt: skip

    engine: Literal["none", "stolon", "patroni"] = "none"
    etcd: str | None = Field(None, description="An etcd of the settings, where the engine keeps its state.")
    api: str | None = Field(
        None, description="An entry of `patroni` in the settings: how to log in to the members' REST API."
    )
    cluster: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$",
        description="The cluster's name in etcd (Patroni: scope): letters, digits, `.`, `_`, `-`; metadata.name "
        "when unset.",
    )
    synchronous: Synchronous | OnlyFalse | None = Field(
        None, description="Synchronous replication; `false` switches it off, unset leaves it alone."
    )
    timings: Literal["default", "fast"] | Timings | None = Field(
        None, description="A profile or single intervals; unset leaves them alone."
    )
    max_lag: int | None = Field(None, ge=0, description="Bytes that a standby may lack to be promoted.")
    rewind: bool | None = Field(None, description="pg_rewind for an old primary, instead of a new copy.")
    standby_of: StandbyOf | OnlyFalse | None = Field(
        None, description="Follow another cluster; `false`: no longer. Unset leaves it alone."
    )
    init: Init | None = None
    replication_role: str | None = Field(
        None, min_length=1, description="Patroni: the role that standbys log in with; found on the primary when unset."
    )
    rewind_role: str | None = Field(None, min_length=1, description="Patroni: the role of pg_rewind.")

    @model_validator(mode="after")
    def _consistent(self) -> HighAvailability:
        given = {name for name in type(self).model_fields if name != "engine" and getattr(self, name) is not None}
        if self.engine == "none" and given:
            raise ValueError("etcd, cluster, synchronous, timings and the like need an engine: stolon or patroni")
        foreign = given & (_OF_PATRONI if self.engine == "stolon" else _OF_STOLON)
        if foreign:
            raise ValueError(f"{', '.join(sorted(map(to_camel, foreign)))}: not with engine {self.engine}")
        self._timings_fit()
        self._synchronous_fits()
        return self

    def _timings_fit(self) -> None:
        if not isinstance(self.timings, Timings):
            return
        given = {name for name in Timings.model_fields if getattr(self.timings, name) is not None}
        foreign = given - set(PATRONI_TIMINGS) if self.engine == "patroni" else given & set(PATRONI_TIMINGS)
        if foreign:
            raise ValueError(f"timings: {', '.join(sorted(map(to_camel, foreign)))} not with engine {self.engine}")

    def _synchronous_fits(self) -> None:
        if not isinstance(self.synchronous, Synchronous):
            return
        if self.engine == "stolon" and self.synchronous.quorum:
            raise ValueError("synchronous.quorum: stolon names the standbys itself; it is Patroni's")
        if self.engine == "patroni" and self.synchronous.min > 1:
            raise ValueError("synchronous.min: Patroni guarantees one standby (1) or none (0)")
