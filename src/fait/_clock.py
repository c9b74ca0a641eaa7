"""Time and ids: the two things that differ each time a program runs, so that a test can wind them by hand.

A `Clock` tells the moment; `now()` asks the clock in force. During one decision the moment stands still (`freeze`), so
that a command that asks twice gets one answer, and an attempt that is repeated is exact.
"""

import os
import time
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

__all__ = ["Clock", "ManualClock", "SystemClock", "freeze", "new_id", "now"]


class Clock(Protocol):
    """Tells the moment, aware, in UTC."""

    def now(self) -> datetime:
        """The moment."""
        ...


class SystemClock:
    """The operating system's clock. It may jump in either direction."""

    def now(self) -> datetime:
        """The moment, to the microsecond."""
        return datetime.now(UTC)


class ManualClock:
    """A clock that moves only when told to."""

    def __init__(self, moment: datetime) -> None:
        self.moment = moment.astimezone(UTC)

    def now(self) -> datetime:
        """The moment it was last set to."""
        return self.moment

    def advance(self, *, seconds: float = 0, minutes: float = 0, hours: float = 0, days: float = 0) -> None:
        """Move the clock; negative amounts move it back, as real clocks do."""
        self.moment += timedelta(seconds=seconds, minutes=minutes, hours=hours, days=days)


_frozen: ContextVar[datetime | None] = ContextVar("fait_now", default=None)


def now() -> datetime:
    """The moment, aware, in UTC. It stands still during one decision."""
    return _frozen.get() or datetime.now(UTC)


@contextmanager
def freeze(moment: datetime) -> Generator[datetime]:
    """Let `now()` answer `moment` inside the block."""
    token = _frozen.set(moment)
    try:
        yield moment
    finally:
        _frozen.reset(token)


def new_id() -> str:
    """A new UUIDv7 (RFC 9562) as text: ids made later sort later, so that indexes grow at their right edge."""
    whole = (time.time_ns() // 1_000_000).to_bytes(6, "big") + _random_bytes()
    return f"{whole[:4].hex()}-{whole[4:10].hex('-', 2)}-{whole[10:].hex()}"


_pool: list[bytes] = []
_IDS_PER_REFILL: Final = 400
_VERSION: Final = bytes(0x70 | byte & 0x0F for byte in range(256))
_VARIANT: Final = bytes(0x80 | byte & 0x3F for byte in range(256))


def _random_bytes() -> bytes:
    """The ten bytes of an id that chance gives, with version and variant in place; they are made in portions."""
    while True:
        try:
            return _pool.pop()  # in one step, so that no two threads draw the same
        except IndexError:
            made = bytearray(os.urandom(10 * _IDS_PER_REFILL))
            made[::10] = made[::10].translate(_VERSION)
            made[2::10] = made[2::10].translate(_VARIANT)
            _pool.extend([bytes(made[at : at + 10]) for at in range(0, len(made), 10)])


os.register_at_fork(after_in_child=_pool.clear)  # a child must not draw the same bytes as its parent
