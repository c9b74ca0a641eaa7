"""The port `Store`: all ports of one database."""

from typing import Protocol

from fait._decisions.snapshot import SnapshotStore
from fait._store.ports.leases import Leases
from fait._store.ports.log import Log
from fait._store.ports.registrations import Registrations
from fait._store.ports.tables import Tables
from fait._store.ports.unit_of_work import Recorder

__all__ = ["Store"]


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

    async def close(self) -> None:
        """Finish pending appends and release all resources."""
        ...
