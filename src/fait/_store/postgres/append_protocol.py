"""Appends as the arguments of one call of the append function, and the rows that come back as verdicts."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from itertools import chain, count
from typing import Any, TypeVar

import msgspec
from msgspec import Raw, Struct

from fait._events.append import PAGE_SIZE, AppendCondition, Appended, ConditionFailed, StreamWrite, VersionConflict
from fait._events.envelope import EncodedEvent, RecordedEvent
from fait._events.query import Query
from fait._events.version import is_expected
from fait._store.duplicate_append import resolve_duplicate
from fait._store.group_commit import LOCK_TIMEOUT, AppendOutcome

__all__ = [
    "Append",
    "appends_to_json",
    "array_literal",
    "batch_arguments",
    "is_single_event",
    "may_conflict",
    "read_results",
    "read_sequential_results",
    "recorded_single",
    "single_arguments",
]

T = TypeVar("T")

Append = tuple[Sequence[StreamWrite], AppendCondition | None]


class _ExistingEvent(Struct):
    """An event that has one of the ids already."""

    id: str
    stream: str
    version: int
    position: int


def array_literal(texts: Sequence[str]) -> str:
    """An array of texts as PostgreSQL writes it."""
    return "{" + ",".join('"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"' for text in texts) + "}"


def is_single_event(appends: Sequence[Append]) -> bool:
    """Whether a call is for one event without a condition."""
    if len(appends) > 1:
        return False
    writes, condition = appends[0]
    return len(writes) == 1 and len(writes[0].events) == 1 and not (condition and condition.queries)


def single_arguments(append: Append, moment: datetime | None, *, patience: int | None) -> tuple[Any, ...]:
    """The arguments of a call for one event."""
    [write] = append[0]
    [event] = write.events
    return (
        write.stream, write.expected, event.id, event.type, event.schema_version, event.data, event.metadata,
        event.tags or None, event.occurred_at, event.expires, moment, patience,
    )  # fmt: skip


def batch_arguments(
    appends: Sequence[Append], moment: datetime | None, *, look_up: bool, patience: int | None
) -> list[Any]:
    """The arguments of one call: several appends of one write each, or one append of any number of writes."""
    writes = [write for each, _ in appends for write in each]
    events = [event for write in writes for event in write.events]
    tags = [event.tags for event in events]
    occurred = [event.occurred_at for event in events]
    expires = [event.expires for event in events]
    separator, streams, ids, types, data, metadata, *tagged = _joined(
        [write.stream for write in writes],
        [event.id for event in events],
        [event.type for event in events],
        [event.data for event in events],
        [event.metadata for event in events],
        *([[array_literal(each) if each else "" for each in tags]] if any(tags) else []),
    )
    return [
        separator, streams, _numbers([write.expected for write in writes]), *_places(writes, len(events)),
        ids, types, _numbers([event.schema_version for event in events]), data, metadata, tagged[0] if tagged else None,
        occurred if any(occurred) else None, expires if any(expires) else None,
        *_queries(appends),
        moment, len(appends) == 1, look_up, patience,
    ]  # fmt: skip


def _joined(*columns: list[str]) -> list[str]:
    """A separator, and each column as one text with it between the values.

    The driver sends an array value by value, which takes many times as long. A separator occurs in no value, and does
    not begin with its own end, so that it is found where it was put and nowhere else.
    """
    for separator in chain("\x1f", (f"\x1f{number}\x1e" for number in count())):
        texts = [separator.join(column) for column in columns]
        # fault: separator-in-value
        if all(text.count(separator) == len(column) - 1 for text, column in zip(texts, columns, strict=True)):
            return [separator, *texts]
    raise AssertionError("there are more separators than texts")


def _numbers(numbers: Iterable[int]) -> str:
    """An array of numbers as PostgreSQL writes it."""
    return "{" + ",".join(map(str, numbers)) + "}"


def _places(writes: Sequence[StreamWrite], events: int) -> tuple[str, str, str]:
    """How many events each write has, and for each event the number of its write and its place in it."""
    if events == len(writes):
        return _ones(events)
    counts = [len(write.events) for write in writes]
    numbers, places = list[int](), list[int]()
    for number, length in enumerate(counts, 1):
        numbers += [number] * length
        places += range(1, length + 1)
    return _numbers(counts), _numbers(numbers), _numbers(places)


@lru_cache
def _ones(writes: int) -> tuple[str, str, str]:
    """The same for writes of one event each."""
    return _numbers([1] * writes), _numbers(range(1, writes + 1)), _numbers([1] * writes)


def _queries(appends: Sequence[Append]) -> list[list[Any] | None]:
    queries = [
        (number, condition.after, query)
        for number, (_, condition) in enumerate(appends, 1)
        if condition is not None
        for query in condition.queries
    ]
    if not queries:
        return [None] * 5
    return [
        [number for number, _, _ in queries],
        [after for _, after, _ in queries],
        [array_literal(query.types) if query.types else None for _, _, query in queries],
        [array_literal(query.tags) if query.tags else None for _, _, query in queries],
        [query.category for _, _, query in queries],
    ]


def may_conflict(append: Append, others: Sequence[Append]) -> bool:
    """Whether one append's condition may mean an event of another: in one call they would not see each other."""
    writes, condition = append
    return (condition is not None and any(_may_match(condition, each) for each, _ in others)) or any(
        _may_match(each, writes) for _, each in others if each is not None
    )


