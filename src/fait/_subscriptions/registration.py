"""Registers the subscriptions of an app in a store, and checks that those that are registered still match.

Nothing is handled before all subscriptions of an app have passed these checks. The checks of what may change while the
app is open, the definition and the epoch, are made again whenever a worker acquires a lease.
"""

import socket
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from msgspec import Struct, json
from msgspec.structs import replace

from fait._errors import (
    CheckpointMismatch,
    DeclarationError,
    PositionExpired,
    SubscriptionsChanged,
    UsageError,
)
from fait._store.ports.leases import Range, last_ranges
from fait._store.ports.registrations import RangeKey, Registration, widened
from fait._store.ports.store import OpeningState, Store
from fait._store.ports.tables import Table
from fait._subscriptions.definition_change import definition_changed, differences_of, order_keys, parts_of
from fait._subscriptions.subscription import SubscriptionDefinition
from fait._telemetry import logger

__all__ = ["Registrar", "RegistrationChanges"]


class RegistrationChanges(Struct, frozen=True):
    """The changes that `App.open` makes in a store before it registers subscriptions.

    Attributes:
        renamed: old names of subscriptions and their new names.
        forgotten: subscriptions whose checkpoints are deleted.
        accepted: subscriptions whose definition in the store is replaced by the declared one.
        rebuilt: read models whose tables are emptied and built again.
        by: who changes them; "": the app on this host.
        reason: why.
    """

    renamed: Mapping[str, str] = MappingProxyType({})
    forgotten: Sequence[str] = ()
    accepted: Sequence[str] = ()
    rebuilt: Sequence[str] = ()
    by: str = ""
    reason: str = ""


