"""Building permits: how long cases take, by the channel of the application, and which cases were open on a day."""

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
    def evolve(cls, row: Self | None, event: fait.Untyped, envelope: fait.Envelope) -> Self:
        occurred_at = envelope.occurred_at
        if row is None:
            channel = event.data["case"]["channel"]  # only the first event of a case has it
            return cls(case_id=envelope.stream_id, channel=channel, events=1, first_at=occurred_at, last_at=occurred_at)
        return cls(
            case_id=row.case_id,
            channel=row.channel,
            events=row.events + 1,
            first_at=row.first_at,
            last_at=max(row.last_at, occurred_at),
        )


permits = fait.App("permits")
permits.include(PermitCase)


async def durations(system: fait.System) -> dict[str, list[timedelta]]:
    """Return the time from first to last event of each case, by channel."""
    by_channel: defaultdict[str, list[timedelta]] = defaultdict(list)
    async for case in cases(system):
        by_channel[case.channel].append(case.last_at - case.first_at)
    return dict(by_channel)


async def open_on(system: fait.System, day: date, zone: tzinfo) -> list[str]:
    """Return the ids of cases that began before the end of the day and ended at or after its start."""
    start = datetime.combine(day, time.min, zone)
    end = datetime.combine(day + timedelta(days=1), time.min, zone)
    return [case.case_id async for case in cases(system, first_at=fait.lt(end), last_at=fait.ge(start))]


async def cases(system: fait.System, **conditions: Any) -> AsyncIterator[PermitCase]:
    """Iterate over the cases that satisfy the conditions, page by page."""
    page = await system.find(PermitCase, order_by="first_at", **conditions)
    while True:
        for case in page:
            yield case
        if page.cursor is None:
            return
        page = await system.find(PermitCase, order_by="first_at", cursor=page.cursor, **conditions)


def report(by_channel: dict[str, list[timedelta]]) -> str:
    """Return a line per channel, the channel with the most cases first."""
    lines = [
        f"{channel:<9} {len(times):>5} cases, median {median(each / timedelta(hours=1) for each in times):>6.1f} h, "
        f"longest {max(times) / timedelta(days=1):>5.1f} days"
        for channel, times in sorted(by_channel.items(), key=lambda each: -len(each[1]))
    ]
    return "\n".join(lines)
