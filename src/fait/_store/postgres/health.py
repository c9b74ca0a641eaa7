"""The PostgreSQL checks of `fait doctor`: the server, the connection to it, open appends, and the rules of the log."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final, Literal

from fait._errors import FaitError, StoreUnavailable
from fait._store.command_hint import command_hint
from fait._store.migrations import load_migrations
from fait._store.ports.store import Finding
from fait._store.postgres.admin import applied_migrations
from fait._store.postgres.bulk import MIN_BULK_EVENTS
from fait._store.postgres.connection import Database, PostgresConnection, PostgresError
from fait._store.postgres.identifiers import literal, quote
from fait._store.postgres.identity import check_visible, read_identity
from fait._store.postgres.open_append import OpenAppend, open_appends
from fait._store.recording_time import WRONG_CLOCK

__all__ = ["CHECKS", "examine"]

CheckResult = tuple[Literal["ok", "problem", "unknown"], str, str]
"""Status, detail and advice of a finding."""

Check = Callable[[Database, PostgresConnection], Awaitable[CheckResult]]

MAX_TICKET_AGE_S: Final = 5.0
"""Maximum age of an open append that is not a problem; readers wait for its end."""

MAX_CHECKED_POSITIONS: Final = 250_000
"""Maximum number of positions to check, the newest ones; limits a check to a few seconds."""

MAX_CONNECTION_SHARE: Final = 0.9
"""Maximum share of the server's connections in use that is not a problem."""

CHECK_TIMEOUT_S: Final = 60.0
"""Timeout for one check of the log's rules. After a little longer, the server counts as lost."""

NOTIFY_TIMEOUT_S: Final = 2.0
"""Timeout for a notification, and for a statement through a pooler; either takes milliseconds if it works."""

_PACKAGE: Final = "fait._store.postgres"
_DAMAGE: Final = (
    "an event, a stream or a tag was changed by hand, or the database is damaged: stop all writers. Then restore a "
    "backup, or export the events (fait export) and import them into a new store (fait import)"
)


async def examine(database: Database) -> list[Finding]:
    """Run all checks. A check that fails with an error is reported as "unknown"; the others still run."""
    return [await _run_check(name, check, database) for name, check in CHECKS.items()]


async def _run_check(name: str, check: Check, database: Database) -> Finding:
    try:
        async with database.connection(CHECK_TIMEOUT_S + NOTIFY_TIMEOUT_S) as connection:
            return Finding(name, *await check(database, connection))
    except FaitError as error:
        return Finding(name, "unknown", f"the check failed: {error}")


def _setting(name: str, expected: str, good: str, bad: str, advice: str) -> Check:
    """Return a check that a server setting has the expected value."""

    async def check(database: Database, connection: PostgresConnection) -> CheckResult:
        value = await connection.fetchval(f"SHOW {name}")
        return ("ok", f"{value}: {good}", "") if value == expected else ("problem", f"{value}: {bad}", advice)

    return check


async def _server(database: Database, connection: PostgresConnection) -> CheckResult:
    stored = await read_identity(database, connection)
    identity, confirmed = stored.identity, stored.confirmed
    version = await connection.fetchval("SHOW server_version")
    detail = f"{version}, primary, timeline {confirmed.timeline}; log {identity.log_id}, epoch {identity.epoch_id}"
    if confirmed.cluster:
        return "ok", detail, ""
    advice = (
        "GRANT EXECUTE ON FUNCTION pg_control_system() TO the role that migrates the schema, and then run "
        f"{command_hint('log adopt', database.options.redacted_url)} with that role"
    )
    return "unknown", f"{detail}; the system identifier is unknown, so a copy in another cluster is not noticed", advice


async def _synchronous_commit(database: Database, connection: PostgresConnection) -> CheckResult:
    value = await connection.fetchval("SHOW synchronous_commit")
    if value in ("on", "remote_apply"):
        return "ok", f"{value}: acknowledged appends survive a crash", ""
    detail = f"{value}: appends override it with on; after a crash, checkpoints may be lost and events redelivered"
    return "ok", detail, ""


