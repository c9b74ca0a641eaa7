"""The log's real SQL with pauses between its steps, so that somebody else decides when a session may take the next one.

Every place of a pause, and every piece that a planted variant replaces, is found by its text and counted: a migration
that changes the steps fails here, and cannot lose one silently.
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
    "floor",
    "ticket",
    "insert",
    "losers",
    "new",
    "sequence",
    "tickets",
    "visible",
    "rows",
)
"""Steps inside the functions; a session pauses before each."""

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
"""A session without gates does not pause. The lock's key is no log's: those begin with the number of a sequence."""


class Edit(Struct, frozen=True):
    """A piece of a migration, and what stands there instead.

    Attributes:
        migration: its number.
        old: the piece.
        new: what replaces it.
        times: how often the piece is there.
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


_FLOOR = "coalesce(pg_sequence_last_value('{schema}.fait_position'), 0)"
_PAUSES = (
    _before(3, "last := coalesce(pg_sequence_last_value(", "sequence"),
    _before(3, "-- A ticket keeps the low 32 bits", "tickets"),
    _before(3, "last := coalesce(lowest, last);", "visible"),
    _before(8, "SELECT max(position), count(*) INTO mark, several", "new"),
    _before(8, "    RETURN QUERY\n", "rows"),
    # One event without a condition.
    _after(4, "    -- Steps 1, 3, 4 and 5 of above.\n", "locks"),
    _before(4, "IF expected_version IN (0, -1) THEN", "streams"),
    _before(4, "    IF expires THEN", "insert"),
    # Whatever else.
    _after(4, "    -- 1\n", "locks"),
    _before(4, "horizon := greatest(", "check"),
    _after(4, "    -- 3\n", "streams"),
    _after(4, "        -- 5\n", "insert"),
    # Both. The sequence is read in the statement that takes the ticket; the pause between them is inside it.
    _before(4, "locked := pg_advisory_xact_lock_shared(\n", "floor", times=2),
    Edit(4, f"({_FLOOR} << 32", f"({_FLOOR} + {_pause('ticket')} << 32", times=2),
    _after(4, "    IF array_position(versions, NULL) IS NOT NULL THEN", "losers"),
)


def edited(texts: Mapping[int, str], edits: Iterable[Edit]) -> dict[int, str]:
    """Texts by number, each edit made wherever its piece stands."""
    result = dict(texts)
    for edit in edits:
        found = result[edit.migration].count(edit.old)
        assert found == edit.times, f"migration {edit.migration} has {found} times, not {edit.times}: {edit.old!r}"
        result[edit.migration] = result[edit.migration].replace(edit.old, edit.new)
    return result


def schema_script(schema: str, edits: Iterable[Edit] = ()) -> str:
    """Everything of a log in a new schema, with pauses, and with something planted if edits are given."""
    real = {migration.number: migration.sql for migration in load_migrations("fait._store.postgres")}
    steps = edited(edited(real, edits), _PAUSES)
    sql = "\n".join(steps[number] for number in sorted(steps))
    identity = statements(schema)["create_log"]  # without this row, `least` in the high-water mark would ignore it
    return f"CREATE SCHEMA {quote(schema)};\n" + in_schema(PAUSE + sql, schema) + identity