def _may_match(condition: AppendCondition, writes: Sequence[StreamWrite]) -> bool:
    return any(
        _matches(query, write, event) for query in condition.queries for write in writes for event in write.events
    )


def _matches(query: Query, write: StreamWrite, event: EncodedEvent) -> bool:
    return (not query.types or event.type in query.types) and all(tag in event.tags for tag in query.tags)


def appends_to_json(appends: Sequence[Append]) -> str:
    """The text for appends that are stored one after another."""
    return msgspec.json.encode([_append(*each) for each in appends]).decode()


def _append(writes: Sequence[StreamWrite], condition: AppendCondition | None) -> dict[str, Any]:
    said: dict[str, Any] = {"writes": [_write(each) for each in writes]}
    if condition is not None and condition.queries:
        said["after"] = condition.after
        said["queries"] = [
            {"types": query.types, "tags": query.tags, "category": query.category} for query in condition.queries
        ]
    return said


def _write(write: StreamWrite) -> dict[str, Any]:
    return {"stream": write.stream, "expected": write.expected, "events": [_event(each) for each in write.events]}


def _event(event: EncodedEvent) -> dict[str, Any]:
    return {
        "id": event.id,
        "type": event.type,
        "schema_version": event.schema_version,
        "data": Raw(event.data.encode()),
        "metadata": Raw(event.metadata.encode()),
        "tags": event.tags,
        "occurred_at": event.occurred_at,
        "expires": event.expires,
    }


def recorded_single(append: Append, row: Any) -> RecordedEvent | None:
    """The event of a call for one, as a reader would be given it; None if it was not stored."""
    [write] = append[0]
    [event] = write.events
    _, _, version, position, *_, recorded_at = row
    if recorded_at is None:
        return None
    occurred_at = event.occurred_at.astimezone(UTC) if event.occurred_at else recorded_at
    return RecordedEvent(
        position, write.stream, version, event.type, event.schema_version, event.id, event.data, event.metadata, event.tags,
        recorded_at, occurred_at,
    )  # fmt: skip


def read_sequential_results(appends: Sequence[Append], rows: Sequence[Any]) -> list[AppendOutcome]:
    """A verdict for each of the appends that were stored one after another."""
    by_append: defaultdict[int, dict[int, Any]] = defaultdict(dict)
    for number, *row in rows:
        by_append[number][row[0]] = row
    return [_append_result(writes, by_append[number]) for number, (writes, _) in enumerate(appends, 1)]


def read_results(appends: Sequence[Append], rows: Sequence[Any]) -> list[AppendOutcome]:
    """A verdict for each append of a call; `BUSY` for one that is to be sent again."""
    if len(rows) == 1:
        return [_single_result(appends[0][0], rows[0])]
    if len(appends) == 1:
        return [_append_result(appends[0][0], {row[0]: row for row in rows})]
    by_write = {row[0]: row for row in rows}
    return [_single_result(writes, by_write[number]) for number, (writes, _) in enumerate(appends, 1)]


def _single_result(writes: Sequence[StreamWrite], row: Any) -> AppendOutcome:
    if row[1] == "appended":
        return Appended(row[3], (row[2],))
    return _append_result(writes, {1: row})


def _append_result(writes: Sequence[StreamWrite], rows: dict[int, Any]) -> AppendOutcome:
    """What the function's rows, by the number of the write, mean for one append."""
    if all(row[1] == "appended" for row in rows.values()):
        position = max(row[3] for row in rows.values())
        return Appended(position, tuple([rows[number][2] for number in range(1, len(writes) + 1)]))
    if (stored := next(iter(rows.values()))[4]) is not None:
        return resolve_duplicate(writes, {each.id: each for each in _values(stored, list[_ExistingEvent])})
    for row in rows.values():
        if row[1] == "condition_failed":
            if row[5] is None:
                return LOCK_TIMEOUT  # what it met has expired meanwhile
            return ConditionFailed(*_conflicting_events(row))
    for number, write in enumerate(writes, 1):
        if not is_expected(write.expected, rows[number][2]):
            return VersionConflict(write.stream, write.expected, rows[number][2])
    return LOCK_TIMEOUT  # it was in the way of another when the versions were looked at, and would not be now


def _values(json: Any, kind: type[T]) -> T:
    """A column of JSON, as text or read already."""
    return msgspec.json.decode(json, type=kind) if isinstance(json, str) else msgspec.convert(json, kind)


def _conflicting_events(row: Any) -> tuple[tuple[RecordedEvent, ...], int]:
    events = tuple(
        msgspec.structs.replace(
            event, recorded_at=event.recorded_at.astimezone(UTC), occurred_at=event.occurred_at.astimezone(UTC)
        )
        for event in _values(row[5], list[RecordedEvent])
    )
    return events, events[-1].position if len(events) == PAGE_SIZE else row[3]
