"""When a Job runs, as written."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StringConstraints, model_validator

from pgvillage.estate.manifest.cluster import Cron
from pgvillage.estate.manifest.common import Part, exactly_one
from pgvillage.estate.manifest.duration import Duration

Month = Literal["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
TimeOfDay = Annotated[
    str,
    StringConstraints(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9])?$"),
    Field(description="A time of the day: `02:30` or `02:30:15`."),
]
MonthDay = Annotated[int, Field(ge=-31, le=31)]
Nth = Annotated[int, Field(ge=-5, le=5)]


class Calendar(Part):
    """Dates that fit all that is written, each at the times of `at`."""

    at: list[TimeOfDay] = Field(min_length=1)
    months: list[Month] = Field(default_factory=list, description="Every month when empty.")
    days: list[MonthDay] = Field(
        default_factory=list, description="Days of the month; -1 is the last one, -2 the one before it."
    )
    weekdays: list[Weekday] = Field(default_factory=list)
    nth: list[Nth] = Field(
        default_factory=list, description="Which of those weekdays in the month: 1 the first one, -1 the last one."
    )


class Schedule(Part):
    """When a Job runs, by exactly one of `cron`, `every`, `calendar`."""

    model_config = ConfigDict(json_schema_extra=exactly_one("cron", "every", "calendar"))

    cron: Cron | None = None
    every: Duration | None = Field(None, description="Counted from 1970 in UTC, so that it is the same everywhere.")
    calendar: Calendar | None = None
    time_zone: str = Field(
        "UTC",
        pattern=r"^[A-Za-z0-9_+/-]{1,64}$",
        description="An IANA time zone, such as Europe/Amsterdam. A time that the clock skips runs right after the "
        "gap, one that it shows twice runs the first time; where the hour is `*`, runs follow the clock as it is.",
    )

    @model_validator(mode="after")
    def _one_way(self) -> Schedule:
        if sum(way is not None for way in (self.cron, self.every, self.calendar)) != 1:
            raise ValueError("a schedule needs exactly one of: cron, every, calendar")
        return self
