"""The SQL of the migrations with a pause before each step, so that the test decides which session continues.

Pauses and planted faults are inserted at pieces of text, whose occurrences are counted: if a migration changes one of
them, the tests fail instead of losing a step.
"""

from collections.abc import Iterable, Mapping

from msgspec import Struct

from fait._store.migrations import load_migrations
from fait._store.postgres.identifiers import in_schema, quote, statements

__all__ = ["STEPS", "Edit", "edited", "schema_script"]

STEPS = (
    "locks",
    "check",
    "streams",
    "last value",
    "ticket",
    "insert",
    "rejected",
    "new",
    "sequence",
    "tickets",
    "visible",
    "rows",
)
"""Steps inside the functions. A session pauses before each of them."""

PAUSE = """
CREATE FUNCTION {schema}.pause(step text, number integer) RETURNS integer LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    gates bigint := nullif(current_setting('interleavings.gates', true), '');
BEGIN
    IF gates IS NOT NULL THEN
        RAISE NOTICE 'before %', step;
        PERFORM pg_advisory_lock_shared(gates + number);
        PERFORM pg_advisory_unlock_shared(gates + number);
    END IF;
    RETURN 0;
END $$;
"""
"""A session without gates does not pause. The lock keys do not collide with those of a log, which contain an oid."""


class Edit(Struct, frozen=True):
    """A replacement of text in a migration.

    Attributes:
        migration: Number of the migration.
        old: The text to replace.
        new: The replacement.
        times: Number of occurrences.
    """

    migration: int
    old: str
    new: str
    times: int = 1


def _pause(step: str) -> str:
    return f"{{schema}}.pause('{step}', {STEPS.index(step)})"


def _before(migration: int, line: str, step: str, times: int = 1) -> Edit:
    return Edit(migration, line, f"PERFORM {_pause(step)};\n{line}", times)


def _after(migration: int, line: str, step: str) -> Edit:
    return Edit(migration, line, f"{line}\nPERFORM {_pause(step)};\n")


_PAUSES = (
    _after(3, "    -- Step 1: the sequence.\n", "sequence"),
    _before(3, "    -- Step 2: the tickets.", "tickets"),
    _after(3, "    -- Step 3: the last visible event.\n", "visible"),
    _after(8, "    -- Step 1: the events.\n", "new"),
    _after(8, "    -- Step 3: the rows.\n", "rows"),
    # One event without a condition.
    _after(4, "    -- Step 1: condition locks, all of them shared.\n", "locks"),
    _after(4, "    -- Step 3: the stream.\n", "streams"),
    _after(4, "    -- Step 5: the event and its tags.\n", "insert"),
    # All other appends.
    _after(4, "depends on its first tag, else on its types, else on all types.\n", "locks"),
    _before(4, "log_head := greatest(", "check"),
    _after(4, "    -- Step 3: streams.\n", "streams"),
    _after(4, "        -- Step 5: events and tags.\n", "insert"),
    # Both.
    _before(4, "ticket := coalesce(pg_sequence_last_value(", "last value", times=2),
    _before(4, "WHILE NOT pg_try_advisory_xact_lock_shared(", "ticket", times=2),
    _after(
        4, "    -- Step 6: rejected writes.\n    IF array_position(new_versions, NULL) IS NOT NULL THEN", "rejected"
    ),
)


def edited(texts: Mapping[int, str], edits: Iterable[Edit]) -> dict[int, str]:
    """Return the migrations, by number, with all edits applied."""
    result = dict(texts)
    for edit in edits:
        count = result[edit.migration].count(edit.old)
        assert count == edit.times, (
            f"migration {edit.migration}: {count} occurrences, expected {edit.times}: {edit.old!r}"
        )
        result[edit.migration] = result[edit.migration].replace(edit.old, edit.new)
    return result


def schema_script(schema: str, edits: Iterable[Edit] = ()) -> str:
    """Return the SQL that creates a log in a new schema, with pauses, and with the edits of a planted fault."""
    real = {migration.number: migration.sql for migration in load_migrations("fait._store.postgres")}
    steps = edited(edited(real, edits), _PAUSES)
    sql = "\n".join(steps[number] for number in sorted(steps))
    identity = statements(schema)["create_log"]  # without this row, `least` in the high-water mark would ignore it
    return f"CREATE SCHEMA {quote(schema)};\n" + in_schema(PAUSE + sql, schema) + identity
