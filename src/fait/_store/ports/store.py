"""The port `Store`: all ports of one database, and the findings of its health checks."""

from typing import Final, Literal, Protocol

from msgspec import Struct

from fait._decisions.snapshot import SnapshotStore
from fait._store.ports.leases import Leases
from fait._store.ports.log import Log
from fait._store.ports.registrations import Registrations
from fait._store.ports.tables import Tables
from fait._store.ports.unit_of_work import Recorder

__all__ = ["PORTS", "Finding", "Store"]

PORTS: Final = ("log", "registrations", "leases", "recorder", "tables", "snapshots")
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

    async def examine(self) -> list[Finding]:
        """Check the database, its settings and the invariants of the log, for `fait doctor`.

        Returns:
            A finding for each check; [] if the backend has no checks.
        """
        ...

    async def close(self) -> None:
        """Finish pending appends and release all resources."""
        ...
