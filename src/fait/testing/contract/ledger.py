"""The contract of the port `Ledger`."""
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

from fait._errors import LeaseLost, UsageError
from fait._store.ports.store import Store
from fait._store.ports.tables import Column, ColumnCondition, ColumnKind, Row, RowChange, SortOrder, Table
from fait._store.ports.unit_of_work import HandlerStatement, UnitOfWork
from fait.testing.contract.leases import NOTES, WORDS, LeaseContract, checkpoint_at, owned, prepared, refused, state
from fait.testing.contract.store import Opener, outcome_of, soon, write

__all__ = ["LedgerContract"]

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


class LedgerContract(LeaseContract):
    """The contract of `Ledger`."""

    # Checkpoints

    async def test_new_subscription_has_no_checkpoint(self, ledger: Ledger) -> None:
        assert await ledger.checkpoint("s") is None
        assert await ledger.checkpoints() == []

    async def test_second_start_returns_the_first_checkpoint(self, ledger: Ledger) -> None:
        first = checkpoint_at("s", 7, "shape")

        assert await ledger.start_checkpoint(first) == first
        assert await ledger.start_checkpoint(checkpoint_at("s", 9, "other")) == first
        assert await ledger.checkpoint("s") == first

    async def test_concurrent_starts_return_one_checkpoint(self, ledger: Ledger) -> None:
        checkpoints = await asyncio.gather(*(ledger.start_checkpoint(checkpoint_at("s", n)) for n in range(16)))

        assert len({each.position for each in checkpoints}) == 1
        assert await ledger.checkpoint("s") == checkpoints[0]

    async def test_checkpoints_are_listed_by_subscription(self, ledger: Ledger) -> None:
        for name in ("b", "ä", "a", "B"):
            await ledger.start_checkpoint(checkpoint_at(name, 1))

        assert [each.subscription for each in await ledger.checkpoints()] == ["B", "a", "b", "ä"]

    async def test_renamed_subscription_keeps_its_position(self, ledger: Ledger) -> None:
        await ledger.start_checkpoint(checkpoint_at("old", 7, "shape"))
        await ledger.rename_subscription("old", "new")
        await ledger.rename_subscription("never", "another")

        assert await ledger.checkpoints() == [checkpoint_at("new", 7, "shape")]

    async def test_work_under_the_previous_name_is_rejected(self, ledger: Ledger) -> None:
        token = (await owned(ledger, "old")).fencing_token
        await ledger.rename_subscription("old", "new")

        await refused(ledger, UnitOfWork("old", 0, 5, token))
        assert await ledger.checkpoints() == [checkpoint_at("new", 0)]

    async def test_forgotten_subscription_has_no_checkpoint_and_no_lease(self, ledger: Ledger) -> None:
        lease = await owned(ledger, "s")
        await ledger.forget_subscription("s")
        await ledger.forget_subscription("never")

        assert await ledger.checkpoints() == []
        assert await ledger.heartbeat(lease.owner) == []
        await refused(ledger, UnitOfWork("s", 0, 5, lease.fencing_token))

    # Recording work

    async def test_rows_and_checkpoint_are_recorded_together(self, ledger: Ledger) -> None:
        token = await prepared(ledger)
        rows = (RowChange(NOTES, [(1, "a"), (2, None)]), RowChange(WORDS, [("ä", 9)]))

        await ledger.record(UnitOfWork("s", 0, 5, token, rows))

        assert await state(ledger) == (5, [(1, "a"), (2, None)], [("ä", 9)])

    async def test_rows_are_upserted_and_deleted_by_key(self, ledger: Ledger) -> None:
        token = await prepared(ledger)
        await ledger.record(UnitOfWork("s", 0, 5, token, (RowChange(NOTES, [(1, "a"), (2, "b"), (3, "c")]),)))

        await ledger.record(UnitOfWork("s", 5, 6, token, (RowChange(NOTES, [(2, None), (4, "d")], [1, 99]),)))

        assert await state(ledger) == (6, [(2, None), (3, "c"), (4, "d")], [])

    @pytest.mark.parametrize(("after", "token"), [(4, 0), (6, 0), (0, 0), (5, -1), (5, 1)])
    async def test_work_with_wrong_checkpoint_or_fencing_token_is_rejected(
        self, ledger: Ledger, after: int, token: int
    ) -> None:
        current = await prepared(ledger)
        await ledger.record(UnitOfWork("s", 0, 5, current, (RowChange(NOTES, [(1, "a")]),)))

        await refused(ledger, UnitOfWork("s", after, 7, current + token, (RowChange(NOTES, [(1, "x"), (2, "x")]),)))

        assert await state(ledger) == (5, [(1, "a")], [])

    async def test_work_needs_a_checkpoint_and_a_lease(self, ledger: Ledger) -> None:
        await ledger.start_checkpoint(checkpoint_at("started", 0))
        await ledger.acquire(await ledger.lease("leased"), "me")

        await refused(ledger, UnitOfWork("never", 0, 1, 0))
        await refused(ledger, UnitOfWork("started", 0, 1, 0))
        await refused(ledger, UnitOfWork("leased", 0, 1, 1))

        assert await ledger.checkpoints() == [checkpoint_at("started", 0)]

    async def test_concurrent_works_with_one_checkpoint_record_one(self, ledger: Ledger) -> None:
        token = await prepared(ledger)
        work = [UnitOfWork("s", 0, n, token, (RowChange(NOTES, [(n, "mine")]),)) for n in range(1, 17)]

        outcomes = await asyncio.gather(*(ledger.record(each) for each in work), return_exceptions=True)

        recorded = [n for n, outcome in enumerate(outcomes, 1) if outcome is None]
        assert [type(outcome) for outcome in outcomes if outcome is not None] == [LeaseLost] * 15
        assert await state(ledger) == (recorded[0], [(recorded[0], "mine")], [])

    async def test_work_that_fails_halfway_records_nothing(self, ledger: Ledger) -> None:
        token = await prepared(ledger)
        missing = Table("missing", NOTES.columns, "id")

        with pytest.raises(Exception):  # noqa: B017, PT011 - any error, as long as nothing is written
            await ledger.record(
                UnitOfWork("s", 0, 5, token, (RowChange(NOTES, [(1, "a")]), RowChange(missing, [(1, "a")])))
            )

        assert await state(ledger) == (0, [], [])

    async def test_failed_work_does_not_affect_concurrent_writes(self, store: Store) -> None:
        ledger, log = store.ledger, store.log
        token = await prepared(ledger)
        await ledger.start_checkpoint(checkpoint_at("other", 0))
        lease = await ledger.acquire(await ledger.lease("other"), "me")
        assert lease is not None

        results = await asyncio.gather(
            log.append([write("a")]),
            ledger.record(UnitOfWork("s", 3, 5, token, (RowChange(NOTES, [(1, "bad")]),))),
            ledger.record(UnitOfWork("other", 0, 5, lease.fencing_token, (RowChange(NOTES, [(2, "good")]),))),
            ledger.record(UnitOfWork("s", 0, 9, token + 1)),
            log.append([write("a", 1, "exists")]),
            return_exceptions=True,
        )

        assert [outcome_of(results[0]), outcome_of(results[4])] == ["appended", "appended"]  # type: ignore[arg-type]
        assert [type(each) for each in results[1:4]] == [LeaseLost, type(None), LeaseLost]
        assert await state(ledger) == (0, [(2, "good")], [])

    async def test_row_of_only_a_key_can_be_upserted_again(self, ledger: Ledger) -> None:
        token, keys = await prepared(ledger), Table("keys", (Column("key", "text", False),), "key")
        await ledger.create_table(keys)

        for position in range(2):
            await ledger.record(UnitOfWork("s", position, position + 1, token, (RowChange(keys, [("a",)]),)))

        assert await ledger.select(keys) == [("a",)]

    async def test_added_constraint_is_named_and_replaces_no_row(self, store: Store) -> None:
        ledger = _sql_ledger(store)
        token = await prepared(ledger)
        constraint = HandlerStatement("CREATE UNIQUE INDEX one_of_each ON notes (text)")
        await ledger.record(UnitOfWork("s", 0, 5, token, (RowChange(NOTES, [(1, "secret")]),), (constraint,)))

        with pytest.raises(UsageError, match=r"constraint or trigger \(unique.*'notes'.*Nothing was recorded") as error:
            await ledger.record(UnitOfWork("s", 5, 6, token, (RowChange(NOTES, [(2, "secret")]),)))

        assert "secret" not in str(error.value)
        assert await state(ledger) == (5, [(1, "secret")], [])

    # Statements

    async def test_statements_are_recorded_with_rows_and_checkpoint(self, store: Store) -> None:
        ledger = _sql_ledger(store)
        token = await prepared(ledger)
        statements = [
            HandlerStatement("INSERT INTO words (count, word) VALUES ($2, $1)", ("a", 1)),  # by number, not by place
            HandlerStatement("UPDATE words SET count = 7 WHERE word = $1", ("a",)),
        ]

        await ledger.record(UnitOfWork("s", 0, 5, token, (RowChange(NOTES, [(1, "a")]),), statements))

        assert await state(ledger) == (5, [(1, "a")], [("a", 7)])

    async def test_failed_statement_records_nothing(self, store: Store) -> None:
        ledger = _sql_ledger(store)
        token = await prepared(ledger)
        good = HandlerStatement("INSERT INTO words (word, count) VALUES ('a', 1)")

        for bad in ("INSERT INTO nowhere VALUES (1)", "this is not SQL", good.sql):
            with pytest.raises(Exception):  # noqa: B017, PT011 - the database's own error
                await ledger.record(
                    UnitOfWork("s", 0, 5, token, (RowChange(NOTES, [(1, "a")]),), (good, HandlerStatement(bad)))
                )

            assert await state(ledger) == (0, [], []), bad

    async def test_statement_under_a_lost_lease_is_not_run(self, store: Store) -> None:
        ledger = _sql_ledger(store)
        token = await prepared(ledger)

        await refused(
            ledger, UnitOfWork("s", 1, 5, token, (), (HandlerStatement("INSERT INTO words VALUES ('a', 1)"),))
        )

        assert await state(ledger) == (0, [], [])

    async def test_statement_cannot_end_the_transaction_or_write_the_ledgers_tables(self, store: Store) -> None:
        ledger = _sql_ledger(store)
        token = await prepared(ledger)

        for bad in ("COMMIT", "ROLLBACK", "UPDATE fait_checkpoints SET position = 9", "DELETE FROM fait_leases"):
            with pytest.raises(UsageError):
                await ledger.record(
                    UnitOfWork("s", 0, 5, token, (RowChange(NOTES, [(1, "a")]),), (HandlerStatement(bad),))
                )

            assert await state(ledger) == (0, [], []), bad

    async def test_store_without_sql_refuses_statements(self, store: Store) -> None:
        if store.log.features.sql:
            pytest.skip("the store runs SQL")
        token = await prepared(store.ledger)

        with pytest.raises(UsageError):
            await store.ledger.record(
                UnitOfWork("s", 0, 5, token, (RowChange(NOTES, [(1, "a")]),), (HandlerStatement("SELECT 1"),))
            )

        assert await state(store.ledger) == (0, [], [])

    # Rows

    @pytest.mark.parametrize("kind", SAMPLES)
    async def test_values_are_read_as_they_were_written(self, ledger: Ledger, kind: ColumnKind) -> None:
        table, rows = await _sample_table(ledger, kind)

        stored = await ledger.select(table, order=[SortOrder("id")])

        assert [(row, type(row[1])) for row in stored] == [(row, type(row[1])) for row in rows]
        if kind == "decimal":  # the number of decimal places is kept
            assert [f"{row[1]:f}" for row in stored if row[1]] == [f"{row[1]:f}" for row in rows if row[1]]

    @pytest.mark.parametrize("kind", ["text", "integer", "uuid", "date"])
    async def test_rows_are_found_by_keys_of_each_kind(self, ledger: Ledger, kind: ColumnKind) -> None:
        table = Table("keyed", (Column("key", kind, False), Column("n", "integer", False)), "key")
        await ledger.create_table(table)
        token, keys = (await owned(ledger, "s")).fencing_token, SAMPLES[kind]
        rows = [(key, n) for n, key in enumerate(keys)]
        await ledger.record(UnitOfWork("s", 0, 1, token, (RowChange(table, rows[1:]),)))

        assert sorted(await ledger.rows(table, [*keys, keys[1]])) == rows[1:]
        assert await ledger.rows(table, keys[:2]) == rows[1:2]
        assert await ledger.rows(table, []) == []

        await ledger.record(UnitOfWork("s", 1, 2, token, (RowChange(table, [(keys[2], 99)], [keys[1], keys[0]]),)))

        assert sorted(await ledger.rows(table, keys)) == [(keys[2], 99), *rows[3:]]

    @pytest.mark.parametrize("kind", SAMPLES)
    async def test_column_conditions_are_the_same_in_every_store(self, ledger: Ledger, kind: ColumnKind) -> None:
        table, rows = await _sample_table(ledger, kind)
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

            selected = await ledger.select(table, where, order=[SortOrder("id")])

            assert selected == [row for row in rows if holds(operator, row[1], operands)], (operator, operands)

    async def test_comparison_with_none_is_false(self, ledger: Ledger) -> None:
        table, _ = await _sample_table(ledger, "integer")
        cases: list[tuple[Any, tuple[Any, ...]]] = [(operator, (None,)) for operator in ("<", "<=", ">", ">=")]

        for operator, operands in [*cases, ("between", (None, 9)), ("between", (0, None))]:
            where = [ColumnCondition("value", cast("Any", operator), operands)]

            assert await ledger.select(table, where) == [], (operator, operands)

    async def test_decimals_are_compared_by_value(self, ledger: Ledger) -> None:
        table, _ = await _sample_table(ledger, "decimal")

        async def selected(operator: Any, *texts: str) -> list[str]:
            where = [ColumnCondition("value", operator, tuple(map(Decimal, texts)))]
            return [
                str(row[1]) for row in await ledger.select(table, where, order=[SortOrder("value"), SortOrder("id")])
            ]

        assert await selected("=", "10.50") == ["10.5"]
        assert await selected("in", "1E+1", "-9.50") == ["-9.5", "10"]
        assert await selected("between", "9.00", "10.500") == ["9", "10", "10.5"]

    async def test_select_returns_rows_that_satisfy_all_conditions(self, ledger: Ledger) -> None:
        table, rows = await _sample_table(ledger, "integer")
        where = [
            ColumnCondition("value", ">=", (-1,)),
            ColumnCondition("value", "<", (10,)),
            ColumnCondition("id", "!=", (2,)),
        ]

        selected = await ledger.select(table, where, order=[SortOrder("id")])

        assert selected == [row for row in rows if row[1] is not None and -1 <= row[1] < 10 and row[0] != 2]

    @pytest.mark.parametrize("kind", SAMPLES)
    async def test_none_sorts_first_when_ascending_and_last_when_descending(
        self, ledger: Ledger, kind: ColumnKind
    ) -> None:
        table, rows = await _sample_table(ledger, kind)
        values = [row[1] for row in rows if row[1] is not None]
        nones = [None] * (len(rows) - len(values))

        ascending = await ledger.select(table, order=[SortOrder("value"), SortOrder("id")])
        descending = await ledger.select(
            table, order=[SortOrder("value", descending=True), SortOrder("id", descending=True)]
        )

        assert [row[1] for row in ascending] == [*nones, *sorted(values)]
        assert descending == ascending[::-1]

    @pytest.mark.parametrize("seed", range(12))
    async def test_keyset_pages_contain_each_row_once(self, ledger: Ledger, seed: int) -> None:
        rng = random.Random(seed)
        rows = await _record_sorted_things(ledger, rng)
        for _ in range(4):
            columns = rng.sample(["price", "flag", "since", "size"], rng.randint(0, 3))
            order = [SortOrder(name, rng.random() < 0.5) for name in (*columns, "key")]
            where = rng.choice([[], [ColumnCondition("size", ">=", (2,))]])
            limit, seen = rng.randint(1, 7), list[Row]()
            page = await ledger.select(SORTED, where, order=order, limit=limit)
            while page and len(seen) < len(rows) + limit:
                assert len(page) <= limit
                seen += page
                last = [page[-1][SORTED.index_of(each.column)] for each in order]
                page = await ledger.select(SORTED, where, order=order, after_row=last, limit=limit)

            expected = [row for row in rows if not where or row[4] >= 2]
            assert seen == _in_order(expected, order), (seed, order, limit)

    # Tables

    async def test_creating_a_table_again_keeps_its_rows(self, ledger: Ledger) -> None:
        token = await prepared(ledger)
        await ledger.record(UnitOfWork("s", 0, 5, token, (RowChange(NOTES, [(1, "a")]),)))

        await ledger.create_table(NOTES)

        assert await state(ledger) == (5, [(1, "a")], [])

    async def test_names_may_be_words_of_sql(self, ledger: Ledger) -> None:
        names = ("select", "größe", "order", "table", "value")
        table = Table("group", tuple(Column(name, "text", name != "select") for name in names), "select", (("order",),))
        await ledger.create_table(table)
        token = (await owned(ledger, "s")).fencing_token
        rows = [(text, "g", None, text, "v") for text in "ab"]

        await ledger.record(UnitOfWork("s", 0, 1, token, (RowChange(table, [*rows, ("c", *"1234")], ["c"]),)))

        where = [ColumnCondition("table", "in", ("a", "b")), ColumnCondition("order", "=", (None,))]
        assert await ledger.select(table, where, order=[SortOrder("select", descending=True)]) == rows[::-1]

    async def test_reset_empties_the_table_sets_the_checkpoint_and_frees_the_lease(self, ledger: Ledger) -> None:
        token = await prepared(ledger)
        await ledger.record(UnitOfWork("s", 0, 5, token, (RowChange(NOTES, [(1, "a")]), RowChange(WORDS, [("a", 1)]))))
        wider = Table("notes", (*NOTES.columns, Column("size", "integer", False)), "id")

        await ledger.reset_table(wider, checkpoint_at("s", 2, "wider"))

        assert await ledger.checkpoint("s") == checkpoint_at("s", 2, "wider")
        assert await ledger.select(wider) == []
        assert await ledger.select(WORDS) == [("a", 1)]
        for after in (2, 5):
            await refused(ledger, UnitOfWork("s", after, 6, token, (RowChange(wider, [(1, "old", 1)]),)))
        lease = await ledger.acquire(await ledger.lease("s"), "me")
        assert lease is not None
        await ledger.record(UnitOfWork("s", 2, 6, lease.fencing_token, (RowChange(wider, [(1, "a", 1)]),)))
        assert await ledger.select(wider) == [(1, "a", 1)]

    # Reopening

    async def test_recorded_work_exists_after_reopening(self, opener: Opener) -> None:
        async with opener() as store:
            if not store.log.features.durable:
                pytest.skip("the store is not durable, as its features say")
            token = await prepared(store.ledger)
            await store.ledger.record(UnitOfWork("s", 0, 5, token, (RowChange(NOTES, [(1, "a")]),)))
            lease = await store.ledger.lease("s")
        async with opener() as store:
            assert await state(store.ledger) == (5, [(1, "a")], [])
            assert await store.ledger.lease("s") == lease

    async def test_handles_on_one_store_share_leases_checkpoints_and_rows(self, store: Store, opener: Opener) -> None:
        if not store.log.features.shared:
            pytest.skip("the store is not shared, as its features say")
        old_token = await prepared(store.ledger)
        async with opener() as other:
            seen = await other.ledger.lease("s")
            attempts = [handle.ledger.acquire(seen, f"owner-{n}") for n, handle in enumerate([store, other] * 8)]
            async with soon():
                leases = [each for each in await asyncio.gather(*attempts) if each is not None]
            assert len(leases) == 1
            await refused(store.ledger, UnitOfWork("s", 0, 5, old_token))
            await other.ledger.record(UnitOfWork("s", 0, 6, leases[0].fencing_token, (RowChange(NOTES, [(1, "a")]),)))
            assert await state(store.ledger) == (6, [(1, "a")], [])


