"""Settings of the daemon."""

from __future__ import annotations

from pydantic import Field

from pgvillage.settings.common import Name, Section


class Serve(Section):
    """The daemon."""

    listen: str = Field("127.0.0.1:8432", description="ADDRESS:PORT of /healthz, /readyz and /metrics.")
    poll: float = Field(60, gt=0, description="Seconds between looks at the repository.")
    observe: float = Field(300, gt=0, description="Seconds between observations of a target, with jitter.")
    apply: bool = Field(True, description="Apply by policy; false only observes and reports.")
    grace: float = Field(
        20, ge=0, le=3600, description="Seconds that a running apply has to end when asked to stop; then it rolls back."
    )
    notify: list[Name] = Field(default_factory=list, description="Channels that get drift reports.")
