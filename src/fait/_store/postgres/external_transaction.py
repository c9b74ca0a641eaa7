"""An append in PostgreSQL inside a transaction that somebody else began: one statement."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from fait._errors import StoreUnavailable
from fait._events.append import Write
from fait._store.external_transaction import Ask, Conversation
from fait._store.group_commit import Busy
from fait._store.postgres.append_protocol import as_json, verdicts_of_each
from fait._store.postgres.identifiers import statements

__all__ = ["append"]

IDLE_S: Final = 60
"""How long the transaction may stand idle after the append, before the server ends it: readers wait for its end."""

TIMES: Final = 20
"""How often it is asked for anew when a stream moves between the look at its version and its lock."""

_decode = msgspec.json.Decoder(list[tuple[int, int, str, int, int | None, Any, Any]]).decode


def append(writes: Sequence[Write], schema: str, *, look_up: bool) -> Conversation:
    """The conversation; each stream stands in it once."""
    ask = Ask(statements(schema)["join"], (as_json([(writes, None)]), look_up, IDLE_S * 1000))
    for _ in range(TIMES):
        [(answer,)] = yield ask
        [verdict] = verdicts_of_each([(writes, None)], _decode(answer))
        if not isinstance(verdict, Busy):
            return verdict
    raise StoreUnavailable(f"an append met others {TIMES} times. Roll back, and try again.")
