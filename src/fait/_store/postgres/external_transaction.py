"""An append in PostgreSQL inside a transaction that somebody else began: one statement."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from fait._errors import StoreUnavailable
from fait._events.append import StreamWrite
from fait._store.external_transaction import Statement, StatementProtocol
from fait._store.group_commit import LockTimeout
from fait._store.postgres.append_protocol import appends_to_json, read_sequential_results
from fait._store.postgres.identifiers import statements

__all__ = ["append"]

IDLE_TIMEOUT_S: Final = 60
"""How long the transaction may stand idle after the append, before the server ends it: readers wait for its end."""

MAX_RETRIES: Final = 20
"""How often it is asked for anew when a stream moves between the look at its version and its lock."""

_decode = msgspec.json.Decoder(list[tuple[int, int, str, int, int | None, Any, Any]]).decode


def append(writes: Sequence[StreamWrite], schema: str, *, look_up: bool) -> StatementProtocol:
    """The conversation; each stream stands in it once."""
    ask = Statement(
        statements(schema)["external_append"], (appends_to_json([(writes, None)]), look_up, IDLE_TIMEOUT_S * 1000)
    )
    for _ in range(MAX_RETRIES):
        [(answer,)] = yield ask
        [verdict] = read_sequential_results([(writes, None)], _decode(answer))
        if not isinstance(verdict, LockTimeout):
            return verdict
    raise StoreUnavailable(f"an append met others {MAX_RETRIES} times. Roll back, and try again.")