def _sql_ledger(store: Store) -> Ledger:
    if not store.log.features.sql:
        pytest.skip("the store runs no SQL, as its features say")
    return store.ledger


async def _sample_table(ledger: Ledger, kind: ColumnKind) -> tuple[Table, list[Row]]:
    """Create a table with all samples of a kind and two Nones, in random order; return it and its rows."""
    table = Table("samples", (Column("id", "integer", False), Column("value", kind, True)), "id", (("value",),))
    await ledger.create_table(table)
    values = [None, *SAMPLES[kind], None]
    random.Random(1).shuffle(values)
    rows = list(enumerate(values))
    token = (await owned(ledger, "samples")).fencing_token
    await ledger.record(UnitOfWork("samples", 0, 1, token, (RowChange(table, rows),)))
    return table, rows


async def _record_sorted_things(ledger: Ledger, rng: random.Random) -> list[Row]:
    prices = [None, Decimal("9"), Decimal("10"), Decimal("10.5"), Decimal("10.50"), Decimal("-1")]
    times = [None, *SAMPLES["timestamp"][:3]]
    rows = [
        (f"k{n:02}", rng.choice(prices), rng.choice([None, True, False]), rng.choice(times), n % 5)
        for n in range(rng.randint(1, 30))
    ]
    await ledger.create_table(SORTED)
    token = (await owned(ledger, "sorted")).fencing_token
    await ledger.record(UnitOfWork("sorted", 0, 1, token, (RowChange(SORTED, rng.sample(rows, len(rows))),)))
    return rows


def _in_order(rows: list[Row], order: Sequence[SortOrder]) -> list[Row]:
    """Sort rows by the last column first, as Python's sort is stable."""
    for each in reversed(order):
        index = SORTED.index_of(each.column)
        values = sorted((row for row in rows if row[index] is not None), key=itemgetter(index), reverse=each.descending)
        nones = [row for row in rows if row[index] is None]
        rows = [*values, *nones] if each.descending else [*nones, *values]
    return rows
