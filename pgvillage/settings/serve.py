"""Settings of the daemon."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints

from pgvillage.settings.common import ClientCertificate, Name, SecretSource, Section


def network(text: str) -> str:
    """An address or a network in its usual spelling. Raises ValueError."""
    try:
        return str(ipaddress.ip_network(text))
    except ValueError as error:
        raise ValueError(f"expected an address or a network such as 10.1.0.0/24: {error}") from None


class Replicas(Section):
    """Several daemons share the targets by leases in etcd; without etcd, one daemon a state folder by a file lock."""

    etcd: Name = Field(description="Which of `etcd` keeps the leases.")
    lease: float = Field(15, ge=3, le=300, description="Seconds until a silent replica's targets go to others.")
    prefix: str = Field("pgvillage/replicas", min_length=1, description="Keys begin with it; one for each estate.")


class Retention(Section):
    """Days that history is kept; what is open is kept anyway."""

    plans: int = Field(90, ge=1)
    runs: int = Field(365, ge=1)
    drifts: int = Field(365, ge=1)
    events: int = Field(30, ge=1)
    audit: int = Field(730, ge=1)


class Serve(Section):
    """The daemon."""

    listen: str = Field("127.0.0.1:8432", description="ADDRESS:PORT of dashboard, API, webhooks, health and metrics.")
    url: Annotated[str, StringConstraints(pattern=r"^https?://[^\s/]+(/[^\s]*)?$")] | None = Field(
        None, description="Where people reach the dashboard; links in chat and merge requests begin with it."
    )
    trusted_proxies: list[Annotated[str, AfterValidator(network)]] = Field(
        default_factory=list,
        alias="trustedProxies",
        description="Networks of proxies whose X-Forwarded-For is believed; it is ignored from everybody else.",
    )
    tls: ClientCertificate | None = Field(None, description="Certificate and key that the daemon serves HTTPS with.")
    poll: float = Field(60, gt=0, description="Seconds between looks at the repository.")
    observe: float = Field(300, gt=0, description="Seconds between full observations of a target, with jitter.")
    fingerprint: float = Field(
        5, ge=0, le=3600, description="Seconds between cheap looks at whether a target changed at all; 0 switches off."
    )
    apply: bool = Field(True, description="Apply by policy; false only observes and reports.")
    grace: float = Field(
        20, ge=0, le=3600, description="Seconds that a running apply has to end when asked to stop; then it rolls back."
    )
    notify: list[Name] = Field(default_factory=list, description="Channels that get drift reports of every target.")
    replica: str | None = Field(None, description="This daemon's name among several; the host's name when unset.")
    replicas: Replicas | None = None
    database: SecretSource | None = Field(
        None, description="A postgresql:// URL of the state database; a SQLite file in the state folder when unset."
    )
    retention: Retention = Retention()
    logs: Literal["json", "text"] = "json"
