"""Time and ids, replaceable by tests.

`Clock.now` is the time of events. `Clock.monotonic` measures delays and leases; a `ManualClock` lets time pass at once.

A `Clock` gives the current time. `now()` gives a command the time of its decision: the decision loop freezes it with
`freeze`, so that all calls in one decision return the same value and a repeated decision is deterministic.
"""

import os
import time
from collections.abc import Callable
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from fait._arguments import check_number, check_time

__all__ = ["Clock", "ManualClock", "SystemClock", "freeze", "new_id", "now"]


class Clock(Protocol):
    """Source of the current time."""

    def now(self) -> datetime:
        """Return the current time, timezone-aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Return the time in seconds since any moment in the past. It never goes back."""
        ...


class SystemClock:
    """The operating system's clock. It may jump forward or backward."""

    def now(self) -> datetime:
        """Return the current time in UTC, with microseconds."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return the monotonic time of the operating system, in seconds."""
        return time.monotonic()


class ManualClock:
    """A clock for tests that shows another time only when it is set or advanced.

    Delays of retries, outages and leases end when the clock is advanced by their duration, or when it has passed.

    Args:
        moment: the time it shows first; timezone-aware.

    Raises:
        UsageError: the time has no time zone.
    """

    def __init__(self, moment: datetime) -> None:
        self.moment = moment
        self._passed_s = 0.0
        self._listeners = set[Callable[[], None]]()

    @property
    def moment(self) -> datetime:
        """The time it shows, in UTC; may be assigned."""
        return self._moment

    @moment.setter
    def moment(self, moment: datetime) -> None:
        self._moment = check_time("moment", moment)

    def now(self) -> datetime:
        """Return the time the clock is set to."""
        return self.moment

    def monotonic(self) -> float:
        """Return the monotonic time of the operating system, and by how many seconds the clock was advanced."""
        return time.monotonic() + self._passed_s

    def advance(self, *, seconds: float = 0, minutes: float = 0, hours: float = 0, days: float = 0) -> None:
        """Move the clock forward; negative amounts move it back."""
        amounts = {"seconds": seconds, "minutes": minutes, "hours": hours, "days": days}
        delta = timedelta(**{unit: check_number(unit, amount) for unit, amount in amounts.items()})
        self.moment += delta
        self._passed_s += max(0.0, delta.total_seconds())
        for each in list(self._listeners):
            each()

    def add_listener(self, listener: Callable[[], None], /) -> Callable[[], None]:
        """Call a function whenever the clock was advanced. Returns a function that ends this."""
        self._listeners.add(listener)
        return lambda: self._listeners.discard(listener)


_frozen: ContextVar[datetime | None] = ContextVar("fait_now", default=None)


def now() -> datetime:
    """Return the current time, timezone-aware, in UTC.

    Within one decision (a command, `decide`), every call returns the same value.
    """
    return _frozen.get() or datetime.now(UTC)


class freeze:
    """Make `now()` return `timestamp` inside the block. A class, because every decision enters it."""

    __slots__ = ("_timestamp", "_token")

    def __init__(self, timestamp: datetime) -> None:
        self._timestamp = timestamp

    def __enter__(self) -> None:
        self._token = _frozen.set(self._timestamp)

    def __exit__(self, *_: object) -> None:
        _frozen.reset(self._token)


def new_id() -> str:
    """Return a new UUIDv7 (RFC 9562) as text.

    UUIDv7 values sort by creation time, so new index entries go to the right edge of a B-tree.
    """
    uuid = (time.time_ns() // 1_000_000).to_bytes(6, "big") + _random_bytes()
    return f"{uuid[:4].hex()}-{uuid[4:10].hex('-', 2)}-{uuid[10:].hex()}"


_pool: list[bytes] = []
_IDS_PER_REFILL: Final = 400
"""Number of ids whose random bytes are read by one call of `os.urandom`."""

# Translation tables: for any random byte, the byte with the bits of UUID version 7, and of the variant of RFC 9562.
_VERSION: Final = bytes(0x70 | byte & 0x0F for byte in range(256))
_VARIANT: Final = bytes(0x80 | byte & 0x3F for byte in range(256))


def _random_bytes() -> bytes:
    """Return the last ten bytes of a UUIDv7, with version and variant set. One `urandom` call serves many ids."""
    while True:
        try:
            return _pool.pop()  # atomic: two threads never get the same bytes
        except IndexError:
            portion = bytearray(os.urandom(10 * _IDS_PER_REFILL))
            portion[::10] = portion[::10].translate(_VERSION)
            portion[2::10] = portion[2::10].translate(_VARIANT)
            _pool.extend([bytes(portion[start : start + 10]) for start in range(0, len(portion), 10)])


os.register_at_fork(after_in_child=_pool.clear)  # a forked child must not use the random bytes of its parent
