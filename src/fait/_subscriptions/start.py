"""Starts subscriptions: writes initial checkpoints, creates tables, and checks that existing ones still match.

Nothing is handled before all subscriptions of an app have passed these checks.
"""

from collections.abc import Sequence

from fait._errors import (
    CheckpointMismatch,
    DeclarationError,
    PositionExpired,
    ReadModelChanged,
    SubscriptionsChanged,
    UsageError,
)
from fait._store.ports.registrations import RangeKey, Registration
from fait._store.ports.store import Store
from fait._subscriptions.projection import Projection
from fait._subscriptions.reactor import Reactor

__all__ = ["SubscriptionStarter"]


class SubscriptionStarter:
    """Prepares the subscriptions of one app on one store."""

    def __init__(self, app: str, store: Store) -> None:
        self._app = app
        self._log = store.log
        self._store = store

    async def start(self, subscriptions: Sequence[Projection | Reactor]) -> None:
        """Give each subscription a checkpoint and a read model its table.

        Raises:
            SubscriptionsChanged: subscriptions were removed from the app and others were added to it.
            DeclarationError: another app of the store has a subscription of this name.
            CheckpointMismatch: a checkpoint belongs to another log or epoch, or lies beyond the head.
            ReadModelChanged: the definition of a read model changed since its table was built.
            PositionExpired: a subscription would start where messages have been dropped.
            UsageError: the table of a new read model has rows.
        """
        registrations = await self._store.registrations.registrations()
        existing = {each.subscription for each in registrations if each.app == self._app}
        names = [subscription.name for subscription in subscriptions]
        removed, added = sorted(existing - set(names)), [name for name in names if name not in existing]
        if removed and added:
            raise SubscriptionsChanged(self._app, removed, added)
        head = await self._log.head()
        for subscription in subscriptions:
            await self._start(subscription, head, is_new=subscription.name in added)

    async def _start(self, subscription: Projection | Reactor, head: int, *, is_new: bool) -> None:
        name = subscription.name
        position = 0 if subscription.start == "beginning" else head
        registration = await self._store.registrations.register(self.registration(subscription), position)
        position = await self._position(name)
        await self._check_log(registration, position, head)
        if registration.definition_hash != subscription.definition_hash:
            raise ReadModelChanged(name)
        try:
            await self.check_not_expired(subscription, position)
        except PositionExpired:
            if is_new:
                await self._store.registrations.forget(name)
            raise
        if isinstance(subscription, Projection):  # last, so that no failed check leaves a changed table
            await self._store.tables.create_table(subscription.definition.table)
            if is_new:
                await self._check_no_old_rows(subscription)

    async def _position(self, subscription: str) -> int:
        current = await self._store.leases.range(RangeKey(subscription))
        return current.position if current else 0

    async def _check_log(self, registration: Registration, position: int, head: int) -> None:
        name, log = registration.subscription, self._log.identity
        if registration.app != self._app:
            raise DeclarationError(
                f"the subscription {name!r} belongs to the app {registration.app!r} in this store. Its checkpoint was "
                "not changed. Give the new subscription another name, with @app.on(..., name='...') or table='...'."
            )
        if (registration.log_id, registration.epoch_id) != (log.log_id, log.epoch_id):
            raise CheckpointMismatch(
                name,
                f"it was written for log {registration.log_id} epoch {registration.epoch_id}, but this is log "
                f"{log.log_id} epoch {log.epoch_id}",
            )
        if position > head:
            head = await self._log.head()  # other processes may have appended since the first call
            if position > head:
                raise CheckpointMismatch(name, f"it is at position {position}, the log ends at {head}")

    async def _check_no_old_rows(self, projection: Projection) -> None:
        """Raise if the table of a new read model has rows, unless another process has already started to fill it."""
        table = projection.definition.table
        if not await self._store.tables.select(table, limit=1):
            return
        current = await self._store.leases.range(RangeKey(projection.name))
        if current and current.position == 0 and not current.worker:
            # fault: old-rows-rejected-once
            await self._store.registrations.forget(projection.name)
            raise UsageError(
                f"the table {table.name!r} has rows, but no subscription with a checkpoint wrote them. The read "
                "model was probably removed with forget= and then declared again. Nothing was changed. Rebuild "
                f"the table from the log: fait rebuild {table.name} --app module:app --store URL, or "
                f"open(url, rebuild=[{table.name!r}])."
            )

    async def check_not_expired(self, subscription: Projection | Reactor, position: int) -> None:
        """Raise `PositionExpired` if messages after `position` have been dropped.

        Call it after the checkpoint was written: the checkpoint prevents messages after it from being dropped.
        """
        # fault: start-below-expired-position
        if subscription.may_expire and (expired := await self._log.expired_position()) > position:
            raise PositionExpired(subscription.name, position, expired)

    def registration(self, subscription: Projection | Reactor) -> Registration:
        """Return the registration of a subscription in the current epoch of the log."""
        log, types = self._log.identity, subscription.query.types
        return Registration(
            subscription.name, self._app, subscription.kind, subscription.definition_hash, types, log.log_id,
            log.epoch_id,
        )  # fmt: skip
