"""The plan of a verification: number of processes, duration, and faults to inject."""

from typing import Any, Final, Literal, get_args

import msgspec
from msgspec import Struct

from fait._events.envelope import RecordedEvent

__all__ = [
    "BOOKED",
    "CLOSED",
    "END",
    "ENTERED",
    "FAULTS",
    "OUTBOX",
    "PLAIN",
    "SHARED_STREAMS",
    "SOLD",
    "TURN",
    "Fault",
    "Plan",
    "event_key",
    "limit_of",
]

Fault = Literal[
    "acknowledge-unstored",
    "backdate-event",
    "commit-rollback",
    "duplicate-event",
    "ignore-condition",
    "ignore-high-water-mark",
    "row-without-event",
    "skip-event",
    "swap-events",
]
"""A fault that a process commits on purpose, to prove that the checker detects it.

acknowledge-unstored    a writer acknowledges events that it did not append
backdate-event          a reader receives events with a recorded time before that of the preceding event
commit-rollback         a transaction that is reported as rolled back is committed
duplicate-event         a reader receives an event twice
ignore-condition        a writer omits its append conditions
ignore-high-water-mark  a reader continues after the last visible position (PostgreSQL)
row-without-event       a transaction stores its row without its event
skip-event              a reader does not receive an event
swap-events             a reader receives two events in the wrong order
"""

FAULTS: Final[tuple[Fault, ...]] = get_args(Fault)
"""The names of all faults."""

# Event types: without a condition (PLAIN), for a limited resource (SOLD, BOOKED, TURN), for a gate that an outbox
# transaction closes (ENTERED, CLOSED), of an outbox (OUTBOX), and the last event of the log (END).
PLAIN: Final = "verify.happened"
SOLD: Final = "verify.sold"
BOOKED: Final = "verify.booked"
TURN: Final = "verify.turn"
ENTERED: Final = "verify.entered"
CLOSED: Final = "verify.closed"
OUTBOX: Final = "verify.outbox"
END: Final = "verify.ended"

SHARED_STREAMS: Final = 40
"""Number of streams that all processes append to."""

_LIMITS: Final = {SOLD: 1, BOOKED: 3, TURN: 1}
"""Maximum number of events that may take the same resource, by event type."""


class Plan(Struct, frozen=True):
    """What a verification does.

    Attributes:
        url: URL of a log that nothing else uses.
        schema: its PostgreSQL schema.
        seconds: how long the writers run.
        seed: seed of all random choices.
        processes: number of processes that append; half as many more run transactions with an outbox.
        callers: number of concurrent callers in each process that appends.
        kill_interval_s: average interval between kills of a writing process.
        faults: faults to inject.
    """

    url: str
    schema: str
    seconds: float
    seed: int
    processes: int = 3
    callers: int = 8
    kill_interval_s: float = 3.0
    faults: tuple[Fault, ...] = ()


def limit_of(event: RecordedEvent) -> tuple[str, int] | None:
    """Return the limited resource that an event takes, and how many events may take it: a seat is sold once."""
    limit = _LIMITS.get(event.type.partition("-")[0])
    return None if limit is None else ((event.tags or (event.type,))[0], limit)


_decode: Final = msgspec.json.Decoder(dict[str, Any]).decode


def event_key(event: RecordedEvent) -> str:
    """Return the UUID by which a writer knows an event.

    It is the event's id, or a value in its data if the outbox generates the id.
    """
    return _decode(event.data)["key"] if event.type in (OUTBOX, CLOSED) else event.id
