"""What can go wrong in an SQLite file, checked with SQL: settings, schema, and the log's own rules."""

import re
from collections.abc import Callable
from typing import Any, Final

import apsw

from fait._store.health import Finding
from fait._store.migrations import load_migrations
from fait._store.sqlite.connection import MIN_SQLITE, SqliteConnection
from fait._store.sqlite.statements import SQL

__all__ = ["examine"]

_RESTORE: Final = "stop writing to it, and restore a backup, or import an export of it into a new store"
_DAMAGE: Final = "an event, a stream or a tag was changed by hand, or the file is damaged: " + _RESTORE
_SYNCHRONOUS: Final = ("OFF", "NORMAL", "FULL", "EXTRA")


def examine(connection: SqliteConnection) -> list[Finding]:
    """All checks; one that fails in itself is "unknown", and does not stop the others."""
    return [_run_check(name, check, connection) for name, check in _CHECKS.items()]


def _run_check(name: str, check: Callable[[str, SqliteConnection], Finding], connection: SqliteConnection) -> Finding:
    try:
        return check(name, connection)
    except apsw.CorruptError as problem:
        return Finding(name, "finding", f"the file is damaged: {problem}", _RESTORE)
    except apsw.Error as problem:
        return Finding(name, "unknown", f"it could not be checked: {type(problem).__name__}: {problem}")


def _library(name: str, _connection: SqliteConnection) -> Finding:
    version = apsw.sqlite_lib_version()
    if apsw.SQLITE_VERSION_NUMBER >= MIN_SQLITE:
        return Finding(name, "ok", f"{version}, which has the WAL-reset fix of 3.51.3")
    advice = "pip install --upgrade --only-binary :all: apsw"
    return Finding(name, "finding", f"{version} can lose commits in WAL mode; fixed in 3.51.3", advice)


def _journal(name: str, connection: SqliteConnection) -> Finding:
    mode = str(connection.pragma("journal_mode"))
    if mode == "wal":
        return Finding(name, "ok", "wal")
    return Finding(name, "finding", f"{mode}: readers and the writer wait for each other", "open it once with fait")


def _synchronous(name: str, connection: SqliteConnection) -> Finding:
    level = _SYNCHRONOUS[int(connection.pragma("synchronous"))]
    if level in ("FULL", "EXTRA"):
        return Finding(name, "ok", f"{level}: what is acknowledged survives a loss of power")
    return Finding(name, "finding", f"{level}: the last commits may be lost with the power", "use ?synchronous=FULL")


def _schema(name: str, connection: SqliteConnection) -> Finding:
    applied = [row[0] for row in connection.execute(SQL["applied_migrations"])]
    known = [migration.number for migration in load_migrations("fait._store.sqlite")]
    if applied == known:
        return Finding(name, "ok", f"version {len(known)}, the newest this fait knows")
    if applied[: len(known)] == known:
        return Finding(name, "ok", f"version {applied[-1]}; this fait knows {len(known)}, and may use it")
    return Finding(name, "finding", f"it has the steps {applied}, this fait knows {known}", "use one version of fait")


def _pages(name: str, connection: SqliteConnection) -> Finding:
    problems = [str(row[0]) for row in connection.execute("PRAGMA quick_check(5)")]
    if problems == ["ok"]:
        return Finding(name, "ok", "quick_check found nothing")
    return Finding(name, "finding", "; ".join(problems), _RESTORE)


def _triggers(name: str, connection: SqliteConnection) -> Finding:
    expected = {
        trigger
        for migration in load_migrations("fait._store.sqlite")
        for trigger in re.findall(r"^CREATE TRIGGER (\w+)", migration.sql, flags=re.MULTILINE)
    }
    missing = sorted(expected - {row[0] for row in connection.execute(SQL["health_triggers"])})
    if not missing:
        return Finding(name, "ok", f"all {len(expected)} triggers are there")
    advice = "somebody removed what stops accidents: find out what was changed since, and create them again"
    return Finding(name, "finding", f"missing: {', '.join(missing)}", advice)


def _rule(statement: str, well: str, ill: str) -> Callable[[str, SqliteConnection], Finding]:
    """A rule whose statement gives the first few of those that break it."""

    def check(name: str, connection: SqliteConnection) -> Finding:
        rows: list[Any] = connection.execute(SQL[statement]).fetchall()
        if not rows:
            return Finding(name, "ok", well)
        return Finding(name, "finding", f"{ill}: {', '.join(str(row[0]) for row in rows)}", _DAMAGE)

    return check


_CHECKS: Final[dict[str, Callable[[str, SqliteConnection], Finding]]] = {
    "SQLite": _library,
    "journal mode": _journal,
    "synchronous": _synchronous,
    "schema": _schema,
    "pages": _pages,
    "append-only": _triggers,
    "versions": _rule("health_versions", "dense in every stream", "not 1, 2, 3, … in"),
    "tags": _rule("health_tags", "agree with the events", "the index and the events differ at positions"),
    "leases": _rule("health_leases", "each belongs to a subscription", "held for subscriptions that are gone"),
}