async def _schema(database: Database, connection: PostgresConnection) -> CheckResult:
    known, applied = len(load_migrations(_PACKAGE)), len(await applied_migrations(database, connection))
    if applied > known:
        return "ok", f"migration {applied}; this version of fait has {known} and is compatible", ""
    if applied == known:
        return "ok", f"migration {known}, up to date", ""
    advice = f"run {command_hint('db migrate', database.options.redacted_url)}"
    return "problem", f"migration {applied} of {known}: {known - applied} pending", advice


async def _sequence(database: Database, connection: PostgresConnection) -> CheckResult:
    [row] = await connection.fetch(database.sql["health_sequence"])
    increment, cache, cycle, last_value, last_position, may_read = row
    name = f"{quote(database.schema)}.fait_position"
    if not may_read:
        detail = "this role may not read the sequence, so it cannot read the log"
        return "problem", detail, f"GRANT SELECT ON SEQUENCE {name} TO the role"
    if increment != 1 or cache != 1 or cycle:
        properties = f"INCREMENT {increment}, CACHE {cache}, {'CYCLE' if cycle else 'NO CYCLE'}"
        advice = f"ALTER SEQUENCE {name} INCREMENT 1 CACHE 1 NO CYCLE"
        return "problem", f"{properties}: readers would skip events", advice
    if last_value < last_position:
        detail = f"its last value {last_value} is below the last event at position {last_position}: appends will fail"
        advice = (
            f"run SELECT setval({literal(name)}, {last_position}), and find out what lowered it: a setval, or a "
            "restore of the database"
        )
        return "problem", detail, advice
    return "ok", f"INCREMENT 1, CACHE 1, last value {last_value:,}", ""


async def _row_security(database: Database, connection: PostgresConnection) -> CheckResult:
    try:
        await check_visible(database, connection)
    except StoreUnavailable as error:
        return "problem", error.reason, "disable row-level security on these tables, or use a role with BYPASSRLS"
    return "ok", "no row is hidden from this role", ""


async def _triggers(database: Database, connection: PostgresConnection) -> CheckResult:
    expected = {
        (table, trigger)
        for migration in load_migrations(_PACKAGE)
        for trigger, table in re.findall(r"^CREATE TRIGGER (\w+)[^;]*? ON \{schema\}\.(\w+)", migration.sql, flags=re.M)
    }
    rows = await connection.fetch(database.sql["health_triggers"], database.schema)
    enabled_triggers = {(table, trigger) for table, trigger, enabled in rows if enabled in "OA"}
    missing = sorted(f"{trigger} on {table}" for table, trigger in expected - enabled_triggers)
    if missing:
        advice = (
            f"create or enable them as in the output of {_script_command(database)}, and check whether events were "
            "changed: these triggers prevent accidental changes"
        )
        return "problem", f"missing or disabled: {', '.join(missing)}", advice
    role = await connection.fetchval("SHOW session_replication_role")
    if role == "replica":
        detail = "session_replication_role is replica: triggers do not fire"
        advice = "ALTER ROLE … RESET session_replication_role, or the same with ALTER DATABASE"
        return "problem", detail, advice
    return "ok", f"all {len(expected)} triggers exist and are enabled", ""


def _script_command(database: Database) -> str:
    from shlex import quote as quote_argument  # only for messages

    return f"fait db sql --schema {quote_argument(database.schema)}"


async def _functions(database: Database, connection: PostgresConnection) -> CheckResult:
    expected = {
        name: volatility.lower()[0]
        for migration in load_migrations(_PACKAGE)
        for name, volatility in re.findall(
            r"^CREATE FUNCTION \{schema\}\.(\w+)\([^;]*?\b(VOLATILE|STABLE|IMMUTABLE)\b", migration.sql, flags=re.M
        )
    }
    actual = dict(await connection.fetch(database.sql["health_functions"], database.schema))
    wrong = sorted(name for name, volatility in expected.items() if actual.get(name) != volatility)
    if wrong:
        advice = (
            f"create them again as in the output of {_script_command(database)}: otherwise readers could skip events"
        )
        return "problem", f"missing, or of another volatility: {', '.join(wrong)}", advice
    return "ok", f"all {len(expected)} functions exist with the right volatility", ""