class Registrar:
    """Registers the subscriptions of one app in one store."""

    def __init__(self, app: str, definitions: Sequence[SubscriptionDefinition], store: Store) -> None:
        self._app = app
        self._definitions = {each.name: each for each in definitions}
        self._changed = set[str]()  # read models whose rows are those of other code
        self._log = store.log
        self._leases = store.leases
        self._store = store
        self._registrations = store.registrations
        self._tables = store.tables

    async def apply(self, changes: RegistrationChanges, *, runs_here: bool = True) -> None:
        """Change registrations, if the subscriptions can be registered after that.

        Args:
            changes: the changes.
            runs_here: whether this process will run the subscriptions.

        Raises:
            UsageError: both names of a renamed subscription have a checkpoint, or it is a read model; an accepted or
                rebuilt one is not declared; or a renamed or forgotten one has never existed, while another one that is
                no longer declared does. Nothing was changed then.
            DeclarationError: another app of the store has a subscription of one of the names. Nothing was changed.
            SubscriptionsChanged, DefinitionChanged, CheckpointMismatch: as `register` after the changes. Nothing was
                changed.
            PositionExpired: see `rebuild`.
        """
        if not (changes.renamed or changes.forgotten or changes.accepted or changes.rebuilt):
            return
        await self._check_changes(changes)
        await self._check_result(changes, runs_here=runs_here)
        for name in changes.forgotten:  # first: one of them may have the new name of another
            await self._record("forget", name, changes, failed_keys=await self._count_failed_keys(name))
            await self._registrations.forget(name)
        for old, new in changes.renamed.items():
            await self._record("rename", old, changes, new_name=new)
            await self._registrations.rename(old, new)
        for name in changes.accepted:
            await self._record("accept", name, changes, handled_types=self._definitions[name].handled_types)
            # fault: accepted-without-parts
            await self._registrations.accept(
                self._registration(self._definitions[name]), parts_of(self._definitions[name])
            )
        for name in changes.rebuilt:
            await self.rebuild(name, changes)

    async def _record(self, action: str, name: str, changes: RegistrationChanges, **details: object) -> None:
        """Record a change before it is made: a process that dies between them leaves a record, too.

        What code names at each opening, such as a subscription that was forgotten before, changes nothing any more.
        """
        registration = await self._registrations.registration(name)
        # fault: change-at-opening-not-recorded
        if registration is None or (action == "accept" and self._is_accepted(registration)):
            return
        by = changes.by or f"{self._app}@{socket.gethostname()}"
        await self._store.failures.record_action(action, name, json.encode(details).decode(), by, changes.reason)

    async def _count_failed_keys(self, name: str) -> int:
        """Return how many keys have failed: their failures are removed with the checkpoint."""
        return len(await self._store.failures.failures(name))

    def _is_accepted(self, registration: Registration) -> bool:
        declared = self._registration(self._definitions[registration.subscription])
        return (registration.definition_hash, registration.handled_types) == (
            declared.definition_hash, declared.handled_types,
        )  # fmt: skip

    async def _check_changes(self, changes: RegistrationChanges) -> None:
        for option, names in (
            ("forget", changes.forgotten),
            ("accept", changes.accepted),
            ("rebuild", changes.rebuilt),
        ):
            if isinstance(names, str):
                raise UsageError(f"{option}= takes a list of names: write {option}=[{names!r}]. Nothing was changed.")
        for name in {
            *changes.renamed,
            *changes.renamed.values(),
            *changes.forgotten,
            *changes.accepted,
            *changes.rebuilt,
        }:
            if registration := await self._registrations.registration(name):
                self._check_app(registration)
        await self._check_unknown(changes)
        for old, new in changes.renamed.items():
            await self._check_renamed(old, new, is_new_forgotten=new in changes.forgotten)
        tables = [each.name for each in self._definitions.values() if each.table is not None]
        for name in changes.rebuilt:
            if name not in tables:
                known = ", ".join(sorted(tables)) or "none"
                raise UsageError(f"the app {self._app!r} has no read model {name!r}. Its read models: {known}")
        for name in changes.accepted:
            if name not in self._definitions:
                known = ", ".join(sorted(self._definitions)) or "none"
                raise UsageError(f"the app {self._app!r} has no subscription {name!r}. Its subscriptions: {known}")
            await self._check_failed_keys(self._definitions[name])

    async def _check_failed_keys(self, definition: SubscriptionDefinition) -> None:
        """Refuse another order key while keys of the former one have failed: their events would be passed over."""
        name = definition.name
        stored, declared = await order_keys(self._registrations, definition)
        # fault: failed-keys-lost-by-another-order-key
        if stored in ("", declared) or not (failures := await self._store.failures.failures(name)):
            return
        raise UsageError(
            f"keys of {name!r} have failed, such as {failures[0].key!r}, by another order key: {stored}; now "
            f"{declared}. The new code would pass over their events. Nothing was changed. Let the former code "
            f"handle or discard them before; see fait parked show {name}"
        )

    async def _check_renamed(self, old: str, new: str, *, is_new_forgotten: bool) -> None:
        registration = await self._registrations.registration(old)
        if registration is None:
            return
        if not is_new_forgotten and await self._registrations.registration(new):
            raise UsageError(
                f"cannot rename subscription {old!r} to {new!r}: both have a checkpoint. Neither was changed. "
                f"To continue at that of {new!r}, open the app once without renamed=, and with forget=[{old!r}]. To "
                f"continue at that of {old!r}, open it once with this renamed=, and with forget=[{new!r}]."
            )
        # fault: renamed-without-rows
        if registration.kind == "read_model":
            raise UsageError(
                f"cannot rename the read model {old!r} to {new!r}: its rows are in the table {old!r}. Nothing was "
                f"changed. Keep the table with class ...(fait.ReadModel, table={old!r}), or open the app once with "
                f"forget=[{old!r}] instead: {new!r} is then built from the log."
            )

    async def _check_result(self, changes: RegistrationChanges, *, runs_here: bool) -> None:
        """Raise what `register` would raise after the changes, before any of them is made."""
        for name in changes.rebuilt:
            await self._check_not_expired(self._definitions[name], 0)
        state = await self._store.opening_state([])
        result = {each.subscription: each for each in state.registrations if each.subscription not in changes.forgotten}
        frontiers = _frontiers(state.ranges)
        for old, new in changes.renamed.items():
            if old in result:
                result[new] = replace(result.pop(old), subscription=new)
                frontiers[new] = frontiers.get(old, 0)
        for name in changes.accepted:
            if name in result:
                accepted = self._definitions[name]
                result[name] = replace(result[name], definition_hash=accepted.definition_hash)
        for name in changes.rebuilt:
            result[name], frontiers[name] = self._registration(self._definitions[name]), 0
        # fault: changes-made-although-the-app-cannot-be-opened
        self._find_added(result)
        await self._check_registered(result, frontiers, state.last_position, runs_here=runs_here)

    async def _check_unknown(self, changes: RegistrationChanges) -> None:
        """Raise if a removed subscription still has a checkpoint, and `forget` names one that never existed instead.

        Names stay in the code after the first open, which retires them, and the code also opens new stores.
        """
        if not changes.forgotten and not changes.renamed:
            return
        undeclared = {
            each.subscription for each in await self._registrations.registrations() if each.app == self._app
        } - self._definitions.keys()
        remaining = sorted(undeclared - {*changes.forgotten, *changes.renamed})
        unknown = sorted({*changes.forgotten, *changes.renamed} - undeclared - self._definitions.keys())
        if not remaining or not unknown:
            return
        # fault: misspelled-forget
        if unknown := sorted({*unknown} - {*await self._registrations.retired()}):
            raise UsageError(
                f"the store has never had a subscription {unknown[0]!r}, which renamed= or forget= names. The "
                f"subscriptions that the app {self._app!r} no longer declares: {', '.join(remaining)}. Nothing was "
                "changed. Correct or remove the name."
            )

    async def rebuild(self, name: str, changes: RegistrationChanges = RegistrationChanges()) -> None:
        """Empty a read model's table, and set its checkpoint to the beginning of the log.

        Args:
            name: name of the read model.
            changes: say by whom and why.

        Raises:
            UsageError: fait has not created what has the name of the table. It is unchanged.
            PositionExpired: messages that it handles have been dropped. The table is unchanged, unless they were
                dropped during the call.
        """
        definition = self._definitions[name]
        assert definition.table is not None
        await self._check_not_expired(definition, 0)  # before anything is changed
        await self._record("rebuild", name, changes, failed_keys=await self._count_failed_keys(name))
        if (registration := await self._registrations.registration(name)) is not None and registration.paused:
            # fault: pause-ended-without-a-record
            await self._record("resume", name, changes, rebuild=True)
        # fault: rebuilt-without-parts
        await self._registrations.reset(self._registration(definition), definition.table, 0, parts_of(definition))
        await self._check_not_expired(definition, 0)  # again: now the checkpoint prevents further drops

    async def register(self, *, runs_here: bool = True) -> None:
        """Give each subscription a checkpoint and a read model its table.

        Args:
            runs_here: whether this process will run the subscriptions. Otherwise a read model whose definition has
                changed only cannot be read.

        Raises:
            SubscriptionsChanged: subscriptions were removed from the app and others were added to it.
            DeclarationError: another app of the store has a subscription of this name.
            CheckpointMismatch: a checkpoint belongs to another log or epoch, or lies beyond the head.
            DefinitionChanged: the definition of a subscription changed since it was registered: of a read model,
                `ReadModelChanged`.
            PositionExpired: a subscription would start where messages have been dropped.
            UsageError: the table of a new read model has rows, or fait has not created what has its name.
        """
        tables = [each.table for each in self._definitions.values() if each.table is not None]
        state = await self._store.opening_state(tables)
        registrations = {each.subscription: each for each in state.registrations}
        added = self._find_added(registrations)
        # Not the head, which can be lower: an open transaction may hold it back in this process alone.
        # fault: positions-compared-with-head
        last = state.last_position
        await self._check_registered(registrations, _frontiers(state.ranges), last, runs_here=runs_here)
        head, positions = await self._log.head() if added else 0, last_ranges(state.ranges)
        for name, definition in self._definitions.items():
            if name in added:
                await self._add(definition, head, runs_here=runs_here)
            elif name not in self._changed:
                if runs_here:
                    await self._replace_unknown(definition, registrations[name])
                await self._keep(definition, registrations[name], positions[name].position, state)

    async def _check_registered(
        self, registrations: Mapping[str, Registration], frontiers: Mapping[str, int], last: int, *, runs_here: bool
    ) -> None:
        """Check the definitions and positions of the subscriptions that are registered."""
        for definition in self._definitions.values():
            if registration := registrations.get(definition.name):
                await self._check(definition, registration, runs_here=runs_here)
                if definition.kind != "consumer":
                    self._check_position(definition.name, frontiers.get(definition.name, 0), last)

    async def compare(self, name: str) -> tuple[str, ...] | None:
        """Return what differs between the declared definition of a subscription and the stored one.

        Returns:
            Texts such as "column total (integer, was decimal)"; () if the store does not have the parts of the
            definition; None if nothing differs, or it is not registered.
        """
        definition, registration = self._definitions[name], await self._registrations.registration(name)
        if registration is None or self._is_accepted(registration):
            return None
        if registration.definition_hash != definition.definition_hash:
            return await differences_of(self._registrations, definition)
        before, now = ({*types} or {"of each type"} for types in (registration.handled_types, definition.handled_types))
        added, removed = sorted(now - before), sorted(before - now)
        return (*(f"event {each} (new)" for each in added), *(f"event {each} (no longer handled)" for each in removed))

    def _find_added(self, registrations: Mapping[str, Registration]) -> list[str]:
        existing = {name for name, each in registrations.items() if each.app == self._app}
        names = self._definitions
        removed, added = sorted(existing - names.keys()), [name for name in names if name not in existing]
        if removed and added:
            raise SubscriptionsChanged(self._app, removed, added)
        return added

    async def _add(self, definition: SubscriptionDefinition, head: int, *, runs_here: bool) -> None:
        name, position = definition.name, 0 if definition.start == "beginning" else head
        registered = self._registration(definition)
        # fault: definition-of-another-environment-registered
        if not runs_here and definition.depends_on_environment:  # its worker knows
            registered = replace(registered, definition_hash="")
        registration = await self._registrations.register(registered, position, parts_of(definition))
        # Another process may have registered it.
        await self._check(definition, registration, runs_here=runs_here or definition.table is not None)
        if runs_here:
            await self._replace_unknown(definition, registration)
        await self._widen(definition, registration)
        try:
            await self._check_not_expired(definition, await self._position(name))
            if definition.table is not None:  # last, so that no failed check leaves a changed table
                await self._tables.create_table(definition.table)
        except (PositionExpired, UsageError):  # the name of the table is taken
            await self._registrations.forget(name)
            raise
        if definition.table is not None:
            await self._check_no_old_rows(name, definition.table)

    async def _replace_unknown(self, definition: SubscriptionDefinition, registration: Registration) -> None:
        """Register the hash that only a worker knows, before this one acquires a lease with it.

        The types that other code has added are kept.
        """
        # fault: unknown-definition-not-replaced
        if registration.definition_hash != definition.definition_hash:
            declared = self._registration(definition)
            await self._registrations.accept(declared, parts_of(definition), keeps_types=True)

    async def _keep(
        self, definition: SubscriptionDefinition, registration: Registration, position: int, state: OpeningState
    ) -> None:
        """Check a subscription that is registered. Sends no statement if nothing has changed."""
        if await self._widen(definition, registration):
            await self._check_not_expired(definition, await self._position(definition.name))
        elif definition.may_expire and state.expired_position > position:
            raise PositionExpired(definition.name, position, state.expired_position)
        if definition.table is not None and definition.table.name not in state.tables:
            await self._tables.create_table(definition.table)

    async def _widen(self, definition: SubscriptionDefinition, registration: Registration) -> bool:
        """Add the event types that the app handles and the registration does not, before the app can append any.

        Returns whether there were any. Other types are another definition of a read model, which is not changed here.
        """
        # fault: further-types-not-registered
        if definition.table is not None or widened(registration, definition.handled_types) is registration:
            return False
        stored = await self._registrations.widen(definition.name, definition.handled_types)
        logger.info(
            "subscription handles further event types, from its checkpoint on: subscription=%s position=%d types=%s",
            definition.name, await self._position(definition.name),
            ",".join(sorted({*stored.handled_types} - {*registration.handled_types})) or "all",
        )  # fmt: skip
        return True

    async def _position(self, subscription: str) -> int:
        current = await self._leases.range(RangeKey(subscription))
        return current.position if current else 0

    def _check_app(self, registration: Registration) -> None:
        if registration.app != self._app:
            raise DeclarationError(
                f"the subscription {registration.subscription!r} belongs to the app {registration.app!r} in this "
                "store. It was not changed. Give a subscription of this app another name, with @app.on(..., "
                "name='...') or table='...'."
            )

    async def check_readable(self, name: str) -> None:
        """Raise `ReadModelChanged` if the rows of a read model are those of other code, as this process has found."""
        if name in self._changed:
            registration = await self._registrations.registration(name)
            if registration is None or registration.definition_hash != self._definitions[name].definition_hash:
                raise await definition_changed(self._registrations, self._definitions[name])
            self._changed.discard(name)

    async def _check(
        self, definition: SubscriptionDefinition, registration: Registration, *, runs_here: bool = True
    ) -> None:
        self._check_app(registration)
        name, log = registration.subscription, self._log.identity
        if (registration.log_id, registration.epoch_id) != (log.log_id, log.epoch_id):
            raise CheckpointMismatch(
                name,
                f"it was written for log {registration.log_id} epoch {registration.epoch_id}, but this is log "
                f"{log.log_id} epoch {log.epoch_id}",
            )
        is_unknown = definition.depends_on_environment and not registration.definition_hash
        if registration.definition_hash != definition.definition_hash and not is_unknown:
            if runs_here:
                raise await definition_changed(self._registrations, definition)
            if definition.table is None:  # what its worker runs does not matter here
                return
            # fault: changed-read-model-is-read
            self._changed.add(name)
            logger.warning(
                "read model is that of other code, it cannot be read here until it is rebuilt: read_model=%s "
                "differences=%s",
                name, ", ".join(await differences_of(self._registrations, definition)) or "unknown",
            )  # fmt: skip

    def _check_position(self, name: str, position: int, last: int) -> None:
        if position > last:
            raise CheckpointMismatch(name, f"it is at position {position}, the log ends at {last}")

    async def _check_no_old_rows(self, name: str, table: Table) -> None:
        """Raise if the table of a new read model has rows, unless another process has already started to fill it."""
        if not await self._tables.select(table, limit=1):
            return
        current = await self._leases.range(RangeKey(name))
        if current and current.position == 0 and not current.worker:
            # fault: old-rows-rejected-once
            await self._registrations.forget(name)
            raise UsageError(
                f"the table {table.name!r} has rows, but no subscription with a checkpoint wrote them. The read "
                "model was probably removed with forget= and then declared again. Nothing was changed. Rebuild "
                f"the table from the log: fait rebuild {table.name} --app module:app --store URL, or "
                f"open(url, rebuild=[{table.name!r}])."
            )

    async def _check_not_expired(self, definition: SubscriptionDefinition, position: int) -> None:
        """Raise `PositionExpired` if messages after `position` have been dropped.

        Call it after the checkpoint was written: the checkpoint prevents messages after it from being dropped.
        """
        # fault: start-below-expired-position
        if definition.may_expire and (expired := await self._log.expired_position()) > position:
            raise PositionExpired(definition.name, position, expired)

    def _registration(self, definition: SubscriptionDefinition) -> Registration:
        """Return the registration of a subscription in the current epoch of the log."""
        log = self._log.identity
        return Registration(
            definition.name, self._app, definition.kind, definition.definition_hash, definition.handled_types,
            log.log_id, log.epoch_id,
        )  # fmt: skip


def _frontiers(ranges: Iterable[Range]) -> dict[str, int]:
    """Return the highest frontier of each subscription: it has taken up no event after it."""
    frontiers: dict[str, int] = {}
    for each in ranges:
        name = each.key.subscription
        frontiers[name] = max(each.frontier, frontiers.get(name, 0))
    return frontiers
