"""Encodes appends as arguments of the append functions, and decodes the rows that they return."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from itertools import chain, count
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Raw

from fait._events.append import (
    PAGE_SIZE,
    AppendCondition,
    Appended,
    ConditionFailed,
    IdConflict,
    StreamWrite,
    VersionConflict,
)
from fait._events.envelope import EncodedEvent, RecordedEvent
from fait._events.query import Query
from fait._events.version import is_expected
from fait._store.duplicate_append import ExistingEvent, resolve_duplicate
from fait._store.group_commit import LOCK_TIMEOUT, AppendOutcome
from fait._store.ports.unit_of_work import HandlerAppend

__all__ = [
    "ANY_LOG",
    "Append",
    "Expected",
    "appends_to_json",
    "array_literal",
    "batch_arguments",
    "handler_arguments",
    "is_single_event",
    "may_conflict",
    "read_handler_result",
    "read_results",
    "read_sequential_results",
    "recorded_single",
    "single_arguments",
]

T = TypeVar("T")

Append = tuple[Sequence[StreamWrite], AppendCondition | None]

Expected = tuple[str | None, int | None]
"""What an append requires of the log: its epoch, and that its positions lie above one that is known. None: anything."""

ANY_LOG: Final[Expected] = (None, None)


def array_literal(texts: Sequence[str]) -> str:
    """Return texts as a PostgreSQL array literal."""
    return "{" + ",".join('"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"' for text in texts) + "}"


def is_single_event(appends: Sequence[Append]) -> bool:
    """Whether the appends are a single event without a condition."""
    if len(appends) > 1:
        return False
    writes, condition = appends[0]
    return len(writes) == 1 and len(writes[0].events) == 1 and not (condition and condition.queries)


def single_arguments(
    append: Append, now: datetime | None, *, lock_timeout_ms: int | None, expected: Expected = ANY_LOG
) -> tuple[Any, ...]:
    """Return the arguments of `append_one`."""
    [write] = append[0]
    [event] = write.events
    return (
        write.stream, write.expected, event.id, event.type, event.schema_version, event.data, event.metadata,
        event.tags or None, event.occurred_at, event.expires, now, lock_timeout_ms, *expected,
    )  # fmt: skip


def batch_arguments(
    appends: Sequence[Append],
    now: datetime | None,
    *,
    check_ids: bool,
    lock_timeout_ms: int | None,
    expected: Expected = ANY_LOG,
) -> list[Any]:
    """Return the arguments of `append`: several appends of one write each, or one append of any number of writes."""
    writes = [write for append_writes, _ in appends for write in append_writes]
    events = [event for write in writes for event in write.events]
    return _append_arguments(
        [(write.stream, write.expected) for write in writes], _event_numbers(writes, len(events)), events,
        [(number, condition) for number, (_, condition) in enumerate(appends, 1) if condition is not None],
        now, len(appends) == 1, check_ids, lock_timeout_ms, *expected,
    )  # fmt: skip


def handler_arguments(
    append: HandlerAppend, now: datetime | None, lock_timeout_ms: int, expected: Expected
) -> list[Any]:
    """Return the arguments of `append`: one append, whose events are stored in the order of the handlers' calls."""
    write_nos = {stream: number for number, stream in enumerate(append.expected, 1)}
    counts = Counter[str]()
    numbers = list[tuple[int, int]]()
    for stream, _ in append.events:
        counts[stream] += 1
        numbers.append((write_nos[stream], counts[stream]))
    return _append_arguments(
        append.expected.items(),
        (
            _integers(counts[stream] for stream in append.expected),
            _integers(write_no for write_no, _ in numbers),
            _integers(event_no for _, event_no in numbers),
        ),
        [event for _, event in append.events], [(1, condition) for condition in append.conditions],
        now, True, False, lock_timeout_ms, *expected,
    )  # fmt: skip


