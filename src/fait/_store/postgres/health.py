"""What can go wrong in and around a log in PostgreSQL: the server, the way to it, appenders, the log's own rules."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final, Literal

from fait._errors import FaitError
from fait._store.health import Finding
from fait._store.migrations import load_migrations
from fait._store.postgres.admin import applied_migrations
from fait._store.postgres.connection import Database, PostgresConnection, PostgresError
from fait._store.postgres.identifiers import quote
from fait._store.postgres.identity import read_identity

__all__ = ["CHECKS", "examine"]

Check = Callable[[Database, PostgresConnection], Awaitable[tuple[Literal["ok", "finding", "unknown"], str, str]]]
CheckResult = tuple[Literal["ok", "finding", "unknown"], str, str]

MAX_TICKET_AGE_S: Final = 5.0
"""An append that takes longer keeps readers from what came after it."""

MAX_CHECKED_POSITIONS: Final = 250_000
"""Positions that are checked, the newest ones: bounds the time, to a few seconds."""

MAX_CONNECTION_SHARE: Final = 0.9
"""Part of all connections that may be in use."""

CHECK_TIMEOUT_S: Final = 60.0
"""How long one check may take."""

NOTIFY_TIMEOUT_S: Final = 2.0
"""How long to wait for what comes at once, if it comes."""

_PACKAGE: Final = "fait._store.postgres"
_DAMAGE: Final = (
    "an event, a stream or a tag was changed by hand, or the database is damaged: stop writing to it, and restore a "
    "backup, or import an export of it into a new store"
)


async def examine(database: Database) -> list[Finding]:
    """All checks; one that fails in itself is "unknown", and does not stop the others."""
    return [await _run_check(name, check, database) for name, check in CHECKS.items()]


async def _run_check(name: str, check: Check, database: Database) -> Finding:
    try:
        async with database.connection() as connection:
            return Finding(name, *await check(database, connection))
    except FaitError as problem:
        return Finding(name, "unknown", f"it could not be checked: {problem}")


def _setting(name: str, wanted: str, well: str, ill: str, advice: str) -> Check:
    async def check(database: Database, connection: PostgresConnection) -> CheckResult:
        value = await connection.fetchval(f"SHOW {name}")
        return ("ok", f"{value}: {well}", "") if value == wanted else ("finding", f"{value}: {ill}", advice)

    return check


async def _server(database: Database, connection: PostgresConnection) -> CheckResult:
    identity, _, place = await read_identity(database, connection)
    version = await connection.fetchval("SHOW server_version")
    detail = f"{version}, the primary, on timeline {place.timeline}; log {identity.log_id}, epoch {identity.epoch}"
    if place.cluster:
        return "ok", detail, ""
    advice = "GRANT EXECUTE ON FUNCTION pg_control_system() TO the role that sets the schema up, then: fait log adopt"
    return (
        "unknown",
        f"{detail}; no copy in another cluster would be noticed, as this cluster's name is unknown",
        advice,
    )


async def _synchronous_commit(database: Database, connection: PostgresConnection) -> CheckResult:
    value = await connection.fetchval("SHOW synchronous_commit")
    if value in ("on", "remote_apply"):
        return "ok", f"{value}: what is acknowledged survives a crash", ""
    return "ok", f"{value}: appends set it to on for themselves; checkpoints may be lost, and work is then repeated", ""


async def _schema(database: Database, connection: PostgresConnection) -> CheckResult:
    known, applied = len(load_migrations(_PACKAGE)), len(await applied_migrations(database, connection))
    if applied > known:
        return "ok", f"version {applied}; this fait knows {known}, and may use it", ""
    if applied == known:
        return "ok", f"version {known}, the newest this fait knows", ""
    return "finding", f"version {applied}, this fait knows {known}", "fait db migrate"


async def _sequence(database: Database, connection: PostgresConnection) -> CheckResult:
    [(step, cache, cycle, given, stored, may_see)] = await connection.fetch(database.sql["health_sequence"])
    name = f"{quote(database.schema)}.fait_position"
    if not may_see:
        return "finding", "this role may not read it: it sees no events", f"GRANT SELECT ON SEQUENCE {name} TO the role"
    if step != 1 or cache != 1 or cycle:
        detail = f"INCREMENT {step}, CACHE {cache}, {'CYCLE' if cycle else 'NO CYCLE'}: readers would skip events"
        return "finding", detail, f"ALTER SEQUENCE {name} INCREMENT 1 CACHE 1 NO CYCLE"
    if given < stored:
        advice = f"run SELECT setval('{name}', {stored}), and find out who set it, or how the database was restored"
        return "finding", f"it stands at {given}, and an event has position {stored}: appends will fail", advice
    return "ok", f"one at a time, {given:,} given", ""


async def _triggers(database: Database, connection: PostgresConnection) -> CheckResult:
    expected = {
        (table, trigger)
        for migration in load_migrations(_PACKAGE)
        for trigger, table in re.findall(r"^CREATE TRIGGER (\w+)[^;]*? ON \{schema\}\.(\w+)", migration.sql, flags=re.M)
    }
    rows = await connection.fetch(database.sql["health_triggers"], database.schema)
    firing = {(table, trigger) for table, trigger, enabled in rows if enabled in "OA"}
    silent = sorted(f"{trigger} on {table}" for table, trigger in expected - firing)
    if silent:
        advice = (
            "somebody removed what stops accidents: find out what was changed since, and create or enable them again"
        )
        return "finding", f"missing or disabled: {', '.join(silent)}", advice
    role = await connection.fetchval("SHOW session_replication_role")
    if role == "replica":
        return "finding", "session_replication_role is replica: no trigger fires", "RESET session_replication_role"
    return "ok", f"all {len(expected)} triggers are there and enabled", ""


async def _functions(database: Database, connection: PostgresConnection) -> CheckResult:
    expected = {
        name: volatility.lower()[0]
        for migration in load_migrations(_PACKAGE)
        for name, volatility in re.findall(
            r"^CREATE FUNCTION \{schema\}\.(\w+)\([^;]*?\b(VOLATILE|STABLE|IMMUTABLE)\b", migration.sql, flags=re.M
        )
    }
    found = dict(await connection.fetch(database.sql["health_functions"], database.schema))
    wrong = sorted(name for name, volatility in expected.items() if found.get(name) != volatility)
    if wrong:
        advice = "restore them as the migrations have them (fait db sql): otherwise readers skip events"
        return "finding", f"missing, or not volatile as they must be: {', '.join(wrong)}", advice
    return "ok", f"all {len(expected)} are there and take the snapshots they need", ""


async def _ticket(database: Database, connection: PostgresConnection) -> CheckResult:
    rows = await connection.fetch(database.sql["health_ticket"])
    if not rows:
        return "ok", "nobody is appending", ""
    [(pid, role, application, state, age)] = rows
    if age is None:
        detail = f"process {pid} of role {role!r} is appending; this role may not see for how long"
        return "unknown", detail, "GRANT pg_read_all_stats TO the role that runs fait doctor"
    detail = f"process {pid} ({application or 'without a name'}), {state}, its transaction is {age:.1f} s old"
    if age < MAX_TICKET_AGE_S:
        return "ok", detail, ""
    idle = (
        "it appended, and does not end its transaction" if state.startswith("idle") else "it is slow, or waits itself"
    )
    advice = f"{idle}: readers wait for it. If it hangs: SELECT pg_terminate_backend({pid})"
    return "finding", detail, advice


async def _connections(database: Database, connection: PostgresConnection) -> CheckResult:
    most, reserved = [
        int(await connection.fetchval(f"SHOW {name}")) for name in ("max_connections", "superuser_reserved_connections")
    ]
    [(used, limit)] = await connection.fetch(database.sql["health_connections"])
    room, needed = most - reserved, database.options.pool_size + 1
    detail = f"{used} of {room} are in use; a process takes up to {needed}"
    if needed > room or 0 <= limit < needed:
        return (
            "finding",
            f"{detail}, which it can never have",
            "lower ?pool=, or raise max_connections or the role's limit",
        )
    if used > room * MAX_CONNECTION_SHARE:
        return "finding", detail, "lower ?pool=, raise max_connections, or put a pooler in between"
    return "ok", detail, ""


async def _listen(database: Database, connection: PostgresConnection) -> CheckResult:
    heard = asyncio.Event()

    def hear(connection: Any, pid: int, channel: str, payload: str) -> None:
        heard.set()

    ears = await database.connect()
    try:
        await ears.add_listener("fait_doctor", hear)
        await connection.execute("NOTIFY fait_doctor")
        with suppress(TimeoutError):
            async with asyncio.timeout(NOTIFY_TIMEOUT_S):
                await heard.wait()
    finally:
        ears.terminate()
    if heard.is_set():
        return "ok", "heard: events of other processes are noticed at once", ""
    return "ok", "not heard, through a pooler: events of other processes are found by looking, up to 0.25 s later", ""


async def _prepared(database: Database, connection: PostgresConnection) -> CheckResult:
    driver: Any = connection
    if not database.options.use_prepared_statements:
        return "ok", "not used: prepare=no", ""
    if driver.get_server_pid() == await connection.fetchval(database.sql["health_backend"]):
        return "ok", "the server is reached directly", ""
    advice = "?prepare=no in the URL, or a pooler that carries them: PgBouncer from 1.21 with max_prepared_statements"
    async with database.transaction() as other:
        # It holds the server's process that has the statement; the pooler must now use another.
        await other.fetchval(database.sql["health_backend"])
        try:
            await connection.fetch(database.sql["health_backend"], timeout=NOTIFY_TIMEOUT_S)
        except TimeoutError:
            return "unknown", "a pooler gives one connection at a time: it could not be tried", advice
        except PostgresError as problem:
            return "finding", f"a pooler does not carry them: {problem}", advice
    return "ok", "the pooler carries them", ""


async def _leases(database: Database, connection: PostgresConnection) -> CheckResult:
    names = [name for (name,) in await connection.fetch(database.sql["health_leases"])]
    if names:
        return "finding", f"held for subscriptions that are gone: {', '.join(names)}", "stop whatever holds them"
    return "ok", "each belongs to a subscription", ""


def _rule(statement: str, well: str, ill: str) -> Check:
    """A rule whose statement gives the first few of those that break it."""

    async def check(database: Database, connection: PostgresConnection) -> CheckResult:
        after = await connection.fetchval(database.sql["health_window"], MAX_CHECKED_POSITIONS)
        try:
            rows = await connection.fetch(database.sql[statement], after, timeout=CHECK_TIMEOUT_S)
        except TimeoutError:
            return "unknown", f"it took longer than {CHECK_TIMEOUT_S:g} s", ""
        where = f", among the newest {MAX_CHECKED_POSITIONS:,} positions" if after else ""
        if rows:
            return "finding", f"{ill}: {', '.join(str(row[0]) for row in rows)}{where}", _DAMAGE
        return "ok", well + where, ""

    return check


CHECKS: Final[dict[str, Check]] = {
    "PostgreSQL": _server,
    "fsync": _setting(
        "fsync", "on", "commits reach the disk", "a crash of the machine can destroy the database", "set fsync = on"
    ),
    "full_page_writes": _setting(
        "full_page_writes",
        "on",
        "torn pages are repaired",
        "a loss of power can tear pages",
        "set full_page_writes = on",
    ),
    "synchronous_commit": _synchronous_commit,
    "isolation": _setting(
        "default_transaction_isolation",
        "read committed",
        "as appends and readers need it",
        "appends and readers refuse it",
        "ALTER ROLE … SET default_transaction_isolation = 'read committed', or the same for the DATABASE",
    ),
    "schema": _schema,
    "sequence": _sequence,
    "append-only": _triggers,
    "functions": _functions,
    "connections": _connections,
    "LISTEN": _listen,
    "prepared statements": _prepared,
    "oldest append": _ticket,
    "versions": _rule("health_versions", "dense in every stream, and as its row says", "not 1, 2, 3, … in"),
    "leases": _leases,
    "tags": _rule("health_tags", "agree with the events", "the index and the events differ at positions"),
}
