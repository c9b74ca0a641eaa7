"""Variants: the real SQL with a planted fault in the order of steps, in reading or in a check."""

from typing import Any

from msgspec import Struct

from fait._store.migrations import load_migrations
from fait._store.postgres.identifiers import in_schema
from tests.interleavings.actors import Log, Pause, Reading, as_row, by_mark, by_tail
from tests.interleavings.cases import BY_MARK, BY_TAIL, Reader
from tests.interleavings.schedules import Touches
from tests.interleavings.stepped import Edit

__all__ = ["VARIANTS", "Variant"]


class Variant(Struct, frozen=True):
    """A fault.

    Attributes:
        name: the fault.
        case: the name of the case that detects it.
        shows: part of the violation that it must cause.
        edits: the edits of the real functions.
        how: how the reader reads.
    """

    name: str
    case: str
    shows: str
    edits: tuple[Edit, ...] = ()
    how: Reader = BY_MARK


def derived(sql: str, *pieces: tuple[str, str]) -> str:
    for old, new in pieces:
        assert sql.count(old) == 1, f"the statement has no {old!r}"
        sql = sql.replace(old, new)
    return sql


def from_to(first: str, last: str, migration: int = 4) -> str:
    """Return a part of a migration, of the append by default, from a first to a last line."""
    sql = load_migrations("fait._store.postgres")[migration - 1].sql
    assert sql.count(first) == 1, f"migration {migration} has no {first!r}"
    start = sql.index(first)
    return sql[start : sql.index(last, start) + len(last)]


RANGE = "position > $1 AND position <= $2"
READ = Touches({("events", "read")})
IN_MARK = {name: BY_MARK.steps[name] for name in ("sequence", "tickets", "visible")}


async def fetch(connection: Any, sql: str, reading: Reading, *values: Any) -> None:
    rows = await connection.fetch(sql, *values, 1000, None, None)
    reading.rows += [as_row(row) for row in rows]
    reading.after = max([reading.after, *(row["position"] for row in rows)])


async def by_number(connection: Any, pause: Pause, log: Log, reading: Reading) -> None:
    await pause("rows")
    sql = derived(log.sql["read_log"], (RANGE, "position > $1 AND $2::bigint IS NULL"))
    await fetch(connection, sql, reading, reading.after, None)


async def by_transaction(connection: Any, pause: Pause, log: Log, reading: Reading) -> None:
    await pause("rows")
    cursor = in_schema("SELECT xid, position FROM {schema}.fait_all_events WHERE id = $2", log.schema)
    sql = derived(
        log.sql["read_log"],
        (RANGE, f"position > $1 AND ($2::uuid IS NULL OR (xid, position) > ({cursor})) AND {FINISHED}"),
        ("ORDER BY position", "ORDER BY xid, position"),
    )
    await fetch(connection, sql, reading, reading.start, reading.rows[-1].id if reading.rows else None)


FINISHED = "xid < pg_snapshot_xmin(pg_current_snapshot())"


async def in_one_statement(connection: Any, pause: Pause, log: Log, reading: Reading) -> None:
    await pause("snapshot")
    query = log.sql["high_water_mark"].removesuffix(";").replace("$1", "NULL")
    mark = f"SELECT mark FROM ({query}) AS known (mark, head, expired)"
    sql = derived(log.sql["read_log"], (RANGE, f"position > $1 AND $2::bigint IS NULL AND position <= ({mark})"))
    await fetch(connection, sql, reading, reading.after, None)


async def in_repeatable_read(connection: Any, pause: Pause, log: Log, reading: Reading) -> None:
    await pause("snapshot")
    async with connection.transaction(isolation="repeatable_read"):
        await by_mark(connection, pause, log, reading)


STREAM_UPDATED = "    END IF;\n\n    -- Step 4: the ticket.\n"
TICKET = from_to(STREAM_UPDATED, "END LOOP;\n").removeprefix(STREAM_UPDATED)
"""The ticket of a single event without a condition."""

TICKET_LATE = derived(TICKET, ("(ticket << 32", "(least(ticket, last_position - 1) << 32"))
"""The key is right, but the ticket is acquired too late."""