def _append_arguments(
    writes: Iterable[tuple[str, int]],
    numbers: tuple[str, str, str],
    events: Sequence[EncodedEvent],
    conditions: Sequence[tuple[int, AppendCondition]],
    *options: Any,
) -> list[Any]:
    """Return the arguments of `append`.

    Args:
        writes: stream and expected version of each write.
        numbers: see `_event_numbers`.
        events: the events of all writes.
        conditions: append conditions, each with the number of its write.
        *options: the last arguments of `append`.
    """
    tags = [event.tags for event in events]
    occurred_at = [event.occurred_at for event in events]
    expires = [event.expires for event in events]
    streams, expected = zip(*writes, strict=True)
    separator, joined_streams, ids, types, data, metadata, *joined_tags = _join_columns(
        streams,
        [event.id for event in events],
        [event.type for event in events],
        [event.data for event in events],
        [event.metadata for event in events],
        *([[array_literal(event_tags) if event_tags else "" for event_tags in tags]] if any(tags) else []),
    )
    return [
        separator, joined_streams, _integers(expected), *numbers,
        ids, types, _integers([event.schema_version for event in events]), data, metadata,
        joined_tags[0] if joined_tags else None,
        occurred_at if any(occurred_at) else None, expires if any(expires) else None,
        *_query_arguments(conditions), *options,
    ]  # fmt: skip


def _join_columns(*columns: Sequence[str]) -> list[str]:
    """Return a separator, and each column as one text of values with the separator between them.

    The driver encodes an array value by value, which takes many times as long. The separator does not occur in any
    value, and no prefix of it is also its suffix, so that the server splits the text exactly at the separators.
    """
    for separator in chain("\x1f", (f"\x1f{number}\x1e" for number in count())):
        texts = [separator.join(column) for column in columns]
        # fault: separator-in-value
        if all(text.count(separator) == len(column) - 1 for text, column in zip(texts, columns, strict=True)):
            return [separator, *texts]
    raise AssertionError("unreachable: the number of separators is unlimited")


def _integers(numbers: Iterable[int]) -> str:
    """Return integers as a PostgreSQL array literal."""
    return "{" + ",".join(map(str, numbers)) + "}"


def _event_numbers(writes: Sequence[StreamWrite], events: int) -> tuple[str, str, str]:
    """Return three arrays: the number of events of each write; the write number and the event number of each event."""
    if events == len(writes):
        return _single_event_numbers(events)
    counts = [len(write.events) for write in writes]
    write_nos, event_nos = list[int](), list[int]()
    for write_no, length in enumerate(counts, 1):
        write_nos += [write_no] * length
        event_nos += range(1, length + 1)
    return _integers(counts), _integers(write_nos), _integers(event_nos)


@lru_cache
def _single_event_numbers(writes: int) -> tuple[str, str, str]:
    """Return the result of `_event_numbers` for writes of one event each."""
    return _integers([1] * writes), _integers(range(1, writes + 1)), _integers([1] * writes)


def _query_arguments(conditions: Sequence[tuple[int, AppendCondition]]) -> list[list[Any] | None]:
    queries = [(number, condition.after, query) for number, condition in conditions for query in condition.queries]
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
    """Whether a condition may match an event of another append, which it would not see in the same call of `append`."""
    writes, condition = append
    return (condition is not None and any(_may_match(condition, other_writes) for other_writes, _ in others)) or any(
        _may_match(other_condition, writes) for _, other_condition in others if other_condition is not None
    )


def _may_match(condition: AppendCondition, writes: Sequence[StreamWrite]) -> bool:
    return any(
        _matches(query, write, event) for query in condition.queries for write in writes for event in write.events
    )


def _matches(query: Query, write: StreamWrite, event: EncodedEvent) -> bool:
    return (not query.types or event.type in query.types) and all(tag in event.tags for tag in query.tags)


def appends_to_json(appends: Sequence[Append]) -> str:
    """Encode appends that are stored one after another, as the JSON argument of `append_batch`."""
    return msgspec.json.encode([_append(*append) for append in appends]).decode()


def _append(writes: Sequence[StreamWrite], condition: AppendCondition | None) -> dict[str, Any]:
    encoded: dict[str, Any] = {"writes": [_write(write) for write in writes]}
    if condition is not None and condition.queries:
        encoded["after"] = condition.after
        encoded["queries"] = [
            {"types": query.types, "tags": query.tags, "category": query.category} for query in condition.queries
        ]
    return encoded


def _write(write: StreamWrite) -> dict[str, Any]:
    return {"stream": write.stream, "expected": write.expected, "events": [_event(event) for event in write.events]}


