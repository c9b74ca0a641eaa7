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
from fait._store.ledger import Checkpoint, Ledger
from fait._store.log import Log
from fait._subscriptions.projection import Projection
from fait._subscriptions.reactor import Reactor

__all__ = ["SubscriptionStarter"]


class SubscriptionStarter:
    """Prepares the subscriptions of one app on one store."""

    def __init__(self, app: str, log: Log, ledger: Ledger) -> None:
        self._app = app
        self._log = log
        self._ledger = ledger

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
        existing = {each.subscription for each in await self._ledger.checkpoints() if each.app == self._app}
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
        checkpoint = await self._ledger.start_checkpoint(self.checkpoint(subscription, position))
        await self._check_log(checkpoint, head)
        if checkpoint.definition_hash != subscription.definition_hash:
            raise ReadModelChanged(name)
        try:
            await self.check_not_expired(subscription, checkpoint.position)
        except PositionExpired:
            if is_new:
                await self._ledger.forget_subscription(name)
            raise
        if isinstance(subscription, Projection):  # last, so that no failed check leaves a changed table
            await self._ledger.create_table(subscription.definition.table)
            if is_new:
                await self._check_no_old_rows(subscription)

    async def _check_log(self, checkpoint: Checkpoint, head: int) -> None:
        name, log = checkpoint.subscription, self._log.identity
        if checkpoint.app != self._app:
            raise DeclarationError(
                f"the subscription {name!r} belongs to the app {checkpoint.app!r} in this store. Its checkpoint was "
                "not changed. Give the new subscription another name, with @app.on(..., name='...') or table='...'."
            )
        if (checkpoint.log_id, checkpoint.epoch_id) != (log.log_id, log.epoch_id):
            raise CheckpointMismatch(
                name,
                f"it was written for log {checkpoint.log_id} epoch {checkpoint.epoch_id}, but this is log {log.log_id} "
                f"epoch {log.epoch_id}",
            )
        if checkpoint.position > head:
            head = await self._log.head()  # other processes may have appended since the first call
            if checkpoint.position > head:
                raise CheckpointMismatch(name, f"it is at position {checkpoint.position}, the log ends at {head}")

    async def _check_no_old_rows(self, projection: Projection) -> None:
        """Raise if the table of a new read model has rows, unless another process has already started to fill it."""
        table, checkpoint = projection.definition.table, await self._ledger.checkpoint(projection.name)
        if await self._ledger.select(table, limit=1) and checkpoint and checkpoint.position == 0:
            lease = await self._ledger.lease(projection.name)
            if not lease.owner:
                # fault: old-rows-rejected-once
                await self._ledger.forget_subscription(projection.name)
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

    def checkpoint(self, subscription: Projection | Reactor, position: int) -> Checkpoint:
        """Return a checkpoint of a subscription in the current epoch of the log."""
        log = self._log.identity
        return Checkpoint(
            subscription.name, self._app, position, log.log_id, log.epoch_id, subscription.definition_hash
        )
