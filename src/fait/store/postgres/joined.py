"""An append in PostgreSQL inside a transaction that somebody else began: one statement."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from fait.events.append import Write
from fait.events.envelope import NewEvent, StoredEvent
from fait.store.joined import Ask, Conversation
from fait.store.postgres.call import Stored, verdict
from fait.store.postgres.names import quote

__all__ = ["append"]

IDLE_S: Final = 60
"""How long the transaction may stand idle after the append, before the server ends it: readers wait for its end."""


class _Row(Struct):
    """What the append function says of a write."""

    write_no: int
    verdict: str
    last_version: int
    last_position: int | None
    stored: list[Stored] | None = None
    between_events: list[StoredEvent] | None = None


_decode = msgspec.json.Decoder(list[_Row]).decode


def append(writes: Sequence[Write], schema: str, *, look_up: bool) -> Conversation:
    """The conversation; each stream stands in it once."""
    text = msgspec.json.encode([_as_json(write) for write in writes]).decode()
    sql = f"SELECT {quote(schema)}.fait_join_1(CAST(? AS json), CAST(? AS integer), CAST(? AS boolean))"
    [(answer,)] = yield Ask(sql, (text, IDLE_S * 1000, look_up))
    rows = {row.write_no: msgspec.structs.astuple(row) for row in _decode(answer)}
    return verdict(writes, rows)


def _as_json(write: Write) -> dict[str, Any]:
    return {"stream": write.stream, "expected": write.expected, "events": [_event(each) for each in write.events]}


def _event(event: NewEvent) -> dict[str, Any]:
    return {
        "id": event.id,
        "type": event.type,
        "schema": event.schema,
        "data": Raw(event.data.encode()),
        "metadata": Raw(event.metadata.encode()),
        "tags": event.tags,
        "occurred_at": event.occurred_at,
    }