async def _ticket(database: Database, connection: PostgresConnection) -> CheckResult:
    results = [_examine_lock_holder(each) for each in await open_appends(database)]
    if not results:
        return "ok", "no append is open", ""
    # fault: young-append-hides-foreign-lock
    return next((each for each in results if each[0] == "problem"), results[0])


def _examine_lock_holder(holder: OpenAppend) -> CheckResult:
    if not holder.appends:
        return _lock_without_append(holder)
    if holder.age_s is None:
        detail = f"{holder.describe()} has an open append; this role may not read its age"
        return "unknown", detail, "GRANT pg_read_all_stats TO the role that runs fait doctor"
    if holder.age_s < MAX_TICKET_AGE_S:
        return "ok", holder.describe(), ""
    is_idle = (holder.state or "idle").startswith("idle")
    reason = "it has appended events and not ended its transaction" if is_idle else "it is slow or blocked"
    return "problem", holder.describe(), f"{reason}: readers wait for its end. {holder.end()}"


def _lock_without_append(holder: OpenAppend) -> CheckResult:
    detail = f"{holder.describe()} holds a lock of the log and has appended nothing: appends may wait, readers do not"
    if holder.age_s is not None and holder.age_s < MAX_TICKET_AGE_S:
        return "ok", detail, ""
    advice = "find out why it holds the lock; a role that may not append needs no CONNECT on the database"
    return "problem", detail, f"{advice}. {holder.end()}"


async def _connections(database: Database, connection: PostgresConnection) -> CheckResult:
    maximum, reserved = [
        int(await connection.fetchval(f"SHOW {name}")) for name in ("max_connections", "superuser_reserved_connections")
    ]
    [(used, role_limit)] = await connection.fetch(database.sql["health_connections"])
    available, needed = maximum - reserved, database.options.pool_size + 1
    detail = f"{used} of {available} in use; a process needs up to {needed}"
    if needed > available or 0 <= role_limit < needed:
        advice = "lower ?pool= in the URL, or raise max_connections or the connection limit of the role"
        return "problem", f"{detail}, which exceeds the server's or the role's limit", advice
    if used > available * MAX_CONNECTION_SHARE:
        return (
            "problem",
            detail,
            "lower ?pool= in the URLs of the processes, raise max_connections, or use a connection pooler",
        )
    return "ok", detail, ""


async def _temporary_tables(database: Database, connection: PostgresConnection) -> CheckResult:
    [(may_create, _)] = await connection.fetch(database.sql["health_session"])
    if may_create:
        return "ok", f"allowed: appends of {MIN_BULK_EVENTS} and more events use COPY", ""
    return "ok", f"not allowed for this role: appends of {MIN_BULK_EVENTS} and more events do without COPY", ""


async def _search_path(database: Database, connection: PostgresConnection) -> CheckResult:
    [(_, schemas)] = await connection.fetch(database.sql["health_session"])
    first = next(schema for schema in schemas if not schema.startswith("pg_temp"))
    if first == "pg_catalog":
        return "ok", "PostgreSQL's own functions come first", ""
    advice = "ALTER ROLE … SET search_path without pg_catalog, which then comes first, or the same with ALTER DATABASE"
    return "problem", f"functions of the schema {first!r} replace PostgreSQL's own", advice


async def _listen(database: Database, connection: PostgresConnection) -> CheckResult:
    received = asyncio.Event()

    def on_notify(connection: Any, pid: int, channel: str, payload: str) -> None:
        received.set()

    listener = await database.connect()
    try:
        await listener.add_listener("fait_doctor", on_notify)
        await connection.execute("NOTIFY fait_doctor")
        with suppress(TimeoutError):
            async with asyncio.timeout(NOTIFY_TIMEOUT_S):
                await received.wait()
    finally:
        listener.terminate()
    if received.is_set():
        return "ok", "notifications arrive: events of other processes are noticed immediately", ""
    detail = "no notifications through this pooler: processes poll for events of others, up to 0.25 s later"
    return "ok", detail, ""


