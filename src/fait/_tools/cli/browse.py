"""Commands that read: `streams`, `stream`, `events` and `tail`."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import datetime
from typing import Annotated, Any, Final

import msgspec
import typer
from msgspec import Raw

from fait._errors import UsageError
from fait._events.append import PAGE_SIZE, Until
from fait._events.envelope import RecordedEvent
from fait._events.query import Query
from fait._store.command_hint import command_hint
from fait._store.ports.log import Log
from fait._store.store_url import redacted_url
from fait._subscriptions.feed import follow, stream_pages
from fait._tools.cli.lines import canonical_time
from fait._tools.cli.options import JsonOption, StoreOption, open_readonly
from fait._tools.cli.output import CommandFailed, command, print_json, print_line, print_message, print_table

__all__ = ["events", "missing_stream", "parse_time", "stream", "streams", "tail"]

TypeOption = Annotated[
    list[str] | None, typer.Option("--type", metavar="TYPE", help="Only events of this type; repeatable.")
]
CategoryOption = Annotated[
    str | None, typer.Option("--category", metavar="NAME", help="Only streams of this category.")
]
_COLUMNS: Final = ("position", "stream", "version", "type", "occurred at", "data")

LimitOption = Annotated[int, typer.Option("--limit", "-n", metavar="N", min=1, help="Maximum number of rows.")]


@command
async def streams(
    store: StoreOption, category: CategoryOption = None, limit: LimitOption = 100, as_json: JsonOption = False
) -> None:
    """List streams by name, with their versions.

    The version of a stream is the number of its events.
    """
    async with open_readonly(store) as opened:
        matching = await opened.log.streams(category=category, limit=limit + 1)
    if as_json:
        for each in matching[:limit]:
            print_json(each)
    else:
        print_table(("stream", "version"), [(each.stream, str(each.version)) for each in matching[:limit]])
    if len(matching) > limit:
        print_message(f"Showing the first {limit:,} streams; there are more. To see them, raise --limit.")


@command
async def stream(
    name: Annotated[str, typer.Argument(metavar="STREAM", help="Stream name, such as order-7.")],
    store: StoreOption,
    first: Annotated[int, typer.Option("--from", metavar="VERSION", min=1, help="First version to show.")] = 1,
    last: Annotated[int | None, typer.Option("--to", metavar="VERSION", min=1, help="Last version to show.")] = None,
    limit: LimitOption = 100,
    as_json: JsonOption = False,
) -> None:
    """Show the events of one stream."""
    async with open_readonly(store) as opened:
        if not await has_stream(opened.log, name):
            raise missing_stream(name, store)
        pages = stream_pages(opened.log, name, after=first - 1, until=Until(version=last), limit=limit + 1)
        following = await _print_events(pages, limit, as_json)
    if following is not None:
        print_message(
            f"Showing the first {limit:,} events; the next one has version {following.version}. To see more, "
            "raise --limit or use --from."
        )


@command
async def events(
    store: StoreOption,
    types: TypeOption = None,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="POSITION|TIME",
            help="Only events from this position on, or that occurred at or after this time (ISO 8601 with time zone).",
        ),
    ] = None,
    tags: Annotated[
        list[str] | None,
        typer.Option("--tag", metavar="TAG", help="Only events with this tag; repeatable, all tags must match."),
    ] = None,
    category: CategoryOption = None,
    limit: LimitOption = 100,
    as_json: JsonOption = False,
) -> None:
    """Show events of the log in order of position."""
    after, min_occurred_at = 0, None
    if since is not None and since.isdecimal():
        after = max(int(since) - 1, 0)
    elif since is not None:
        min_occurred_at = parse_time("--since", since)
    query = Query(types=tuple(types or ()), tags=tuple(tags or ()), category=category)
    async with open_readonly(store) as opened:
        pages = _matching_pages(opened.log, after, query, min_occurred_at, limit + 1)
        following = await _print_events(pages, limit, as_json)
    if following is not None:
        print_message(
            f"Showing the first {limit:,} events; the next one is at position {following.position}. To see more, "
            "raise --limit or use --since."
        )


@command
async def tail(
    store: StoreOption,
    types: TypeOption = None,
    from_start: Annotated[
        bool, typer.Option("--from-start", help="Start with the first event of the log, not with the next one.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show events as they are appended, until Ctrl-C."""
    async with open_readonly(store) as opened:
        after = 0 if from_start else await opened.log.head()
        if not from_start:
            print_message(f"Waiting for events after position {after}. Stop with Ctrl-C.")
        async for page in follow(opened.log, after, Query(types=tuple(types or ()))):
            for event in page.events:
                if as_json:
                    print_json(_event_as_json(event))
                else:
                    print_line("  ".join(_row(event)))
            print(end="", flush=True)


async def has_stream(log: Log, name: str) -> bool:
    """Return whether a stream has events."""
    events, _ = await log.read_stream(name, limit=1)
    return bool(events)


def missing_stream(name: str, store: str) -> CommandFailed:
    """Return the error for a stream that does not exist."""
    streams = command_hint("streams", redacted_url(store))
    return CommandFailed(f"stream {name!r} does not exist. List the streams with: {streams}")


def parse_time(option: str, text: str) -> datetime:
    """Parse the value of an option as an ISO 8601 time with a time zone."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        kinds = "a position, or a time" if option == "--since" else "a time"
        raise UsageError(f"invalid {option} {text!r}: expected {kinds} such as 2024-01-15T12:00:00Z") from None
    if time.tzinfo is None:
        raise UsageError(f"invalid {option} {text!r}: the time zone is missing, as in 2024-01-15T12:00:00Z") from None
    return time


async def _matching_pages(
    log: Log, after: int, query: Query, min_occurred_at: datetime | None, limit: int
) -> AsyncGenerator[list[RecordedEvent], None]:
    """Yield pages of matching events. `occurred_at` is unordered in the log, so a filter by it scans all pages."""
    page_size = PAGE_SIZE if min_occurred_at is not None else min(limit, PAGE_SIZE)
    more = True
    while more:
        page = await log.read(after, query=query, limit=page_size)
        after, more = page.position, page.more
        yield [event for event in page.events if min_occurred_at is None or event.occurred_at >= min_occurred_at]


async def _print_events(
    pages: AsyncGenerator[list[RecordedEvent], None], limit: int, as_json: bool
) -> RecordedEvent | None:
    """Print events page by page, so that one page is held in memory; return the event after the limit, if any."""
    printed = 0
    async with aclosing(pages):
        async for page in pages:
            shown = page[: limit - printed]
            if as_json:
                for event in shown:
                    print_json(_event_as_json(event))
            elif shown:
                print_table(_COLUMNS, [_row(event) for event in shown], header=not printed)
            printed += len(shown)
            if len(page) > len(shown):
                return page[len(shown)]
    if not printed and not as_json:
        print_table(_COLUMNS, ())
    return None


def _row(event: RecordedEvent) -> tuple[str, ...]:
    occurred_at = canonical_time(event.occurred_at)
    return (str(event.position), event.stream, str(event.version), event.type, occurred_at, event.data)


def _event_as_json(event: RecordedEvent) -> dict[str, Any]:
    fields = msgspec.structs.asdict(event)
    return {**fields, "data": Raw(event.data.encode()), "metadata": Raw(event.metadata.encode())}
