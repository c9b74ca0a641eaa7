"""Migrations: the database schema of a backend as numbered SQL files. Each is applied once, in order, and recorded.

During a deploy, old and new code use the same store. A migration that older code can work with has the line
`-- compatible-from: N`: code that has the migrations up to N, or more of them, may use the store. Without this line,
only code that has the migration itself can open the store.
"""

import re
from collections.abc import Sequence
from datetime import datetime
from functools import cache

from msgspec import Struct

from fait._errors import StoreTooNew, StoreUnavailable

__all__ = ["Migration", "MigrationStatus", "load_migrations", "migration_statuses", "pending_migrations"]


class Migration(Struct, frozen=True):
    """One step of the database schema.

    Attributes:
        number: number of the migration, from 1 without gaps.
        name: name of the file without number and suffix.
        sql: the statements, without marker lines of planted faults.
    """

    number: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """Hash of the SQL text. A migration must not change after it was applied."""
        import hashlib  # here, as it is slow to import and only opening a store needs it

        return hashlib.sha256(self.sql.encode()).hexdigest()[:16]

    @property
    def compatible_from(self) -> int:
        """Number of the last migration that code must have, at least, to use a store with this migration applied."""
        declared = re.search(r"^-- compatible-from: (\d+)$", self.sql, flags=re.MULTILINE)
        return int(declared[1]) if declared else self.number


class MigrationStatus(Struct, frozen=True):
    """A migration that is recorded in a store, or pending.

    Attributes:
        number: as in `Migration`.
        name: as in `Migration`.
        checksum: as in `Migration`.
        compatible_from: as in `Migration`.
        applied_at: time at which it was applied; None: it is pending.
    """

    number: int
    name: str
    checksum: str
    compatible_from: int
    applied_at: datetime | None = None


@cache
def load_migrations(package: str) -> Sequence[Migration]:
    """Return the migrations in the `NNNN_name.sql` files of a package's `migrations` folder, in order.

    The files are read once in a process.
    """
    from importlib.resources import files  # here, as it is slow to import and only opening a store needs it

    migrations = [
        Migration(int(file.name[:4]), file.name[5:-4], _without_markers(file.read_text("utf-8")))
        for file in files(package).joinpath("migrations").iterdir()
        if file.name.endswith(".sql")
    ]
    return tuple(sorted(migrations, key=lambda migration: migration.number))


def _without_markers(sql: str) -> str:
    # `-- fault: NAME` marks where a test plants a fault. Without these lines they are not stored in the database, not
    # printed for users, and can be added and removed without changing a checksum.
    return re.sub(r"^ *-- fault: .*\n", "", sql, flags=re.MULTILINE)


def pending_migrations(
    known: Sequence[Migration], applied: Sequence[MigrationStatus], location: str
) -> list[Migration]:
    """Return the migrations that are not applied yet.

    Args:
        known: all migrations of this version of fait, in order.
        applied: the migrations recorded in the store.
        location: the store, for messages.

    Raises:
        StoreTooNew: a newer version of fait applied a migration that is not compatible with this version.
        StoreUnavailable: an applied migration differs from the known one.
    """
    newest = max((each.number for each in applied), default=0)
    required = max((each.compatible_from for each in applied if each.number > len(known)), default=0)
    if required > len(known):
        raise StoreTooNew(
            f"{location} was migrated by a newer version of fait (migration {newest}; this version knows "
            f"{len(known)}). Upgrade fait to open it."
        )
    checksums = {each.number: each.checksum for each in applied}
    for migration in known[:newest]:
        if checksums.get(migration.number) != migration.checksum:
            raise StoreUnavailable(
                f"migration {migration.number} ({migration.name}) in {location} differs from that of this version of "
                f"fait: a development version applied it, or the record was changed by hand. Restore the store from a "
                "backup. Or export its events (fait export) with the version of fait that applied the migration, and "
                "import them into a new store (fait import)."
            )
    return list(known[newest:])


def migration_statuses(
    known: Sequence[Migration], applied: Sequence[MigrationStatus], location: str
) -> list[MigrationStatus]:
    """Return the applied migrations, then the pending ones. Takes and raises the same as `pending_migrations`."""
    return [
        *sorted(applied, key=lambda each: each.number),
        *(
            MigrationStatus(each.number, each.name, each.checksum, each.compatible_from)
            for each in pending_migrations(known, applied, location)
        ),
    ]