LOCKS = from_to("    FOR bucket IN\n", "    END LOOP;\n")
NEEDED = from_to("        SELECT number, bool_or(exclusive) AS exclusive\n", "GROUP BY number ORDER BY number\n")
CHECK = "SELECT coalesce(array_agg(DISTINCT q.write_no), '{}') INTO failed_writes\n        FROM unnest("
CHECK_WITH_LOCKS = f"""
    WITH locked AS MATERIALIZED (
        SELECT count(taken.lock)
        FROM ({NEEDED}) AS bucket,
            LATERAL (SELECT CASE WHEN exclusive THEN pg_advisory_xact_lock(lock_space | number)::text
                ELSE pg_advisory_xact_lock_shared(lock_space | number)::text END) AS taken (lock)
    )
    {CHECK.replace("FROM unnest(", "FROM locked, unnest(")}"""

SHARED_LOCKS = from_to(
    "    ignored := pg_advisory_xact_lock_shared(lock_space | {schema}.fait_type_bucket_1(event_type));\n", "END IF;\n"
)

VARIANTS = [
    Variant(
        "a reader that goes by the last number it saw",
        "plain, two streams",
        "missed",
        how=Reader(by_number, {"rows": READ}),
    ),
    Variant(
        "a reader in the order of transactions",
        "external and plain, one stream",
        "v1 after v2",
        (
            Edit(
                1,
                "    tags           text[],\n",
                "    tags           text[],\n    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),\n",
            ),
        ),
        Reader(by_transaction, {"rows": READ}),
    ),
    Variant(
        "the mark and the rows in one statement",
        "plain, two streams",
        "missed",
        how=Reader(in_one_statement, {"snapshot": READ} | IN_MARK),
    ),
    Variant(
        "the mark and the rows in one statement of their function",
        "plain, two streams",
        "missed",
        (
            Edit(8, from_to("    IF event_count NOT BETWEEN", "END IF;\n", migration=8), ""),
            Edit(8, "SELECT fait_read_tail_1.mark,", "SELECT now.mark,"),
            Edit(
                8,
                "(VALUES (true)) AS always LEFT JOIN (",
                "(SELECT {schema}.fait_high_water_mark_1()) AS now (mark) LEFT JOIN LATERAL (",
            ),
            Edit(8, "position <= fait_read_tail_1.mark", "position <= now.mark"),
        ),
        Reader(by_tail, {"new": READ, "rows": READ} | IN_MARK),
    ),
    Variant(
        "the last of the new events is the mark although there is a gap before it",
        "plain, two streams",
        "missed",
        (Edit(8, "OR mark <> after + event_count", ""),),
        BY_TAIL,
    ),
    Variant(
        "a reader in REPEATABLE READ, and nothing that refuses it",
        "plain, two streams",
        "missed",
        (Edit(3, "IF current_setting('transaction_isolation') <> 'read committed' THEN", "IF false THEN"),),
        Reader(in_repeatable_read, {"snapshot": READ} | IN_MARK | {"rows": Touches()}),
    ),
    Variant(
        "the ticket after the number",
        "plain, two streams",
        "missed",
        (
            Edit(4, STREAM_UPDATED + TICKET, STREAM_UPDATED),
            Edit(
                4,
                "    IF event_tags IS NOT NULL THEN\n        INSERT INTO",
                TICKET_LATE + "    IF event_tags IS NOT NULL THEN\n        INSERT INTO",
            ),
        ),
    ),
    Variant(
        "one key for the tickets of all logs",
        "two logs",
        "the mark fell",
        (
            Edit(3, "classid = '{schema}.fait_position'::regclass::oid", "classid = 4711"),
            Edit(3, "        HAVING bool_or(locktype = 'relation')\n", ""),  # it ignores tickets of other logs, too
            Edit(4, "(lock_space >> 32)::integer, ", "4711, ", times=2),
        ),
    ),
    Variant(
        "a condition checked in the statement that takes its locks",
        "conditions by tag",
        "before it in the log",
        (Edit(4, LOCKS, ""), Edit(4, CHECK, CHECK_WITH_LOCKS)),
    ),
    Variant(
        "no locks of conditions for an append without one",
        "condition by type and an append without",
        "before it in the log",
        (Edit(4, SHARED_LOCKS, ""),),
    ),
]
