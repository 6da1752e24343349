"""Kind Estate: defaults, privilege profiles and policy; one in an estate."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from pgvillage.estate.manifest.cluster import Authority
from pgvillage.estate.manifest.common import Labels, Metadata, ObjectName, Part, PrivilegeSet, Scalar
from pgvillage.settings import CorrectMode

ProfileName = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,62}$"),
    Field(description="Lower-case letters, digits, `_`, `-`."),
]
Share = Annotated[
    str, StringConstraints(pattern=r"^(100|[1-9]?[0-9])%$"), Field(description="A share from 0% to 100%.")
]


class Limit(Part):
    """At most this many *and* at most this share of what is there; more needs an approval."""

    count: int = Field(ge=0)
    share: Share

    @property
    def percent(self) -> int:
        return int(self.share.removesuffix("%"))


class Limits(Part):
    drop: Limit = Limit(count=3, share="10%")
    revoke: Limit = Limit(count=50, share="25%")


class IgnoreRule(Part):
    """Drift that is known and left alone until a day; after it the drift counts again and the plan says so."""

    addresses: list[Annotated[str, StringConstraints(min_length=1)]] = Field(
        min_length=1, description="Addresses as plans show them; `*` stands for anything, as in orders/parameter/*."
    )
    owner: str = Field(min_length=1, description="Who answers for it.")
    reason: str = Field(min_length=1)
    until: Annotated[str, StringConstraints(pattern=r"^20[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$")] = Field(
        description="The last day, as 2027-06-30."
    )


Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
WEEKDAYS: tuple[Weekday, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
ClockTime = Annotated[
    str,
    StringConstraints(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$"),
    Field(description="Hours and minutes in quotes, from 00:00 to 23:59."),
]


class Window(Part):
    """When what restarts a server, or loses data, may be done without being asked for."""

    days: list[Weekday] = Field(
        default_factory=lambda: list(WEEKDAYS), min_length=1, description="Days it begins on; every day when unset."
    )
    from_: ClockTime = Field(alias="from")
    to: ClockTime = Field(description="Not later than `from`: on the next day.")
    time_zone: str = Field(
        "UTC", pattern=r"^[A-Za-z0-9_+/-]{1,64}$", description="An IANA time zone, such as Europe/Amsterdam."
    )
    labels: Labels = Field(default_factory=dict, description="Clusters it is about; every one when empty.")


class Policy(Part):
    correct: CorrectMode = Field(
        "safe", description="What happens to drift: reported (off), corrected if safe, or all."
    )
    limits: Limits = Limits()
    ignore: list[IgnoreRule] = Field(default_factory=list)
    windows: list[Window] = Field(
        default_factory=list,
        description="When restarts may be; a cluster that no window is about needs none.",
    )


class UserDefaults(Part):
    connection_limit: int | None = Field(None, ge=-1, le=2_147_483_647)
    settings: dict[str, Scalar] = Field(default_factory=dict)


class Defaults(Part):
    """Where a document says nothing."""

    authority: Authority | None = None
    parameters: dict[str, Scalar] = Field(
        default_factory=dict, description="Server parameters of every cluster; a cluster's own win, one by one."
    )
    user: UserDefaults = UserDefaults()
    heir: ObjectName | None = None
    external_roles: list[ObjectName] = Field(
        default_factory=list,
        description="Roles that exist on every cluster and are managed elsewhere; `postgres` always counts.",
    )


class Notification(Part):
    channel: str = Field(description="A channel of the settings.")
    labels: Labels = Field(default_factory=dict, description="Clusters it is about; every one when empty.")


class EstateSpec(Part):
    defaults: Defaults = Defaults()
    profiles: dict[ProfileName, PrivilegeSet] = Field(default_factory=dict)
    policy: Policy = Policy()
    notifications: list[Notification] = Field(default_factory=list)


class Estate(Part):
    """Defaults, privilege profiles, policy and routing; one in an estate."""

    api_version: Literal["pgvillage/v1"]
    kind: Literal["Estate"]
    metadata: Metadata
    spec: EstateSpec = EstateSpec()
