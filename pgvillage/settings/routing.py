"""Settings of the routing API."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from pgvillage.settings.common import ClientCertificate, Name, SecretSource, Section
from pgvillage.settings.serve import network


class RoutingTls(ClientCertificate):
    client_ca: Path | None = Field(
        None, alias="clientCa", description="CA file: clients must show a certificate that chains to it."
    )


class Hysteresis(Section):
    """A node's state changes only when it is seen this often."""

    down: int = Field(2, ge=1, le=100, description="Failures after which a node is down.")
    up: int = Field(2, ge=1, le=100, description="Answers after which a node that was down is up.")


class RoutingTimeouts(Section):
    """Seconds, of one look at one node."""

    connect: float = Field(2, gt=0, le=60)
    query: float = Field(2, gt=0, le=60)


class RoutingToken(Section):
    name: Name = Field(description="How the log calls who has it.")
    secret: SecretSource = Field(description="The token itself, 20 characters or more.")
    forget: bool = Field(False, description="Whether it may make the routing API forget what it remembers.")


class AgentCheck(Section):
    """HAProxy's agent-check: a TCP port that reads `GROUP/NODE ROLE` and answers up, drain or down."""

    listen: str = Field("127.0.0.1:8434", description="ADDRESS:PORT.")


class Routing(Section):
    """The routing API: which node of a cluster is the primary, and which standbys may be read."""

    listen: str = Field("127.0.0.1:8433", description="ADDRESS:PORT of the routing API.")
    trusted_proxies: list[Annotated[str, AfterValidator(network)]] = Field(
        default_factory=list,
        alias="trustedProxies",
        description="Networks of machines that ask for many, such as an HAProxy's: they may hold more connections.",
    )
    tls: RoutingTls | None = Field(None, description="Certificate and key to serve HTTPS with.")
    credential: Name | None = Field(
        None,
        description="A credential of the settings to log in with, instead of each cluster's own; pg_monitor is enough.",
    )
    interval: float = Field(1, ge=0.1, le=300, description="Seconds between two looks at a node.")
    timeouts: RoutingTimeouts = RoutingTimeouts()
    hysteresis: Hysteresis = Hysteresis()
    parallel: int = Field(64, ge=1, le=1024, description="Nodes that are asked at a time.")
    max_lag: int | None = Field(
        None, alias="maxLag", ge=0, description="Bytes; a standby that lacks more is none, unless `?lag=` says less."
    )
    memory: Path | None = Field(
        None, description="File with timelines and split brains that were seen; routing.json in the state folder."
    )
    tokens: list[RoutingToken] = Field(default_factory=list)
    anonymous_read: bool | None = Field(
        None,
        alias="anonymousRead",
        description="Whether everybody who reaches it may ask without a token; when unset, only where "
        "`routing.listen` is this machine alone.",
    )
    agent: AgentCheck | None = None

    @model_validator(mode="after")
    def _one_token_a_name(self) -> Routing:
        names = [token.name for token in self.tokens]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"tokens: {', '.join(twice)} stands there twice")
        return self
