"""`fait state`: folds a stream to its state, now or at an earlier version or time."""

from collections.abc import Sequence
from datetime import datetime
from shlex import quote
from typing import Annotated, Any

import msgspec
import typer
from msgspec import Raw

from fait._app import App, declarations_of
from fait._decisions.aggregate import Aggregate, fold_definition_of
from fait._decisions.load import Loader
from fait._errors import UsageError
from fait._events.append import Until
from fait._events.envelope import RecordedEvent
from fait._events.stream import category_of
from fait._store.command_hint import command_hint
from fait._store.ports.log import Log
from fait._store.store_url import redacted_url
from fait._subscriptions.feed import stream_pages
from fait._tools.cli.browse import has_stream, missing_stream, parse_time
from fait._tools.cli.lines import canonical_time
from fait._tools.cli.options import JsonOption, OptionalAppOption, StoreOption, load_app, open_readonly
from fait._tools.cli.output import CommandFailed, command, print_fields, print_json, print_line

__all__ = ["state"]

_encode = msgspec.json.Encoder(decimal_format="string", enc_hook=repr).encode


@command
async def state(
    name: Annotated[str, typer.Argument(metavar="STREAM", help="Stream name, such as order-7.")],
    store: StoreOption,
    version: Annotated[int | None, typer.Option(metavar="N", min=1, help="State at this stream version.")] = None,
    at: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="State from the events recorded until this time: what was known then."),
    ] = None,
    as_of: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="State from the events that occurred until this time: what was true then."),
    ] = None,
    app: OptionalAppOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the state of a stream, now or in the past.

    With --app, the aggregate of the stream's category folds the events. Without it, the data of the events is merged,
    and the last value of each key wins. Times are in ISO 8601 with a time zone.
    """
    if sum(each is not None for each in (version, at, as_of)) > 1:
        raise UsageError("--version, --at and --as-of exclude each other: give at most one of them")
    recorded_at = None if at is None else parse_time("--at", at)
    occurred_at = None if as_of is None else parse_time("--as-of", as_of)
    until = Until(version=version, recorded_at=recorded_at, occurred_at=occurred_at)
    declared = App(name) if app is None else load_app(app)
    aggregate = None if app is None else _find_aggregate(declared, name)
    async with open_readonly(store) as opened:
        last, count, merged = await _scan(opened.log, name, until, merge=aggregate is None)
        if last is None:
            if await has_stream(opened.log, name):
                events_of = command_hint(f"stream {quote(name)}", redacted_url(store))
                raise CommandFailed(
                    f"stream {name!r} had no events at that version or time. List its events with: {events_of}"
                )
            raise missing_stream(name, store)
        if aggregate is None:
            folded_by, values = "merge of event data, last value wins", merged
        else:
            loaded = await Loader(opened.log, declarations_of(declared).codec).load(
                fold_definition_of(aggregate), name, until
            )
            folded_by, values = aggregate.__qualname__, _encode_fields(loaded.state)
    _print_state(folded_by, values, last, count, as_json)


async def _scan(log: Log, name: str, until: Until, *, merge: bool) -> tuple[RecordedEvent | None, int, dict[str, Raw]]:
    """Return the last event of a stream, the number of its events and, if asked for, their merged data.

    One page of events is held in memory.
    """
    last, count, merged = None, 0, dict[str, Raw]()
    async for page in stream_pages(log, name, until=until):
        last, count = page[-1], count + len(page)
        if merge:
            _merge_data(merged, page)
    return last, count, merged


def _find_aggregate(app: App, name: str) -> type[Aggregate]:
    aggregate = declarations_of(app).aggregates.get(category_of(name))
    if aggregate is None:
        categories = ", ".join(sorted(declarations_of(app).aggregates)) or "none"
        raise UsageError(
            f"app {app.name!r} has no aggregate for category {category_of(name)!r}. Categories with an aggregate: "
            f"{categories}. Without --app, the data of the events is merged."
        )
    return aggregate


def _merge_data(merged: dict[str, Raw], events: Sequence[RecordedEvent]) -> None:
    """Add the members of event data that are JSON objects, as copies: a `Raw` keeps the whole text it is part of."""
    for event in events:
        if event.data.startswith("{"):
            members = msgspec.json.decode(event.data, type=dict[str, Raw])
            merged.update({key: value.copy() for key, value in members.items()})


def _encode_fields(state: Any) -> dict[str, Raw]:
    return {key: Raw(_encode(value)) for key, value in msgspec.structs.asdict(state).items()}


def _print_state(folded_by: str, values: dict[str, Raw], last: RecordedEvent, count: int, as_json: bool) -> None:
    summary = {
        "stream": last.stream,
        "version": last.version,
        "events": count,
        "occurred_at": last.occurred_at,
        "recorded_at": last.recorded_at,
        "folded_by": folded_by,
    }
    if as_json:
        print_json({**summary, "state": values})
        return
    times = {key: canonical_time(value) for key, value in summary.items() if isinstance(value, datetime)}
    print_fields({key.replace("_", " "): str(value) for key, value in {**summary, **times}.items()})
    print_line("")
    print_fields({key: bytes(value).decode() for key, value in values.items()})
