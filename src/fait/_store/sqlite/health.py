"""Health checks of an SQLite file: settings, database schema, and the invariants of the log."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import apsw

from fait._store.migrations import load_migrations
from fait._store.ports.store import Finding
from fait._store.recording_time import WRONG_CLOCK
from fait._store.sqlite.connection import MIN_SQLITE, SqliteConnection
from fait._store.sqlite.rows import head
from fait._store.sqlite.statements import SQL

__all__ = ["examine"]

_RESTORE: Final = (
    "stop all writers. Then restore a backup, or export the events (fait export) and import them into a new store "
    "(fait import)"
)
_DAMAGE: Final = "an event or a tag was changed by hand, or the file is corrupt: " + _RESTORE
MIN_FREE_BYTES: Final = 64 << 20
"""Minimum free space of the file's disk: a WAL can grow by this within seconds."""

_SYNCHRONOUS: Final = ("OFF", "NORMAL", "FULL", "EXTRA")


def examine(connection: SqliteConnection) -> list[Finding]:
    """Run all checks. A check that fails with an error is reported as "unknown"; the others still run."""
    return [_run_check(name, check, connection) for name, check in _CHECKS.items()]


def _run_check(name: str, check: Callable[[str, SqliteConnection], Finding], connection: SqliteConnection) -> Finding:
    try:
        return check(name, connection)
    except apsw.CorruptError as error:
        return Finding(name, "problem", f"the file is corrupt: {error}", _RESTORE)
    except (apsw.Error, OSError) as error:
        return Finding(name, "unknown", f"the check failed: {type(error).__name__}: {error}")


def _library(name: str, _connection: SqliteConnection) -> Finding:
    version = apsw.sqlite_lib_version()
    if apsw.SQLITE_VERSION_NUMBER >= MIN_SQLITE:
        return Finding(name, "ok", f"{version}, with the WAL-reset fix of 3.51.3")
    advice = "pip install --upgrade --only-binary :all: apsw"
    return Finding(name, "problem", f"{version} can lose commits in WAL mode; fixed in 3.51.3", advice)


def _journal(name: str, connection: SqliteConnection) -> Finding:
    mode = str(connection.pragma("journal_mode"))
    if mode == "wal":
        return Finding(name, "ok", "wal")
    return Finding(
        name,
        "problem",
        f"{mode}: readers and the writer block each other",
        "run fait streams: opening the store sets WAL mode",
    )


def _synchronous(name: str, connection: SqliteConnection) -> Finding:
    level = _SYNCHRONOUS[int(connection.pragma("synchronous"))]
    if level in ("FULL", "EXTRA"):
        return Finding(name, "ok", f"{level}: acknowledged appends survive a power failure")
    detail = f"{level}: the last commits may be lost on a power failure"
    return Finding(name, "problem", detail, "remove ?synchronous= from the store URL: FULL is the default")


def _space(name: str, connection: SqliteConnection) -> Finding:
    free = shutil.disk_usage(Path(connection.filename).parent).free
    detail = f"{free / (1 << 20):,.0f} MiB free"
    # fault: full-disk-not-found
    if free >= MIN_FREE_BYTES:
        return Finding(name, "ok", detail)
    advice = (
        "nothing can be stored on a full disk: neither events nor checkpoints nor heartbeats. Make space; then the "
        "workers continue by themselves"
    )
    return Finding(name, "problem", f"only {detail} on the disk of the file", advice)


def _schema(name: str, connection: SqliteConnection) -> Finding:
    applied = [row[0] for row in connection.execute(SQL["applied_migrations"])]
    known = [migration.number for migration in load_migrations("fait._store.sqlite")]
    if applied == known:
        return Finding(name, "ok", f"migration {len(known)}, up to date")
    if applied[: len(known)] == known:
        return Finding(name, "ok", f"migration {applied[-1]}; this version of fait has {len(known)} and is compatible")
    return Finding(
        name,
        "problem",
        f"applied migrations: {applied}; this version of fait has {known}",
        "upgrade fait in all processes, then run fait db migrate",
    )


def _pages(name: str, connection: SqliteConnection) -> Finding:
    errors = [str(row[0]) for row in connection.execute("PRAGMA quick_check(5)")]
    if errors == ["ok"]:
        return Finding(name, "ok", "quick_check found no errors")
    return Finding(name, "problem", "; ".join(errors), _RESTORE)


def _triggers(name: str, connection: SqliteConnection) -> Finding:
    expected = {
        trigger
        for migration in load_migrations("fait._store.sqlite")
        for trigger in re.findall(r"^CREATE TRIGGER (\w+)", migration.sql, flags=re.MULTILINE)
    }
    missing = sorted(expected - {row[0] for row in connection.execute(SQL["health_triggers"])})
    if not missing:
        return Finding(name, "ok", f"all {len(expected)} triggers exist")
    advice = (
        "events may have been changed while the triggers were missing: check them. Then run the CREATE TRIGGER "
        "statements that this command prints for a file that does not exist: fait db sql --store sqlite:///new.db"
    )
    return Finding(name, "problem", f"missing triggers: {', '.join(missing)}", advice)


def _log(name: str, connection: SqliteConnection) -> Finding:
    last = head(connection)
    if last:
        return Finding(name, "ok", f"the last event has position {last:,}")
    return Finding(
        name,
        "unknown",
        "the log is empty: the store is new, or it is a copy of a store in use without its WAL, which had the events. "
        "Copy a store with: fait backup",
    )


def _rule(statement: str, ok: str, violation: str, advice: str = _DAMAGE) -> Callable[[str, SqliteConnection], Finding]:
    """Return a check that a statement, which selects violations of a rule, finds none."""

    def check(name: str, connection: SqliteConnection) -> Finding:
        rows: list[Any] = connection.execute(SQL[statement]).fetchall()
        if not rows:
            return Finding(name, "ok", ok)
        return Finding(name, "problem", f"{violation}: {', '.join(str(row[0]) for row in rows)}", advice)

    return check


_CHECKS: Final[dict[str, Callable[[str, SqliteConnection], Finding]]] = {
    "SQLite": _library,
    "journal mode": _journal,
    "synchronous": _synchronous,
    "disk": _space,
    "schema": _schema,
    "pages": _pages,
    "append-only": _triggers,
    "log": _log,
    "versions": _rule("health_versions", "consecutive in every stream", "not consecutive in the streams"),
    "times": _rule(
        "health_times", "no event was recorded in the future", "recorded in the future, at the positions", WRONG_CLOCK
    ),
    "tags": _rule(
        "health_tags", "fait_tags agrees with the events", "fait_tags differs from the events at the positions"
    ),
    "ranges": _rule(
        "health_ranges",
        "cover each subscription exactly once",
        "missing, overlapping, or held although retired, of the subscriptions",
        "rows of fait_ranges were changed by hand: rebuild the read models, or forget the handlers (option forget of "
        "App.open)",
    ),
}
