"""Adoption: a log that was restored, copied or failed over starts a new epoch, as it may reuse positions.

Checkpoints up to the head are carried over into the new epoch. A checkpoint after the head belongs to a subscription
that has processed events which no longer exist. It stays in the old epoch, and its subscription does not start until an
operator has decided how to handle their effects.
"""

from msgspec import Struct

from fait._store.ports.log import Identity

__all__ = ["Adoption", "CarriedCheckpoint"]


class CarriedCheckpoint(Struct, frozen=True):
    """A checkpoint at the time of an adoption.

    Attributes:
        subscription: name of the subscription.
        position: its position.
        carried_over: whether it was carried over into the new epoch.
    """

    subscription: str
    position: int
    carried_over: bool


class Adoption(Struct, frozen=True):
    """The result of an adoption.

    Attributes:
        previous: the log's identity before.
        current: the log's identity afterwards.
        head: position of the last event. The new epoch starts after it.
        checkpoints: all checkpoints, in order of subscription.
    """

    previous: Identity
    current: Identity
    head: int
    checkpoints: list[CarriedCheckpoint]
