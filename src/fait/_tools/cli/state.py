"""`fait state`: what a stream's events add up to, now or in the past."""

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
import typer
from msgspec import Raw

from fait._app import App, declarations_of
from fait._clock import SystemClock
from fait._decisions.aggregate import Aggregate, fold_definition_of
from fait._decisions.transact import DecisionRunner
from fait._errors import UsageError
from fait._events.append import PAGE_SIZE, Until
from fait._events.codec import Codec
from fait._events.envelope import RecordedEvent
from fait._events.stream import category_of, id_of
from fait._store.log import Log
from fait._tools.cli.browse import parse_moment
from fait._tools.cli.lines import canonical_time
from fait._tools.cli.opening import AppOption, JsonOption, StoreOption, load_app, open_readonly
from fait._tools.cli.output import CommandFailed, command, print_fields, print_json, print_line

__all__ = ["state"]

_encode = msgspec.json.Encoder(decimal_format="string", enc_hook=repr).encode


@command
async def state(
    name: Annotated[str, typer.Argument(metavar="ID", help="Name of the stream, as in order-7.")],
    store: StoreOption,
    version: Annotated[int | None, typer.Option(metavar="N", min=1, help="As of this version.")] = None,
    at: Annotated[str | None, typer.Option(metavar="TIME", help="What did we know at this moment?")] = None,
    as_of: Annotated[str | None, typer.Option(metavar="TIME", help="What was true at this moment?")] = None,
    app: AppOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fold a stream: with --app by its aggregate; else by merging the events' data, where the last one wins."""
    if sum(each is not None for each in (version, at, as_of)) > 1:
        raise UsageError("--version, --at and --as-of are three different questions: ask one at a time")
    until = Until(version=version, recorded_at=None if at is None else parse_moment("--at", at))
    true_at = None if as_of is None else parse_moment("--as-of", as_of)
    declared = App(name) if app is None else load_app(app)
    aggregate = None if app is None else _aggregate(declared, name)
    async with open_readonly(store) as opened:
        events = [
            each for each in await _read(opened.log, name, until) if true_at is None or each.occurred_at <= true_at
        ]
        if not events:
            if await opened.log.read_stream(name, limit=1):
                raise CommandFailed(f"stream {name!r} had no events by then")
            raise CommandFailed(f"there is no stream {name!r}: see fait streams")
        if aggregate is None:
            folded, values = "the events' data merged, the last one wins", _merged(events)
        else:
            loaded = await DecisionRunner(opened.log, Codec(declarations_of(declared).registry), SystemClock()).load(
                fold_definition_of(aggregate), id_of(name), until, true_at
            )
            folded, values = aggregate.__qualname__, _fields(loaded.state)
    _show(name, folded, values, events, as_json)


async def _read(log: Log, name: str, until: Until) -> list[RecordedEvent]:
    events: list[RecordedEvent] = []
    while page := await log.read_stream(name, after=events[-1].version if events else 0, until=until, limit=PAGE_SIZE):
        events.extend(page)
    return events


def _aggregate(app: App, name: str) -> type[Aggregate]:
    found = declarations_of(app).aggregates.get(category_of(name))
    if found is None:
        categories = ", ".join(sorted(declarations_of(app).aggregates)) or "none"
        raise UsageError(
            f"the app {app.name!r} has no aggregate of the category {category_of(name)!r}; it has: {categories}"
        )
    return found


def _merged(events: Sequence[RecordedEvent]) -> dict[str, Raw]:
    """The members of all objects, each with its last value."""
    merged: dict[str, Raw] = {}
    for event in events:
        if event.data.startswith("{"):
            merged.update(msgspec.json.decode(event.data, type=dict[str, Raw]))
    return merged


def _fields(state: Any) -> dict[str, Raw]:
    return {key: Raw(_encode(value)) for key, value in msgspec.structs.asdict(state).items()}


def _show(name: str, folded: str, values: dict[str, Raw], events: Sequence[RecordedEvent], as_json: bool) -> None:
    last = events[-1]
    about = {
        "stream": name,
        "version": last.version,
        "events": len(events),
        "occurred_at": canonical_time(last.occurred_at),
        "recorded_at": canonical_time(last.recorded_at),
        "folded_by": folded,
    }
    if as_json:
        print_json({**about, "state": values})
        return
    print_fields({key.replace("_", " "): str(value) for key, value in about.items()})
    print_line("")
    print_fields({key: bytes(value).decode() for key, value in values.items()})
