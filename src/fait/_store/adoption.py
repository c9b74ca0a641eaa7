"""A log that was restored, copied or failed over is adopted: it goes on in a new epoch, as positions may be used again.

A checkpoint that lies within the log goes along. One beyond its end has seen events that are gone: it stays in the old
epoch, so that its subscription does not start before somebody has decided what it did with them.
"""

from msgspec import Struct

from fait._store.log import Identity

__all__ = ["Adoption", "CarriedCheckpoint"]


class CarriedCheckpoint(Struct, frozen=True):
    """A checkpoint at an adoption.

    Attributes:
        subscription: whose it is.
        position: where it is.
        taken: whether it went along into the new epoch.
    """

    subscription: str
    position: int
    carried_over: bool


class Adoption(Struct, frozen=True):
    """What an adoption did.

    Attributes:
        was, now: the log's identity before and after.
        head: position of the last event.
        checkpoints: all of them, by name.
    """

    previous: Identity
    current: Identity
    head: int
    checkpoints: list[CarriedCheckpoint]
