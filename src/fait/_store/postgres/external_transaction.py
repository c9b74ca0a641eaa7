"""An append in a transaction of the application: one statement, which any driver can run."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from fait._errors import StoreUnavailable
from fait._events.append import StreamWrite
from fait._store.external_transaction import FindProtocol, Statement, StatementProtocol
from fait._store.group_commit import LockTimeout
from fait._store.postgres.append_protocol import appends_to_json, array_literal, read_sequential_results
from fait._store.postgres.identifiers import statements

__all__ = ["append", "find"]

IDLE_TIMEOUT_S: Final = 60
"""Maximum time for which the transaction may be idle after the append. Readers wait for its end, so the server ends the
session after that time."""

MAX_RETRIES: Final = 20
"""Maximum number of retries because a stream's version changed while the append waited for its lock."""

_decode = msgspec.json.Decoder(list[tuple[int, int, str, int, int | None, Any, Any]]).decode


def append(writes: Sequence[StreamWrite], schema: str, *, check_ids: bool) -> StatementProtocol:
    """Return the statement protocol of an append; `writes` names each stream once."""
    statement = Statement(
        statements(schema)["external_append"], (appends_to_json([(writes, None)]), check_ids, IDLE_TIMEOUT_S * 1000)
    )
    for _ in range(MAX_RETRIES):
        [(answer,)] = yield statement
        [result] = read_sequential_results([(writes, None)], _decode(answer))
        if not isinstance(result, LockTimeout):
            return result
    raise StoreUnavailable(
        f"the append failed after {MAX_RETRIES} retries because of concurrent appends. Roll back and retry the "
        "transaction."
    )


def find(event_ids: Sequence[str], schema: str) -> FindProtocol:
    """Return the statement protocol that finds events by id."""
    rows = yield Statement(statements(schema)["external_find_events"], (array_literal(event_ids),))
    return [(stream, metadata) for stream, metadata in rows]
