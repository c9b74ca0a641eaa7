"""A backend's schema is the sum of its numbered files: applied once each, in order, and remembered."""

import hashlib
from importlib.resources import files

from msgspec import Struct

from fait.errors import StoreTooNew, StoreUnavailable

__all__ = ["Migration", "load", "pending"]


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
    def fingerprint(self) -> str:
        """Changes when the text does: a migration that was applied must never change."""
        return hashlib.sha256(self.sql.encode()).hexdigest()[:16]


def load(package: str) -> list[Migration]:
    """All `NNNN_name.sql` files of a package's `migrations` folder, in order."""
    found = [
        Migration(int(file.name[:4]), file.name[5:-4], file.read_text("utf-8"))
        for file in files(package).joinpath("migrations").iterdir()
        if file.name.endswith(".sql")
    ]
    return sorted(found, key=lambda migration: migration.number)


def pending(known: list[Migration], applied: dict[int, str], where: str) -> list[Migration]:
    """Those still to apply, given the fingerprints of those that were. Refuses a newer or a changed schema."""
    newest = max(applied, default=0)
    if newest > len(known):
        raise StoreTooNew(
            f"{where} was written by a newer fait (schema {newest}; this one knows {len(known)}). Upgrade fait to "
            f"open it."
        )
    for migration in known[:newest]:
        if applied[migration.number] != migration.fingerprint:
            raise StoreUnavailable(
                f"{where} has another schema {migration.number} ({migration.name}) than this fait: it was written by a "
                "development version, or changed by hand. Restore it from a backup, or export and import its events."
            )
    return known[newest:]