def _event(event: EncodedEvent) -> dict[str, Any]:
    # In JSON, the offset of a time has no seconds, as +00:19:32 has.
    # fault: offset-seconds-dropped
    occurred_at = event.occurred_at and event.occurred_at.astimezone(UTC)
    return {
        "id": event.id,
        "type": event.type,
        "schema_version": event.schema_version,
        "data": Raw(event.data.encode()),
        "metadata": Raw(event.metadata.encode()),
        "tags": event.tags,
        "occurred_at": occurred_at,
        "expires": event.expires,
    }


def recorded_single(append: Append, row: Any) -> RecordedEvent | None:
    """Return the event of an `append_one` call as a reader would get it; None if it was not stored."""
    [write] = append[0]
    [event] = write.events
    _, _, version, position, *_, recorded_at, _ = row
    if recorded_at is None:
        return None
    occurred_at = event.occurred_at.astimezone(UTC) if event.occurred_at else recorded_at
    return RecordedEvent(
        position, write.stream, version, event.type, event.schema_version, event.id, event.data, event.metadata,
        event.tags, recorded_at, occurred_at,
    )  # fmt: skip


def read_sequential_results(appends: Sequence[Append], rows: Sequence[Any]) -> list[AppendOutcome]:
    """Return an outcome for each append of an `append_batch` call."""
    by_append: defaultdict[int, dict[int, Any]] = defaultdict(dict)
    for append_no, *row in rows:
        by_append[append_no][row[0]] = row
    return [_append_result(writes, by_append[append_no]) for append_no, (writes, _) in enumerate(appends, 1)]


def read_handler_result(append: HandlerAppend, rows: Sequence[Any]) -> AppendOutcome:
    """Return the outcome of the events of handlers."""
    if (existing := rows[0][4]) is not None:
        return IdConflict(_decode_json(existing, list[ExistingEvent])[0].id)
    writes = [StreamWrite(stream, (), expected) for stream, expected in append.expected.items()]
    return _append_result(writes, {row[0]: row for row in rows})


def read_results(appends: Sequence[Append], rows: Sequence[Any]) -> list[AppendOutcome]:
    """Return an outcome for each append of a call; `LOCK_TIMEOUT` for one to send again."""
    if len(rows) == 1:
        return [_single_result(appends[0][0], rows[0])]
    if len(appends) == 1:
        return [_append_result(appends[0][0], {row[0]: row for row in rows})]
    by_write = {row[0]: row for row in rows}
    return [_single_result(writes, by_write[write_no]) for write_no, (writes, _) in enumerate(appends, 1)]


def _single_result(writes: Sequence[StreamWrite], row: Any) -> AppendOutcome:
    if row[1] == "appended":
        return Appended(row[3], (row[2],))
    return _append_result(writes, {1: row})


def _append_result(writes: Sequence[StreamWrite], rows: dict[int, Any]) -> AppendOutcome:
    """Return the outcome of one append; `rows` are keyed by write number."""
    if all(row[1] == "appended" for row in rows.values()):
        position = max(row[3] for row in rows.values())
        return Appended(position, tuple([rows[write_no][2] for write_no in range(1, len(writes) + 1)]))
    if (existing := next(iter(rows.values()))[4]) is not None:
        return resolve_duplicate(writes, {each.id: each for each in _decode_json(existing, list[ExistingEvent])})
    for row in rows.values():
        if row[1] == "condition_failed":
            if row[5] is None:
                return LOCK_TIMEOUT  # the conflicting events have expired since
            return ConditionFailed(*_conflicting_events(row))
    for write_no, write in enumerate(writes, 1):
        if not is_expected(write.expected, rows[write_no][2]):
            return VersionConflict(write.stream, write.expected, rows[write_no][2])
    return LOCK_TIMEOUT  # a concurrent transaction changed a stream in between, and all versions match now


def _decode_json(value: Any, kind: type[T]) -> T:
    """Decode a JSON column, which is text or has already been parsed by the driver."""
    return msgspec.json.decode(value, type=kind) if isinstance(value, str) else msgspec.convert(value, kind)


def _conflicting_events(row: Any) -> tuple[tuple[RecordedEvent, ...], int]:
    events = tuple(
        msgspec.structs.replace(
            event, recorded_at=event.recorded_at.astimezone(UTC), occurred_at=event.occurred_at.astimezone(UTC)
        )
        for event in _decode_json(row[5], list[RecordedEvent])
    )
    return events, events[-1].position if len(events) == PAGE_SIZE else row[3]
