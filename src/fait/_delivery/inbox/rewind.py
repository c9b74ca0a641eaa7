"""Lets a consumer read its topic again from the beginning. It recognizes the messages that it has handled."""

from msgspec.structs import replace

from fait._errors import UsageError
from fait._store.ports.inbox import InboxChanges, LaneOffset
from fait._store.ports.registrations import Registration
from fait._store.ports.store import Store
from fait._store.ports.unit_of_work import RangeMove, UnitOfWork
from fait._subscriptions.takeover import take_over

__all__ = ["rewind_consumer"]


async def rewind_consumer(store: Store, registration: Registration, *, execute: bool) -> list[LaneOffset]:
    """Forget the offsets of a consumer, but not which messages it has handled.

    Args:
        store: the store.
        registration: the registration of the consumer.
        execute: whether to change anything.

    Returns:
        The offsets before.

    Raises:
        UsageError: the consumer could not be taken from its worker. Nothing was changed.
    """
    offsets = [each for each in await store.inbox.offsets(registration.subscription) if each.offset]
    if execute and offsets:
        async with take_over(store, registration) as leases:
            [lease] = leases
            move = RangeMove(lease.key, lease.fencing_token, lease.revision, lease.frontier)
            cleared = InboxChanges(offsets=[replace(each, offset="") for each in offsets])
            if await store.recorder.record(UnitOfWork(move, inbox=cleared)) == "refused":
                raise UsageError(
                    f"another worker has acquired {registration.subscription!r} in the meantime. Nothing was changed. "
                    "Run the command again."
                )
    return offsets
