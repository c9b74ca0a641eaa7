"""A backend's schema is the sum of its numbered files: applied once each, in order, and remembered.

Old and new code run side by side during a deploy. A step that older code can live with says so in a line of its own,
`-- compatible-from: N`: code whose newest step is N, or later, may go on using the schema. A step without such a line
locks out all code that does not know it.
"""

import re
from collections.abc import Sequence
from datetime import datetime

from msgspec import Struct

from fait._errors import StoreTooNew, StoreUnavailable

__all__ = ["Migration", "MigrationStatus", "load_migrations", "migration_statuses", "pending_migrations"]


class Migration(Struct, frozen=True):
    """One step of a schema.

    Attributes:
        number: from 1, without gaps.
        name: the file's name without number and ending.
        sql: its text.
    """

    number: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """Changes when the text does: a migration that was applied must never change."""
        import hashlib  # slow to import, and needed where a store is opened

        return hashlib.sha256(self.sql.encode()).hexdigest()[:16]

    @property
    def compatible_from(self) -> int:
        """The newest step of the oldest code that may use a schema with this step."""
        declared = re.search(r"^-- compatible-from: (\d+)$", self.sql, flags=re.MULTILINE)
        return int(declared[1]) if declared else self.number


class MigrationStatus(Struct, frozen=True):
    """A migration as a store remembers it, or as it is still to be applied.

    Attributes:
        number, name, fingerprint, compatible_from: as in `Migration`.
        applied_at: when; None: it is pending.
    """

    number: int
    name: str
    checksum: str
    compatible_from: int
    applied_at: datetime | None = None


def load_migrations(package: str) -> list[Migration]:
    """All `NNNN_name.sql` files of a package's `migrations` folder, in order."""
    from importlib.resources import files  # slow to import, and needed where a store is opened

    found = [
        Migration(int(file.name[:4]), file.name[5:-4], file.read_text("utf-8"))
        for file in files(package).joinpath("migrations").iterdir()
        if file.name.endswith(".sql")
    ]
    return sorted(found, key=lambda migration: migration.number)


def pending_migrations(known: list[Migration], applied: Sequence[MigrationStatus], where: str) -> list[Migration]:
    """Those still to apply. Refuses a schema that was changed, and a newer one that this code cannot live with."""
    newest = max((step.number for step in applied), default=0)
    needed = max((step.compatible_from for step in applied if step.number > len(known)), default=0)
    if needed > len(known):
        raise StoreTooNew(
            f"{where} was written by a newer fait (schema {newest}; this one knows {len(known)}). Upgrade fait to "
            f"open it."
        )
    fingerprints = {step.number: step.checksum for step in applied}
    for migration in known[:newest]:
        if fingerprints.get(migration.number) != migration.checksum:
            raise StoreUnavailable(
                f"{where} has another schema {migration.number} ({migration.name}) than this fait: it was written by a "
                "development version, or changed by hand. Restore it from a backup, or export and import its events."
            )
    return known[newest:]


def migration_statuses(known: list[Migration], applied: Sequence[MigrationStatus], where: str) -> list[MigrationStatus]:
    """Steps that were applied, then those that are pending; refuses what `pending` refuses."""
    return [
        *sorted(applied, key=lambda step: step.number),
        *(
            MigrationStatus(each.number, each.name, each.checksum, each.compatible_from)
            for each in pending_migrations(known, applied, where)
        ),
    ]
