"""Commands that look: streams, the events of one stream or of the whole log, and what is being appended just now."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

import msgspec
import typer
from msgspec import Raw

from fait._errors import UsageError
from fait._events.append import PAGE_SIZE, Until
from fait._events.envelope import RecordedEvent
from fait._events.query import Query
from fait._store.log import Log
from fait._subscriptions.feed import follow
from fait._tools.cli.lines import canonical_time
from fait._tools.cli.opening import JsonOption, StoreOption, open_readonly
from fait._tools.cli.output import CommandFailed, command, print_json, print_line, print_message, print_table

__all__ = ["events", "parse_moment", "stream", "streams", "tail"]

TypeOption = Annotated[
    list[str] | None, typer.Option("--type", metavar="TYPE", help="Only events of this type; may be repeated.")
]
CategoryOption = Annotated[
    str | None, typer.Option("--category", metavar="NAME", help="Only streams of this category.")
]
LimitOption = Annotated[int, typer.Option("--limit", "-n", metavar="N", min=1, help="Most lines.")]


@command
async def streams(
    store: StoreOption, category: CategoryOption = None, limit: LimitOption = 100, as_json: JsonOption = False
) -> None:
    """List streams by name, each with its version: the number of its events."""
    async with open_readonly(store) as opened:
        found = await opened.log.streams(category=category, limit=limit + 1)
    shown = found[:limit]
    if as_json:
        for each in shown:
            print_json(each)
    else:
        print_table(("stream", "version"), [(each.stream, str(each.version)) for each in shown])
    if len(found) > limit:
        print_message(f"There are more: only the first {limit:,} are shown; see --limit.")


@command
async def stream(
    name: Annotated[str, typer.Argument(metavar="ID", help="Name of the stream, as in order-7.")],
    store: StoreOption,
    first: Annotated[int, typer.Option("--from", metavar="VERSION", min=1, help="First version.")] = 1,
    last: Annotated[int | None, typer.Option("--to", metavar="VERSION", min=1, help="Last version.")] = None,
    limit: LimitOption = 100,
    as_json: JsonOption = False,
) -> None:
    """Show the events of one stream."""
    async with open_readonly(store) as opened:
        found = await opened.log.read_stream(name, after=first - 1, limit=limit + 1, until=Until(version=last))
        if not found and not await opened.log.read_stream(name, limit=1):
            raise CommandFailed(f"there is no stream {name!r}: see fait streams")
    _show(found[:limit], as_json)
    if len(found) > limit:
        print_message(f"There are more, from version {found[limit].version} on; see --limit and --from.")


@command
async def events(
    store: StoreOption,
    types: TypeOption = None,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="POSITION|TIME", help="First position, or the moment (ISO 8601 with zone) they became true from."
        ),
    ] = None,
    tags: Annotated[
        list[str] | None, typer.Option("--tag", metavar="TAG", help="Only events with this tag; may be repeated.")
    ] = None,
    category: CategoryOption = None,
    limit: LimitOption = 100,
    as_json: JsonOption = False,
) -> None:
    """Show events of the log, in its order."""
    after, moment = 0, None
    if since is not None and since.isdecimal():
        after = max(int(since) - 1, 0)
    elif since is not None:
        moment = parse_moment("--since", since)
    query = Query(types=tuple(types or ()), tags=tuple(tags or ()), category=category)
    async with open_readonly(store) as opened:
        found = await _find(opened.log, after, query, moment, limit + 1)
    _show(found[:limit], as_json)
    if len(found) > limit:
        print_message(f"There are more, from position {found[limit].position} on; see --limit and --since.")


@command
async def tail(
    store: StoreOption,
    types: TypeOption = None,
    from_start: Annotated[bool, typer.Option("--from-start", help="Begin with the first event.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show events as they are appended, until Ctrl-C."""
    async with open_readonly(store) as opened:
        after = 0 if from_start else await opened.log.head()
        if not from_start:
            print_message(f"Waiting for events beyond position {after}. Ctrl-C ends.")
        async for page in follow(opened.log, after, Query(types=tuple(types or ()))):
            for event in page.events:
                if as_json:
                    print_json(_event_as_json(event))
                else:
                    print_line("  ".join(_row(event)))
            print(end="", flush=True)


def parse_moment(option: str, text: str) -> datetime:
    """A moment as it was typed."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{option}: {text!r} is not a moment: write 2024-01-15T12:00:00Z") from None
    if moment.tzinfo is None:
        raise UsageError(f"{option}: {text!r} has no time zone: write 2024-01-15T12:00:00Z") from None
    return moment


async def _find(log: Log, after: int, query: Query, moment: datetime | None, limit: int) -> list[RecordedEvent]:
    """The first events that are meant. A moment is compared with `occurred_at`, which has no order in the log."""
    found: list[RecordedEvent] = []
    while len(found) < limit:
        page = await log.read(after, query=query, limit=limit if moment is None else PAGE_SIZE)
        found.extend(event for event in page.events if moment is None or event.occurred_at >= moment)
        if not page.more:
            break
        after = page.position
    return found[:limit]


def _show(found: Sequence[RecordedEvent], as_json: bool) -> None:
    if as_json:
        for event in found:
            print_json(_event_as_json(event))
    else:
        print_table(("position", "stream", "version", "type", "occurred at", "data"), [_row(event) for event in found])


def _row(event: RecordedEvent) -> tuple[str, ...]:
    """What a person sees of an event."""
    at = canonical_time(event.occurred_at)
    return (str(event.position), event.stream, str(event.version), event.type, at, event.data)


def _event_as_json(event: RecordedEvent) -> dict[str, Any]:
    """All of an event, as JSON."""
    plain = msgspec.structs.asdict(event)
    return {**plain, "data": Raw(event.data.encode()), "metadata": Raw(event.metadata.encode())}
