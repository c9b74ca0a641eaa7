"""The contract of all ports but `Log` and `SnapshotStore`."""
# ruff: noqa: D102, S311 - test names replace docstrings; random numbers are seeded, not secret

import asyncio
import random
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from operator import itemgetter
from typing import Any, Final, cast
from uuid import UUID

import pytest
from msgspec.structs import replace

from fait._errors import UsageError
from fait._events.append import Appended
from fait._store.ports.registrations import RangeKey
from fait._store.ports.store import Store
from fait._store.ports.tables import Column, ColumnCondition, ColumnKind, Row, RowChange, SortOrder, Table
from fait._store.ports.unit_of_work import HandlerStatement, RangeMove, UnitOfWork
from fait.testing.contract.closing import ClosingContract
from fait.testing.contract.failures import FailureContract
from fait.testing.contract.handler_appends import HandlerAppendContract
from fait.testing.contract.inbox import InboxContract
from fait.testing.contract.leases import (
    NOTES,
    WORDS,
    LeaseContract,
    acquired,
    prepared,
    range_of,
    recorded,
    refused,
    registration_of,
    state,
    work_of,
)  # fmt: skip
from fait.testing.contract.ranges import RangeContract
from fait.testing.contract.store import Opener, soon, write

__all__ = ["PortContract"]

