"""Building permits: how long cases take, by the channel they came in through, and which were open on a day."""

from collections import defaultdict
from collections.abc import AsyncIterator
from datetime import date, datetime, time, timedelta, tzinfo
from statistics import median
from typing import Any, Self

import fait


class PermitCase(fait.ReadModel, key="case_id", indexes=[("first_at", "last_at")]):
    case_id: str
    channel: str
    events: int
    first_at: datetime
    last_at: datetime

    @classmethod
    def evolve(cls, row: Self | None, event: fait.Untyped, at: fait.Envelope) -> Self:
        if row is None:
            channel = event.data["case"]["channel"]  # only the first event of a case carries this
            return cls(case_id=at.stream_id, channel=channel, events=1, first_at=at.occurred_at, last_at=at.occurred_at)
        return cls(
            case_id=row.case_id,
            channel=row.channel,
            events=row.events + 1,
            first_at=row.first_at,
            last_at=max(row.last_at, at.occurred_at),
        )


permits = fait.App("permits")
permits.include(PermitCase)


async def durations(system: fait.System) -> dict[str, list[timedelta]]:
    """How long each case took from its first event to its last, by channel."""
    found: defaultdict[str, list[timedelta]] = defaultdict(list)
    async for case in cases(system):
        found[case.channel].append(case.last_at - case.first_at)
    return dict(found)


async def open_on(system: fait.System, day: date, zone: tzinfo) -> list[str]:
    """Cases that were open at some moment of the day: they began before it ended, and ended after it began."""
    begin = datetime.combine(day, time.min, zone)
    end = datetime.combine(day + timedelta(days=1), time.min, zone)
    return [case.case_id async for case in cases(system, first_at=fait.lt(end), last_at=fait.ge(begin))]


async def cases(system: fait.System, **where: Any) -> AsyncIterator[PermitCase]:
    """All cases that fulfil the conditions, page by page."""
    page = await system.find(PermitCase, order_by="first_at", **where)
    while True:
        for case in page:
            yield case
        if page.cursor is None:
            return
        page = await system.find(PermitCase, order_by="first_at", cursor=page.cursor, **where)


def report(found: dict[str, list[timedelta]]) -> str:
    """A line for each channel, the busiest first."""
    lines = [
        f"{channel:<9} {len(took):>5} cases, median {median(each / timedelta(hours=1) for each in took):>6.1f} h, "
        f"longest {max(took) / timedelta(days=1):>5.1f} days"
        for channel, took in sorted(found.items(), key=lambda each: -len(each[1]))
    ]
    return "\n".join(lines)
