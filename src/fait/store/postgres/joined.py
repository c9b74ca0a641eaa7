"""An append in PostgreSQL inside a transaction that somebody else began: one statement."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from fait.events.append import Write
from fait.store.joined import Ask, Conversation
from fait.store.postgres.call import as_json, verdicts_of_each
from fait.store.postgres.names import quote

__all__ = ["append"]

IDLE_S: Final = 60
"""How long the transaction may stand idle after the append, before the server ends it: readers wait for its end."""

_decode = msgspec.json.Decoder(list[tuple[int, int, str, int, int | None, Any, Any]]).decode


def append(writes: Sequence[Write], schema: str, *, look_up: bool) -> Conversation:
    """The conversation; each stream stands in it once."""
    # The schema's name is quoted, and all else is a value: a text, as a driver may have been told what json is made of.
    sql = (
        "SELECT CAST(json_agg(json_build_array(append_no, write_no, verdict, last_version, last_position, stored, "
        f"between_events)) AS text) FROM {quote(schema)}.fait_append_each_1("
        "CAST(CAST(? AS text) AS json), look_up => CAST(? AS boolean), joined => CAST(? AS integer))"
    )
    [(answer,)] = yield Ask(sql, (as_json([(writes, None)]), look_up, IDLE_S * 1000))
    [verdict] = verdicts_of_each([(writes, None)], _decode(answer))
    return verdict