SAMPLES: Final[dict[ColumnKind, list[Any]]] = {
    "text": ["", "'; --", "10", "9", "Z", "a", "a\n", "ä", "\uffee", "𝄞"],
    "integer": [-(2**63), -1, 0, 9, 10, 2**63 - 1],
    "real": [-1e300, -1.5, 0.0, 0.1, 9.0, 10.25, 1e300],
    "boolean": [False, True],
    "decimal": [
        Decimal(text) for text in ("-10.0", "-9.5", "0", "1E-20", "9", "10", "10.5", "99999999999999999999.01", "1E+30")
    ],
    "timestamp": [
        datetime(1, 1, 1, tzinfo=UTC),
        datetime(999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
        datetime(2024, 1, 15, 12, 0, 0, 1, tzinfo=timezone(timedelta(hours=2))),
        datetime(2024, 1, 15, 11, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
    ],
    "date": [date(1, 1, 1), date(999, 12, 31), date(2024, 2, 29), date(9999, 12, 31)],
    "uuid": [UUID(int=0), UUID(int=9), UUID(int=10), UUID(int=2**127), UUID(int=2**128 - 1)],
    "bytes": [b"", b"\0", b"\0\xff", b"a", b"\xff"],
    "json": ['""', '"ä"', '{"b": 1,  "a":[]}'],
}
"""Values of each kind of column, in ascending order."""


SORTED = Table(
    "sorted_things",
    (
        Column("key", "text", False),
        Column("price", "decimal", True),
        Column("flag", "boolean", True),
        Column("since", "timestamp", True),
        Column("size", "integer", False),
    ),
    "key",
    (("price", "since"),),
)


def holds(operator: str, value: Any, operands: Sequence[Any]) -> bool:
    """Return whether a column condition holds for a value. No value is less or greater than None."""
    if operator == "=":
        return value == operands[0]
    if operator == "!=":
        return value != operands[0]
    if operator == "in":
        return value in operands
    if value is None or None in operands:
        return False
    if operator == "between":
        return operands[0] <= value <= operands[1]
    other = operands[0]
    return {"<": value < other, "<=": value <= other, ">": value > other, ">=": value >= other}[operator]


class PortContract(
    RangeContract, FailureContract, InboxContract, LeaseContract, HandlerAppendContract, ClosingContract
):
    """The contract of `Registrations`, `Leases`, `Failures`, `Inbox`, `Recorder` and `Tables`."""

    # Registrations

    async def test_new_subscription_has_no_registration(self, store: Store) -> None:
        assert await store.registrations.registration("s") is None
        assert await store.registrations.registrations() == []

    async def test_second_register_returns_the_first_registration(self, store: Store) -> None:
        first = registration_of("s", "hash")

        assert await store.registrations.register(first, 7) == first
        assert await store.registrations.register(registration_of("s", "other"), 9) == first
        assert await store.registrations.registration("s") == first
        assert (await range_of(store, "s")).position == 7

    async def test_concurrent_registers_return_one_registration(self, store: Store) -> None:
        registrations = store.registrations

        all_stored = await asyncio.gather(*(registrations.register(registration_of("s", str(n)), n) for n in range(16)))

        assert len({each.definition_hash for each in all_stored}) == 1
        assert (await range_of(store, "s")).position == int(all_stored[0].definition_hash)

    async def test_registrations_are_listed_by_subscription_without_system(self, store: Store) -> None:
        for name in ("b", "ä", "a", "B"):
            await store.registrations.register(registration_of(name), 1)
        system = replace(registration_of("task"), kind="system")
        await store.registrations.register(system, 0)

        assert [each.subscription for each in await store.registrations.registrations()] == ["B", "a", "b", "ä"]
        assert [each.key.subscription for each in await store.leases.ranges()] == ["B", "a", "b", "ä"]
        assert await store.registrations.registration("task") == system
        assert await store.leases.range(RangeKey("task")) is not None

    async def test_widen_adds_types_and_fences_work_of_earlier_revision(self, store: Store) -> None:
        await store.registrations.register(replace(registration_of("s"), handled_types=("b",)), 0)
        lease = await acquired(store, "s")

        widened = await store.registrations.widen("s", ("a", "b"))
        unchanged = await store.registrations.widen("s", ("a",))

        assert (widened.handled_types, widened.revision) == (("a", "b"), 2)
        assert unchanged == widened == await store.registrations.registration("s")
        assert (await range_of(store, "s")).fencing_token == lease.fencing_token
        await refused(store, work_of(lease, 5))
        assert (await store.registrations.widen("s", ())).handled_types == ()

    async def test_widen_of_unregistered_subscription_is_rejected(self, store: Store) -> None:
        with pytest.raises(UsageError, match="'s' is not registered"):
            await store.registrations.widen("s", ("a",))

    async def test_accept_replaces_definition_and_frees_ranges(self, store: Store) -> None:
        lease = await acquired(store, "s")
        await recorded(store, work_of(lease, 5))
        await store.registrations.accept(replace(registration_of("s", "new"), handled_types=("a",)))
        await store.registrations.accept(registration_of("never"))

        stored, current = await store.registrations.registration("s"), await range_of(store, "s")
        assert stored == replace(registration_of("s", "new"), handled_types=("a",), revision=2)
        assert (current.position, current.worker) == (5, "")
        assert current.fencing_token > lease.fencing_token
        assert await store.leases.acquire(current, "me", "", "epoch") is None
        assert await store.leases.acquire(current, "me", "new", "epoch") is not None

    async def test_renamed_subscription_keeps_its_position(self, store: Store) -> None:
        await store.registrations.register(registration_of("old", "hash"), 7)
        await store.registrations.rename("old", "new")
        await store.registrations.rename("never", "another")

        assert await store.registrations.registrations() == [registration_of("new", "hash")]
        assert (await range_of(store, "new")).position == 7

    async def test_rename_to_registered_name_changes_nothing(self, store: Store) -> None:
        for position, name in enumerate(("a", "b")):
            await store.registrations.register(registration_of(name), position)

        await store.registrations.rename("a", "b")

        assert [each.position for each in await store.leases.ranges()] == [0, 1]

    async def test_work_under_the_previous_name_is_rejected(self, store: Store) -> None:
        lease, seen = await acquired(store, "old"), await range_of(store, "old")
        await store.registrations.rename("old", "new")

        await refused(store, work_of(lease, 5))
        assert await store.leases.acquire(seen, "me", "", "epoch") is None
        assert await store.registrations.registrations() == [registration_of("new")]
        assert await store.registrations.retired() == ["old"]

    # Recording work

    async def test_rows_and_checkpoint_are_recorded_together(self, store: Store) -> None:
        token = await prepared(store)
        rows = (RowChange(NOTES, [(1, "a"), (2, None)]), RowChange(WORDS, [("ä", 9)]))

        await recorded(store, work_of(token, 5, rows))

        assert await state(store) == (5, [(1, "a"), (2, None)], [("ä", 9)])

    async def test_rows_are_upserted_and_deleted_by_key(self, store: Store) -> None:
        token = await prepared(store)
        await recorded(store, work_of(token, 5, (RowChange(NOTES, [(1, "a"), (2, "b"), (3, "c")]),)))

        await recorded(store, work_of(token, 6, (RowChange(NOTES, [(2, None), (4, "d")], [1, 99]),)))

        assert await state(store) == (6, [(2, None), (3, "c"), (4, "d")], [])

    @pytest.mark.parametrize(("token", "revision"), [(-1, 0), (1, 0), (0, -1), (0, 1)])
    async def test_work_with_wrong_fencing_token_or_revision_is_rejected(
        self, store: Store, token: int, revision: int
    ) -> None:
        lease = await prepared(store)
        await recorded(store, work_of(lease, 5, (RowChange(NOTES, [(1, "a")]),)))
        other = replace(lease, fencing_token=lease.fencing_token + token, revision=lease.revision + revision)

        await refused(store, work_of(other, 7, (RowChange(NOTES, [(1, "x"), (2, "x")]),)))

        assert await state(store) == (5, [(1, "a")], [])

    async def test_work_of_unregistered_subscription_is_rejected(self, store: Store) -> None:
        await refused(store, UnitOfWork(RangeMove(RangeKey("never"), 0, 1, 1)))

        assert await store.leases.ranges() == []

    async def test_work_that_fails_halfway_records_nothing(self, store: Store) -> None:
        token = await prepared(store)
        missing = Table("missing", NOTES.columns, "id")

        with pytest.raises(UsageError):
            await recorded(store, work_of(token, 5, (RowChange(NOTES, [(1, "a")]), RowChange(missing, [(1, "a")]))))

        assert await state(store) == (0, [], [])

    async def test_last_position_is_that_of_the_last_stored_event(self, store: Store) -> None:
        assert await store.log.last_position() == 0

        result = await store.log.append([write("a", 3), write("b")])

        assert isinstance(result, Appended)
        assert await store.log.last_position() == await store.log.head() == result.position

    async def test_failed_work_does_not_affect_concurrent_writes(self, store: Store) -> None:
        log, record = store.log, store.recorder.record
        lease = await prepared(store)
        other, broken = await acquired(store, "other"), await acquired(store, "broken")
        stale, missing = replace(lease, revision=lease.revision + 1), Table("missing", NOTES.columns, "id")

        results = await asyncio.gather(
            log.append([write("a")]),
            record(work_of(stale, 5, (RowChange(NOTES, [(1, "bad")]),))),
            record(work_of(other, 5, (RowChange(NOTES, [(2, "good")]),))),
            record(work_of(replace(lease, fencing_token=lease.fencing_token + 1), 9)),
            log.append([write("a", 1, "exists")]),
            record(work_of(broken, 5, (RowChange(missing, [(3, "bad")]),))),
            return_exceptions=True,
        )

        assert [isinstance(each, Appended) for each in (results[0], results[4])] == [True, True]
        assert (results[1], results[2], results[3]) == ("refused", "recorded", "refused")
        assert isinstance(results[5], Exception)
        assert await state(store) == (0, [(2, "good")], [])

    async def test_row_of_only_a_key_can_be_upserted_again(self, store: Store) -> None:
        token, keys = await prepared(store), Table("keys", (Column("key", "text", False),), "key")
        await store.tables.create_table(keys)

        for position in range(2):
            await recorded(store, work_of(token, position + 1, (RowChange(keys, [("a",)]),)))

        assert await store.tables.select(keys) == [("a",)]

    async def test_added_constraint_is_named_and_replaces_no_row(self, store: Store) -> None:
        _needs_sql(store)
        token = await prepared(store)
        constraint = HandlerStatement("CREATE UNIQUE INDEX one_of_each ON notes (text)")
        await recorded(store, work_of(token, 5, (RowChange(NOTES, [(1, "secret")]),), (constraint,)))

        with pytest.raises(UsageError, match=r"constraint or trigger \(unique.*'notes'.*Nothing was recorded") as error:
            await recorded(store, work_of(token, 6, (RowChange(NOTES, [(2, "secret")]),)))

        assert "secret" not in str(error.value)
        assert await state(store) == (5, [(1, "secret")], [])

    # Statements

    async def test_statements_are_recorded_with_rows_and_checkpoint(self, store: Store) -> None:
        _needs_sql(store)
        token = await prepared(store)
        statements = (
            HandlerStatement("INSERT INTO words (count, word) VALUES ($2, $1)", ("a", 1)),  # by number, not by place
            HandlerStatement("UPDATE words SET count = 7 WHERE word = $1", ("a",)),
        )

        await recorded(store, work_of(token, 5, (RowChange(NOTES, [(1, "a")]),), statements))

        assert await state(store) == (5, [(1, "a")], [("a", 7)])

    async def test_failed_statement_records_nothing(self, store: Store) -> None:
        _needs_sql(store)
        token = await prepared(store)
        good = HandlerStatement("INSERT INTO words (word, count) VALUES ('a', 1)")

        for bad in ("INSERT INTO nowhere VALUES (1)", "this is not SQL", good.sql):
            with pytest.raises(Exception):  # noqa: B017, PT011 - the database's own error
                await recorded(store, work_of(token, 5, (RowChange(NOTES, [(1, "a")]),), (good, HandlerStatement(bad))))

            assert await state(store) == (0, [], []), bad

    async def test_statement_under_a_lost_lease_is_not_run(self, store: Store) -> None:
        _needs_sql(store)
        token = await prepared(store)

        await store.leases.release(token)
        await refused(store, work_of(token, 5, (), (HandlerStatement("INSERT INTO words VALUES ('a', 1)"),)))

        assert await state(store) == (0, [], [])

    async def test_statement_cannot_end_the_transaction_or_write_tables_of_the_store(self, store: Store) -> None:
        _needs_sql(store)
        token = await prepared(store)

        for bad in (
            "COMMIT", "ROLLBACK", "UPDATE fait_ranges SET position = 9", "DELETE FROM fait_workers",
            "CREATE TEMP TABLE FAIT_events (n integer)", "SELECT '''' FROM fait_workers -- '",
            "DELETE FROM \"fait_workers\" WHERE worker = 'a'", "DELETE FROM 'fait_workers'",
        ):  # fmt: skip
            with pytest.raises(UsageError):
                await recorded(store, work_of(token, 5, (RowChange(NOTES, [(1, "a")]),), (HandlerStatement(bad),)))

            assert await state(store) == (0, [], []), bad

    @pytest.mark.parametrize("sql", ["", " ;", "/* fait_events */ ; -- nothing"])
    async def test_text_without_a_statement_is_refused(self, store: Store, sql: str) -> None:
        with pytest.raises(UsageError, match="Nothing was recorded"):
            await recorded(store, work_of(await prepared(store), 5, (), (HandlerStatement(sql),)))

    async def test_text_may_mention_a_table_of_the_store_in_strings_and_comments(self, store: Store) -> None:
        _needs_sql(store)
        insert = "INSERT INTO words (word, count) /* it's fait_log */ VALUES ('it''s -- fait_events', 1) -- fait_log's"
        await recorded(store, work_of(await prepared(store), 5, (), (HandlerStatement(insert),)))
        assert (await state(store))[2] == [("it's -- fait_events", 1)]

    @pytest.mark.parametrize("second", ["SELECT 2", "INSERT INTO words (word, count) VALUES ('b', 2)", "nonsense"])
    async def test_text_with_several_statements_records_nothing(self, store: Store, second: str) -> None:
        _needs_sql(store)
        token = await prepared(store)
        first = "INSERT INTO words (word, count) VALUES ('a', 1) RETURNING count"
        several = HandlerStatement("; ".join([first, second]))

        with pytest.raises(UsageError, match=r"Nothing was recorded.*ctx\.execute"):
            await recorded(store, work_of(token, 5, (), (several,)))

        assert await state(store) == (0, [], [])

    async def test_text_with_one_statement_may_end_with_a_semicolon_and_a_comment(self, store: Store) -> None:
        _needs_sql(store)
        token = await prepared(store)
        statement = HandlerStatement("INSERT INTO words (word, count) VALUES ('a', 1); -- the end; not another one")

        await recorded(store, work_of(token, 5, (), (statement,)))

        assert await state(store) == (5, [], [("a", 1)])

    async def test_store_without_sql_refuses_statements(self, store: Store) -> None:
        if store.log.features.sql:
            pytest.skip("the store runs SQL")
        token = await prepared(store)
        with pytest.raises(UsageError):
            await recorded(store, work_of(token, 5, (RowChange(NOTES, [(1, "a")]),), (HandlerStatement("SELECT 1"),)))

        assert await state(store) == (0, [], [])

    # Rows

    @pytest.mark.parametrize("kind", SAMPLES)
    async def test_values_are_read_as_they_were_written(self, store: Store, kind: ColumnKind) -> None:
        table, rows = await _sample_table(store, kind)

        stored = await store.tables.select(table, order=[SortOrder("id")])

        assert [(row, type(row[1])) for row in stored] == [(row, type(row[1])) for row in rows]
        if kind == "decimal":  # the number of decimal places is kept
            assert [f"{row[1]:f}" for row in stored if row[1]] == [f"{row[1]:f}" for row in rows if row[1]]

    @pytest.mark.parametrize("kind", ["text", "integer", "uuid", "date"])
    async def test_rows_are_found_by_keys_of_each_kind(self, store: Store, kind: ColumnKind) -> None:
        table = Table("keyed", (Column("key", kind, False), Column("n", "integer", False)), "key")
        await store.tables.create_table(table)
        token, keys = await acquired(store, "s"), SAMPLES[kind]
        rows = [(key, n) for n, key in enumerate(keys)]
        await recorded(store, work_of(token, 1, (RowChange(table, rows[1:]),)))

        assert sorted(await store.tables.rows(table, [*keys, keys[1]])) == rows[1:]
        assert await store.tables.rows(table, keys[:2]) == rows[1:2]
        assert await store.tables.rows(table, []) == []

        await recorded(store, work_of(token, 2, (RowChange(table, [(keys[2], 99)], [keys[1], keys[0]]),)))

        assert sorted(await store.tables.rows(table, keys)) == [(keys[2], 99), *rows[3:]]

    @pytest.mark.parametrize("kind", SAMPLES)
    async def test_column_conditions_are_the_same_in_every_store(self, store: Store, kind: ColumnKind) -> None:
        table, rows = await _sample_table(store, kind)
        values = SAMPLES[kind]
        one = [(value,) for value in values]
        cases: dict[Any, Any] = {
            **dict.fromkeys(("<", "<=", ">", ">="), one),
            "=": [*one, (None,)],
            "!=": [*one, (None,)],
            "in": [(), (None,), tuple(values[::2]), (values[0], None), (values[1], values[1])],
            "between": [(low, high) for low in values[:4] for high in values[-4:]],
        }

        for operator, operands in ((operator, each) for operator, several in cases.items() for each in several):
            where = [ColumnCondition("value", operator, operands)]

            selected = await store.tables.select(table, where, order=[SortOrder("id")])

            assert selected == [row for row in rows if holds(operator, row[1], operands)], (operator, operands)

    async def test_comparison_with_none_is_false(self, store: Store) -> None:
        table, _ = await _sample_table(store, "integer")
        cases: list[tuple[Any, tuple[Any, ...]]] = [(operator, (None,)) for operator in ("<", "<=", ">", ">=")]

        for operator, operands in [*cases, ("between", (None, 9)), ("between", (0, None))]:
            where = [ColumnCondition("value", cast("Any", operator), operands)]

            assert await store.tables.select(table, where) == [], (operator, operands)

    async def test_decimals_are_compared_by_value(self, store: Store) -> None:
        table, _ = await _sample_table(store, "decimal")

        async def selected(operator: Any, *texts: str) -> list[str]:
            where = [ColumnCondition("value", operator, tuple(map(Decimal, texts)))]
            return [
                str(row[1])
                for row in await store.tables.select(table, where, order=[SortOrder("value"), SortOrder("id")])
            ]

        assert await selected("=", "10.50") == ["10.5"]
        assert await selected("in", "1E+1", "-9.50") == ["-9.5", "10"]
        assert await selected("between", "9.00", "10.500") == ["9", "10", "10.5"]

    async def test_select_returns_rows_that_satisfy_all_conditions(self, store: Store) -> None:
        table, rows = await _sample_table(store, "integer")
        where = [
            ColumnCondition("value", ">=", (-1,)),
            ColumnCondition("value", "<", (10,)),
            ColumnCondition("id", "!=", (2,)),
        ]

        selected = await store.tables.select(table, where, order=[SortOrder("id")])

        assert selected == [row for row in rows if row[1] is not None and -1 <= row[1] < 10 and row[0] != 2]

    @pytest.mark.parametrize("kind", SAMPLES)
    async def test_none_sorts_first_when_ascending_and_last_when_descending(
        self, store: Store, kind: ColumnKind
    ) -> None:
        table, rows = await _sample_table(store, kind)
        values = [row[1] for row in rows if row[1] is not None]
        nones = [None] * (len(rows) - len(values))

        ascending = await store.tables.select(table, order=[SortOrder("value"), SortOrder("id")])
        descending = await store.tables.select(
            table, order=[SortOrder("value", descending=True), SortOrder("id", descending=True)]
        )

        assert [row[1] for row in ascending] == [*nones, *sorted(values)]
        assert descending == ascending[::-1]

    @pytest.mark.parametrize("seed", range(12))
    async def test_keyset_pages_contain_each_row_once(self, store: Store, seed: int) -> None:
        rng = random.Random(seed)
        rows = await _record_sorted_things(store, rng)
        for _ in range(4):
            columns = rng.sample(["price", "flag", "since", "size"], rng.randint(0, 3))
            order = [SortOrder(name, rng.random() < 0.5) for name in (*columns, "key")]
            where = rng.choice([[], [ColumnCondition("size", ">=", (2,))]])
            limit, seen = rng.randint(1, 7), list[Row]()
            page = await store.tables.select(SORTED, where, order=order, limit=limit)
            while page and len(seen) < len(rows) + limit:
                assert len(page) <= limit
                seen += page
                last = [page[-1][SORTED.index_of(each.column)] for each in order]
                page = await store.tables.select(SORTED, where, order=order, after_row=last, limit=limit)

            expected = [row for row in rows if not where or row[4] >= 2]
            assert seen == _in_order(expected, order), (seed, order, limit)

    # Tables

    async def test_creating_a_table_again_keeps_its_rows(self, store: Store) -> None:
        token = await prepared(store)
        await recorded(store, work_of(token, 5, (RowChange(NOTES, [(1, "a")]),)))

        await store.tables.create_table(NOTES)

        assert await state(store) == (5, [(1, "a")], [])

    async def test_names_may_be_words_of_sql(self, store: Store) -> None:
        names = ("select", "größe", "order", "table", "value")
        table = Table("group", tuple(Column(name, "text", name != "select") for name in names), "select", (("order",),))
        await store.tables.create_table(table)
        token = await acquired(store, "s")
        rows = [(text, "g", None, text, "v") for text in "ab"]

        await recorded(store, work_of(token, 1, (RowChange(table, [*rows, ("c", *"1234")], ["c"]),)))

        where = [ColumnCondition("table", "in", ("a", "b")), ColumnCondition("order", "=", (None,))]
        assert await store.tables.select(table, where, order=[SortOrder("select", descending=True)]) == rows[::-1]

    async def test_reset_empties_the_table_sets_the_checkpoint_and_frees_the_lease(self, store: Store) -> None:
        token = await prepared(store)
        await recorded(store, work_of(token, 5, (RowChange(NOTES, [(1, "a")]), RowChange(WORDS, [("a", 1)]))))
        wider = Table("notes", (*NOTES.columns, Column("size", "integer", False)), "id")

        await store.registrations.reset(registration_of("s", "wider"), wider, 2, "definition")

        assert await store.registrations.definition("s") == "definition"
        assert await store.registrations.registration("s") == replace(registration_of("s", "wider"), revision=2)
        assert (await range_of(store, "s")).position == 2
        assert await store.tables.select(wider) == []
        assert await store.tables.select(WORDS) == [("a", 1)]
        await refused(store, work_of(token, 6, (RowChange(wider, [(1, "old", 1)]),)))
        lease = await store.leases.acquire(await range_of(store, "s"), "me", "wider", "epoch")
        assert lease is not None
        await recorded(store, work_of(lease, 6, (RowChange(wider, [(1, "a", 1)]),)))
        assert await store.tables.select(wider) == [(1, "a", 1)]

    # Reopening

    async def test_recorded_work_exists_after_reopening(self, opener: Opener) -> None:
        async with opener() as store:
            if not store.log.features.durable:
                pytest.skip("the store is not durable, as its features say")
            token = await prepared(store)
            await recorded(store, work_of(token, 5, (RowChange(NOTES, [(1, "a")]),)))
            current = await range_of(store, "s")
        async with opener() as store:
            assert await state(store) == (5, [(1, "a")], [])
            assert await range_of(store, "s") == current

    async def test_handles_on_one_store_share_ranges_and_rows(self, store: Store, opener: Opener) -> None:
        if not store.log.features.shared:
            pytest.skip("the store is not shared, as its features say")
        old = await prepared(store)
        async with opener() as other:
            seen = await range_of(other, "s")
            attempts = [each.leases.acquire(seen, "me", "", "epoch") for each in [store, other] * 8]
            async with soon():
                [lease] = [each for each in await asyncio.gather(*attempts) if each is not None]
            await refused(store, work_of(old, 5))
            await recorded(other, work_of(lease, 6, (RowChange(NOTES, [(1, "a")]),)))
            assert await state(store) == (6, [(1, "a")], [])


def _needs_sql(store: Store) -> None:
    if not store.log.features.sql:
        pytest.skip("the store runs no SQL, as its features say")


async def _sample_table(store: Store, kind: ColumnKind) -> tuple[Table, list[Row]]:
    """Create a table with all samples of a kind and two Nones, in random order; return it and its rows."""
    table = Table("samples", (Column("id", "integer", False), Column("value", kind, True)), "id", (("value",),))
    await store.tables.create_table(table)
    values = [None, *SAMPLES[kind], None]
    random.Random(1).shuffle(values)
    rows = list(enumerate(values))
    token = await acquired(store, "samples")
    await recorded(store, work_of(token, 1, (RowChange(table, rows),)))
    return table, rows


async def _record_sorted_things(store: Store, rng: random.Random) -> list[Row]:
    prices = [None, Decimal("9"), Decimal("10"), Decimal("10.5"), Decimal("10.50"), Decimal("-1")]
    times = [None, *SAMPLES["timestamp"][:3]]
    rows = [
        (f"k{n:02}", rng.choice(prices), rng.choice([None, True, False]), rng.choice(times), n % 5)
        for n in range(rng.randint(1, 30))
    ]
    await store.tables.create_table(SORTED)
    token = await acquired(store, "sorted")
    await recorded(store, work_of(token, 1, (RowChange(SORTED, rng.sample(rows, len(rows))),)))
    return rows


def _in_order(rows: list[Row], order: Sequence[SortOrder]) -> list[Row]:
    """Sort rows by the last column first, as Python's sort is stable."""
    for each in reversed(order):
        index = SORTED.index_of(each.column)
        values = sorted((row for row in rows if row[index] is not None), key=itemgetter(index), reverse=each.descending)
        nones = [row for row in rows if row[index] is None]
        rows = [*values, *nones] if each.descending else [*nones, *values]
    return rows