async def _prepared(database: Database, connection: PostgresConnection) -> CheckResult:
    driver: Any = connection
    if not database.options.use_prepared_statements:
        return "ok", "not used: prepare=no", ""
    if driver.get_server_pid() == await connection.fetchval(database.sql["health_backend"]):
        return "ok", "supported: direct connection to the server", ""
    advice = (
        "add prepare=no to the URL, or use a pooler that supports them, such as PgBouncer 1.21 with "
        "max_prepared_statements"
    )
    async with database.transaction() as other:
        # This transaction occupies the server process that has the statement, so the pooler must use another one.
        await other.fetchval(database.sql["health_backend"])
        try:
            await connection.fetch(database.sql["health_backend"], timeout=NOTIFY_TIMEOUT_S)
        except TimeoutError:
            return "unknown", "not tested: the pooler has only one server connection", advice
        except PostgresError as error:
            return "problem", f"not supported by the pooler: {error}", advice
    return "ok", "supported by the pooler", ""


async def _ranges(database: Database, connection: PostgresConnection) -> CheckResult:
    names = [name for (name,) in await connection.fetch(database.sql["health_ranges"])]
    if names:
        detail = f"missing, overlapping, or held although retired, of the subscriptions: {', '.join(names)}"
        advice = (
            "rows of fait_ranges were changed by hand: rebuild the read models, or forget the handlers (option forget "
            "of App.open)"
        )
        return "problem", detail, advice
    return "ok", "cover each subscription exactly once", ""


def _rule(statement: str, good: str, bad: str, advice: str = _DAMAGE) -> Check:
    """Return a check that a statement, which selects violations of a rule, finds none."""

    async def check(database: Database, connection: PostgresConnection) -> CheckResult:
        after = await connection.fetchval(database.sql["health_window"], MAX_CHECKED_POSITIONS)
        try:
            rows = await connection.fetch(database.sql[statement], after, timeout=CHECK_TIMEOUT_S)
        except TimeoutError:
            return "unknown", f"the check was canceled after {CHECK_TIMEOUT_S:g} s", ""
        scope = f", among the newest {MAX_CHECKED_POSITIONS:,} positions" if after else ""
        if rows:
            return "problem", f"{bad}: {', '.join(str(row[0]) for row in rows)}{scope}", advice
        return "ok", good + scope, ""

    return check


CHECKS: Final[dict[str, Check]] = {
    "PostgreSQL": _server,
    "fsync": _setting(
        "fsync",
        "on",
        "commits are flushed to disk",
        "a crash of the machine can destroy the database",
        "set fsync = on in postgresql.conf",
    ),
    "full_page_writes": _setting(
        "full_page_writes",
        "on",
        "torn pages are repaired after a crash",
        "a power failure can leave torn pages",
        "set full_page_writes = on in postgresql.conf",
    ),
    "synchronous_commit": _synchronous_commit,
    "isolation": _setting(
        "default_transaction_isolation",
        "read committed",
        "as appends and readers require",
        "appends and readers require read committed, and fail",
        "ALTER ROLE … SET default_transaction_isolation = 'read committed', or the same with ALTER DATABASE",
    ),
    "schema": _schema,
    "sequence": _sequence,
    "row security": _row_security,
    "append-only": _triggers,
    "functions": _functions,
    "connections": _connections,
    "search_path": _search_path,
    "temporary tables": _temporary_tables,
    "LISTEN": _listen,
    "prepared statements": _prepared,
    "oldest append": _ticket,
    "versions": _rule(
        "health_versions",
        "consecutive in every stream",
        "not consecutive, or different from fait_streams, in the streams",
    ),
    "times": _rule(
        "health_times", "no event was recorded in the future", "recorded in the future, at the positions", WRONG_CLOCK
    ),
    "ranges": _ranges,
    "tags": _rule(
        "health_tags", "fait_tags agrees with the events", "fait_tags differs from the events at the positions"
    ),
}
