"""What is done to a store: by how many processes, for how long, and what is done wrong on purpose."""

from typing import Any, Final, Literal, get_args

import msgspec
from msgspec import Struct

from fait._events.envelope import RecordedEvent

__all__ = [
    "BOOKED",
    "CLOSED",
    "END",
    "ENTERED",
    "FAULT_NAMES",
    "JOINED",
    "PLAIN",
    "SHARED",
    "SOLD",
    "TURN",
    "FaultName",
    "Plan",
    "limit_of",
    "name_of",
]

FaultName = Literal["ack", "condition", "duplicate", "mark", "order", "rollback", "skip", "time", "torn"]
"""A fault that an actor commits, so that it can be seen whether it is found out:

ack         a writer acknowledges what it never appended
condition   a writer leaves its conditions away
duplicate   a reader is given some events twice
mark        a reader takes the last position it can see for the end of what is final (PostgreSQL)
order       a reader is given some events in the wrong order
rollback    a transaction is committed that should be rolled back
skip        a reader is not given some events
time        a reader is given some events with a time before that of the event before
torn        a transaction's row is stored without its event
"""

FAULT_NAMES: Final[tuple[FaultName, ...]] = get_args(FaultName)

PLAIN: Final = "verify.happened"
SOLD: Final = "verify.sold"
BOOKED: Final = "verify.booked"
TURN: Final = "verify.turn"
ENTERED: Final = "verify.entered"
CLOSED: Final = "verify.closed"
JOINED: Final = "verify.joined"
END: Final = "verify.ended"

SHARED: Final = 40
"""Streams that everybody appends to."""

_LIMITS: Final = {SOLD: 1, BOOKED: 3, TURN: 1}


class Plan(Struct, frozen=True):
    """What is to be done.

    Attributes:
        url: of a log that nobody else uses.
        schema: where it lies in PostgreSQL.
        seconds: how long writers write.
        seed: what chance depends on.
        processes: that append; half as many more hold transactions of their own.
        callers: of each of them, appending at a time.
        kill_every_s: how often one of the writers is killed, on average.
        plants: what is done wrong on purpose.
    """

    url: str
    schema: str
    seconds: float
    seed: int
    processes: int = 3
    callers: int = 8
    kill_every_s: float = 3.0
    faults: tuple[FaultName, ...] = ()


def limit_of(event: RecordedEvent) -> tuple[str, int] | None:
    """What there is only so much of, and how much, when the event takes one of it: a seat is sold once."""
    limit = _LIMITS.get(event.type.partition("-")[0])
    return None if limit is None else ((event.tags or (event.type,))[0], limit)


_decode: Final = msgspec.json.Decoder(dict[str, Any]).decode


def name_of(event: RecordedEvent) -> str:
    """By what an event is known to whoever wrote it: its id, or a name in its data where the outbox makes the id."""
    return _decode(event.data)["name"] if event.type in (JOINED, CLOSED) else event.id
