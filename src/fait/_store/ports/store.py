"""The port `Store`: all ports of one database, and the findings of its health checks."""

from collections.abc import Sequence
from typing import Final, Literal, Protocol

from msgspec import Struct

from fait._decisions.snapshot import SnapshotStore
from fait._store.ports.failures import Failures
from fait._store.ports.inbox import Inbox
from fait._store.ports.leases import Leases, Range
from fait._store.ports.log import Log
from fait._store.ports.registrations import Registration, Registrations
from fait._store.ports.tables import Table, Tables
from fait._store.ports.unit_of_work import Recorder

__all__ = ["PORTS", "Finding", "OpeningState", "Store", "read_opening_state"]

PORTS: Final = ("log", "registrations", "leases", "failures", "inbox", "recorder", "tables", "snapshots")
"""Names of the attributes of a `Store` that are ports."""


class Finding(Struct, frozen=True):
    """The result of one check.

    Attributes:
        name: name of the check.
        status: "ok"; "problem": something is wrong; "unknown": the check could not be made.
        detail: the observed facts.
        advice: the next step for an operator; "" if there is none.
    """

    name: str
    status: Literal["ok", "problem", "unknown"]
    detail: str
    advice: str = ""


class OpeningState(Struct, frozen=True):
    """What opening an app compares with its declarations, read at one point in time.

    Attributes:
        registrations: all registrations except those of kind `system`.
        ranges: their ranges.
        last_position: position of the last event, as `Log.last_position`.
        expired_position: the highest position of all dropped messages, as `Log.expired_position`.
        tables: names of tables that need not be created. It may lack some that exist.
    """

    registrations: Sequence[Registration]
    ranges: Sequence[Range]
    last_position: int
    expired_position: int
    tables: frozenset[str] = frozenset()


class Store(Protocol):
    """An open store: all ports of one database."""

    @property
    def log(self) -> Log:
        """The events."""
        ...

    @property
    def registrations(self) -> Registrations:
        """The subscriptions that the store knows."""
        ...

    @property
    def leases(self) -> Leases:
        """The ranges of subscriptions, and their workers."""
        ...

    @property
    def failures(self) -> Failures:
        """The failures of keys, and the actions of operators."""
        ...

    @property
    def inbox(self) -> Inbox:
        """What consumers of brokers remember."""
        ...

    @property
    def recorder(self) -> Recorder:
        """Records the work of subscriptions."""
        ...

    @property
    def tables(self) -> Tables:
        """The tables of read models."""
        ...

    @property
    def snapshots(self) -> SnapshotStore:
        """The snapshots of folds."""
        ...

    async def opening_state(self, tables: Sequence[Table]) -> OpeningState:
        """Return what opening an app compares with its declarations. A backend can use `read_opening_state`.

        Args:
            tables: the tables of its read models.
        """
        ...

    async def examine(self) -> list[Finding]:
        """Check the database, its settings and the invariants of the log, for `fait doctor`.

        Returns:
            A finding for each check; [] if the backend has no checks.
        """
        ...

    async def close(self) -> None:
        """Finish pending appends and release all resources."""
        ...


async def read_opening_state(store: Store) -> OpeningState:
    """Return the opening state of a store, read by the methods of its ports.

    The last event is read after the positions, which it is compared with.
    """
    registrations, ranges = await store.registrations.registrations(), await store.leases.ranges()
    return OpeningState(registrations, ranges, await store.log.last_position(), await store.log.expired_position())
