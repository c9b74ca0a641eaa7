"""The data that the ports of a store in memory share, except for the log."""

from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from fait._errors import UsageError
from fait._store.ports.leases import Range
from fait._store.ports.registrations import RangeKey, Registration
from fait._store.ports.tables import Row

__all__ = ["MemoryState"]


class MemoryState(Struct):
    """Registrations, ranges, workers and tables.

    Attributes:
        registrations: registrations that are not retired, by subscription.
        retired: the last registration of each retired subscription.
        ranges: ranges by key, also those of retired registrations, so that their fencing tokens are not reused.
        workers: heartbeats of the registered workers.
        tables: the rows of each table, by key.
    """

    registrations: dict[str, Registration] = {}
    retired: dict[str, Registration] = {}
    ranges: dict[RangeKey, Range] = {}
    workers: dict[str, int] = {}
    tables: dict[str, dict[Any, Row]] = {}

    def rows_of(self, table: str) -> dict[Any, Row]:
        """Return the rows of a table by key; raise `UsageError` if there is no such table."""
        if (rows := self.tables.get(table)) is None:
            raise UsageError(
                f"there is no table {table!r}. Nothing was written. Include its read model before the app is opened."
            )
        return rows

    def range_of(self, registration: Registration) -> Range:
        """Return the range of a registration."""
        return self.ranges[RangeKey(registration.subscription, registration.generation)]

    def change(self, current: Range, *, worker: str = "") -> Range:
        """Store a range with another worker, or free it, under the next fencing token; return it."""
        self.ranges[current.key] = replace(current, worker=worker, fencing_token=current.fencing_token + 1)
        return self.ranges[current.key]
