"""Takes all ranges of a subscription from their workers, for a change of an operator."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final
from uuid import uuid4

from fait._errors import UsageError
from fait._store.ports.leases import Lease, Worker
from fait._store.ports.registrations import Registration
from fait._store.ports.store import Store

__all__ = ["refuse_paused", "take_over"]

MAX_ATTEMPTS: Final = 5
"""Maximum number of attempts to acquire all ranges before their workers acquire them again."""


def refuse_paused(registration: Registration) -> None:
    """Raise `UsageError` if a subscription is paused: no worker can own its ranges."""
    name = registration.subscription
    if registration.paused:
        raise UsageError(f"the subscription {name!r} is paused. Nothing was changed. Run fait resume {name} before.")


@asynccontextmanager
async def take_over(store: Store, registration: Registration) -> AsyncGenerator[list[Lease]]:
    """Own all ranges of a subscription during a block. Their workers continue after it.

    There is no heartbeat: after the duration of a lease another worker may acquire them, and then nothing of this one
    is recorded.

    Args:
        store: the store.
        registration: the registration of the subscription.

    Yields:
        The leases, in order of their keys. Work of former owners is rejected.

    Raises:
        UsageError: the subscription is paused, its log was adopted since, or workers acquire its ranges each time.
    """
    refuse_paused(registration)
    name, worker = registration.subscription, str(uuid4())
    await store.leases.heartbeat(Worker(worker, app=registration.app))
    try:
        for _ in range(MAX_ATTEMPTS):
            if leases := await _acquire(store, registration, worker):
                break
        else:
            raise UsageError(
                f"the ranges of {name!r} could not be taken from their workers. Nothing was changed. Stop the workers, "
                "or run the command again; if the log was adopted, start its app before."
            )
        yield leases
    finally:
        await store.leases.deregister(worker)


async def _acquire(store: Store, registration: Registration, worker: str) -> list[Lease]:
    """Return the leases of all ranges; none if another worker was faster."""
    # The same definition again: this frees the ranges, and work of their owners is rejected.
    await store.registrations.accept(registration)
    leases, epoch_id = list[Lease](), store.log.identity.epoch_id
    for each in await store.leases.ranges(registration.subscription):
        lease = await store.leases.acquire(each, worker, registration.definition_hash, epoch_id)
        if lease is None:
            return []
        leases.append(lease)
    return leases
