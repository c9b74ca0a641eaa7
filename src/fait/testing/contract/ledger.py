"""What every ledger promises: `fait._store.ledger.Ledger`, sentence by sentence."""
# ruff: noqa: D102, S311 - the name of a test is its sentence; chance is seeded, not secret

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
from fait._store.ledger import (
    Column,
    ColumnCondition,
    ColumnKind,
    HandlerStatement,
    Ledger,
    Row,
    RowChange,
    SortOrder,
    Table,
    UnitOfWork,
)
from fait._store.open import Store
from fait.testing.contract.leases import NOTES, WORDS, LeaseContract, checkpoint_at, owned, prepared, refused, state
from fait.testing.contract.store import Opener, soon, told, write

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
"""Values of each kind, smallest first."""


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


def compared(operator: str, value: Any, to: Sequence[Any]) -> bool:
    """What a condition means. Nothing is less or greater than a missing value."""
    if operator == "=":
        return value == to[0]
    if operator == "!=":
        return value != to[0]
    if operator == "in":
        return value in to
    if value is None or None in to:
        return False
    answers = {"<": value < to[0], "<=": value <= to[0], ">": value > to[0], ">=": value >= to[0]}
    return answers[operator] if operator in answers else to[0] <= value <= to[1]


class LedgerContract(LeaseContract):
    """The promises of `Ledger`."""

    # Checkpoints

    async def test_a_subscription_that_never_started_has_no_checkpoint(self, ledger: Ledger) -> None:
        assert await ledger.checkpoint("s") is None
        assert await ledger.checkpoints() == []

    async def test_a_subscription_starts_once(self, ledger: Ledger) -> None:
        first = checkpoint_at("s", 7, "shape")

        assert await ledger.start_checkpoint(first) == first
        assert await ledger.start_checkpoint(checkpoint_at("s", 9, "other")) == first
        assert await ledger.checkpoint("s") == first

    async def test_of_many_that_start_a_subscription_one_does(self, ledger: Ledger) -> None:
        found = await asyncio.gather(*(ledger.start_checkpoint(checkpoint_at("s", n)) for n in range(16)))

        assert len({each.position for each in found}) == 1
        assert await ledger.checkpoint("s") == found[0]

    async def test_checkpoints_are_listed_by_subscription(self, ledger: Ledger) -> None:
        for name in ("b", "ä", "a", "B"):
            await ledger.start_checkpoint(checkpoint_at(name, 1))

        assert [each.subscription for each in await ledger.checkpoints()] == ["B", "a", "b", "ä"]

    async def test_a_renamed_subscription_goes_on_where_it_was(self, ledger: Ledger) -> None:
        await ledger.start_checkpoint(checkpoint_at("old", 7, "shape"))
        await ledger.rename_subscription("old", "new")
        await ledger.rename_subscription("never", "another")

        assert await ledger.checkpoints() == [checkpoint_at("new", 7, "shape")]

    async def test_work_under_a_subscriptions_former_name_is_refused(self, ledger: Ledger) -> None:
        fence = (await owned(ledger, "old")).fencing_token
        await ledger.rename_subscription("old", "new")

        await refused(ledger, UnitOfWork("old", 0, 5, fence))
        assert await ledger.checkpoints() == [checkpoint_at("new", 0)]

    async def test_a_forgotten_subscription_is_gone(self, ledger: Ledger) -> None:
        lease = await owned(ledger, "s")
        await ledger.forget_subscription("s")
        await ledger.forget_subscription("never")

        assert await ledger.checkpoints() == []
        assert await ledger.heartbeat(lease.owner) == []
        await refused(ledger, UnitOfWork("s", 0, 5, lease.fencing_token))

    # Recording work

    async def test_rows_and_checkpoint_are_recorded_together(self, ledger: Ledger) -> None:
        fence = await prepared(ledger)
        rows = (RowChange(NOTES, [(1, "a"), (2, None)]), RowChange(WORDS, [("ä", 9)]))

        await ledger.record(UnitOfWork("s", 0, 5, fence, rows))

        assert await state(ledger) == (5, [(1, "a"), (2, None)], [("ä", 9)])

    async def test_a_row_is_written_by_its_key_and_deleted_by_its_key(self, ledger: Ledger) -> None:
        fence = await prepared(ledger)
        await ledger.record(UnitOfWork("s", 0, 5, fence, (RowChange(NOTES, [(1, "a"), (2, "b"), (3, "c")]),)))

        await ledger.record(UnitOfWork("s", 5, 6, fence, (RowChange(NOTES, [(2, None), (4, "d")], [1, 99]),)))

        assert await state(ledger) == (6, [(2, None), (3, "c"), (4, "d")], [])

    @pytest.mark.parametrize(("after", "fence"), [(4, 0), (6, 0), (0, 0), (5, -1), (5, 1)])
    async def test_work_under_another_checkpoint_or_fence_is_refused_and_nothing_recorded(
        self, ledger: Ledger, after: int, fence: int
    ) -> None:
        mine = await prepared(ledger)
        await ledger.record(UnitOfWork("s", 0, 5, mine, (RowChange(NOTES, [(1, "a")]),)))

        await refused(ledger, UnitOfWork("s", after, 7, mine + fence, (RowChange(NOTES, [(1, "x"), (2, "x")]),)))

        assert await state(ledger) == (5, [(1, "a")], [])

    async def test_work_needs_a_checkpoint_and_a_lease(self, ledger: Ledger) -> None:
        await ledger.start_checkpoint(checkpoint_at("started", 0))
        await ledger.acquire(await ledger.lease("leased"), "me")

        await refused(ledger, UnitOfWork("never", 0, 1, 0))
        await refused(ledger, UnitOfWork("started", 0, 1, 0))
        await refused(ledger, UnitOfWork("leased", 0, 1, 1))

        assert await ledger.checkpoints() == [checkpoint_at("started", 0)]

    async def test_of_racers_with_the_same_work_one_records_it(self, ledger: Ledger) -> None:
        fence = await prepared(ledger)
        work = [UnitOfWork("s", 0, n, fence, (RowChange(NOTES, [(n, "mine")]),)) for n in range(1, 17)]

        outcomes = await asyncio.gather(*(ledger.record(each) for each in work), return_exceptions=True)

        won = [n for n, outcome in enumerate(outcomes, 1) if outcome is None]
        assert [type(outcome) for outcome in outcomes if outcome is not None] == [LeaseLost] * 15
        assert await state(ledger) == (won[0], [(won[0], "mine")], [])

    async def test_work_that_fails_halfway_is_not_recorded_at_all(self, ledger: Ledger) -> None:
        fence = await prepared(ledger)
        missing = Table("missing", NOTES.columns, "id")

        with pytest.raises(Exception):  # noqa: B017, PT011 - any error will do, as long as nothing is written
            await ledger.record(
                UnitOfWork("s", 0, 5, fence, (RowChange(NOTES, [(1, "a")]), RowChange(missing, [(1, "a")])))
            )

        assert await state(ledger) == (0, [], [])

    async def test_work_that_fails_does_not_harm_what_is_written_beside_it(self, store: Store) -> None:
        ledger, log = store.ledger, store.log
        fence = await prepared(ledger)
        await ledger.start_checkpoint(checkpoint_at("other", 0))
        taken = await ledger.acquire(await ledger.lease("other"), "me")
        assert taken is not None

        answers = await asyncio.gather(
            log.append([write("a")]),
            ledger.record(UnitOfWork("s", 3, 5, fence, (RowChange(NOTES, [(1, "bad")]),))),
            ledger.record(UnitOfWork("other", 0, 5, taken.fencing_token, (RowChange(NOTES, [(2, "good")]),))),
            ledger.record(UnitOfWork("s", 0, 9, fence + 1)),
            log.append([write("a", 1, "exists")]),
            return_exceptions=True,
        )

        assert [told(answers[0]), told(answers[4])] == ["appended", "appended"]  # type: ignore[arg-type]
        assert [type(each) for each in answers[1:4]] == [LeaseLost, type(None), LeaseLost]
        assert await state(ledger) == (0, [(2, "good")], [])

    async def test_a_row_that_is_only_a_key_is_written_as_often_as_it_comes(self, ledger: Ledger) -> None:
        fence, keys = await prepared(ledger), Table("keys", (Column("key", "text", False),), "key")
        await ledger.create_table(keys)

        for position in range(2):
            await ledger.record(UnitOfWork("s", position, position + 1, fence, (RowChange(keys, [("a",)]),)))

        assert await ledger.select(keys) == [("a",)]

    async def test_a_constraint_that_somebody_added_is_named_and_no_row_makes_way_for_another(
        self, store: Store
    ) -> None:
        ledger = _sql(store)
        fence = await prepared(ledger)
        added = HandlerStatement("CREATE UNIQUE INDEX one_of_each ON notes (text)")
        await ledger.record(UnitOfWork("s", 0, 5, fence, (RowChange(NOTES, [(1, "secret")]),), (added,)))

        with pytest.raises(
            UsageError, match=r"constraint or trigger \(unique.*'notes'.*Nothing was recorded"
        ) as told_so:
            await ledger.record(UnitOfWork("s", 5, 6, fence, (RowChange(NOTES, [(2, "secret")]),)))

        assert "secret" not in str(told_so.value)
        assert await state(ledger) == (5, [(1, "secret")], [])

    # Statements

    async def test_statements_are_recorded_with_rows_and_checkpoint(self, store: Store) -> None:
        ledger = _sql(store)
        fence = await prepared(ledger)
        statements = [
            HandlerStatement("INSERT INTO words (word, count) VALUES ($1, $2)", ("a", 1)),
            HandlerStatement("UPDATE words SET count = 7 WHERE word = $1", ("a",)),
        ]

        await ledger.record(UnitOfWork("s", 0, 5, fence, (RowChange(NOTES, [(1, "a")]),), statements))

        assert await state(ledger) == (5, [(1, "a")], [("a", 7)])

    async def test_a_statement_that_fails_leaves_nothing_recorded(self, store: Store) -> None:
        ledger = _sql(store)
        fence = await prepared(ledger)
        good = HandlerStatement("INSERT INTO words (word, count) VALUES ('a', 1)")

        for bad in ("INSERT INTO nowhere VALUES (1)", "this is not SQL", good.sql):
            with pytest.raises(Exception):  # noqa: B017, PT011 - the database's own error
                await ledger.record(
                    UnitOfWork("s", 0, 5, fence, (RowChange(NOTES, [(1, "a")]),), (good, HandlerStatement(bad)))
                )

            assert await state(ledger) == (0, [], []), bad

    async def test_a_lost_lease_runs_no_statement(self, store: Store) -> None:
        ledger = _sql(store)
        fence = await prepared(ledger)

        await refused(
            ledger, UnitOfWork("s", 1, 5, fence, (), (HandlerStatement("INSERT INTO words VALUES ('a', 1)"),))
        )

        assert await state(ledger) == (0, [], [])

    async def test_a_statement_cannot_end_the_transaction_or_write_the_ledgers_own_tables(self, store: Store) -> None:
        ledger = _sql(store)
        fence = await prepared(ledger)

        for bad in ("COMMIT", "ROLLBACK", "UPDATE fait_checkpoints SET position = 9", "DELETE FROM fait_leases"):
            with pytest.raises(UsageError):
                await ledger.record(
                    UnitOfWork("s", 0, 5, fence, (RowChange(NOTES, [(1, "a")]),), (HandlerStatement(bad),))
                )

            assert await state(ledger) == (0, [], []), bad

    async def test_a_store_without_sql_refuses_statements(self, store: Store) -> None:
        if store.log.features.sql:
            pytest.skip("this store runs SQL")
        fence = await prepared(store.ledger)

        with pytest.raises(UsageError):
            await store.ledger.record(
                UnitOfWork("s", 0, 5, fence, (RowChange(NOTES, [(1, "a")]),), (HandlerStatement("SELECT 1"),))
            )

        assert await state(store.ledger) == (0, [], [])

    # Rows

    @pytest.mark.parametrize("kind", SAMPLES)
    async def test_values_come_back_as_they_went_in(self, ledger: Ledger, kind: ColumnKind) -> None:
        table, rows = await _table_of(ledger, kind)

        found = await ledger.select(table, order=[SortOrder("id")])

        assert [(row, type(row[1])) for row in found] == [(row, type(row[1])) for row in rows]
        if kind == "decimal":  # with as many digits after the point
            assert [f"{row[1]:f}" for row in found if row[1]] == [f"{row[1]:f}" for row in rows if row[1]]

    @pytest.mark.parametrize("kind", ["text", "integer", "uuid", "date"])
    async def test_rows_are_found_by_keys_of_every_kind(self, ledger: Ledger, kind: ColumnKind) -> None:
        table = Table("keyed", (Column("key", kind, False), Column("n", "integer", False)), "key")
        await ledger.create_table(table)
        fence, keys = (await owned(ledger, "s")).fencing_token, SAMPLES[kind]
        rows = [(key, n) for n, key in enumerate(keys)]
        await ledger.record(UnitOfWork("s", 0, 1, fence, (RowChange(table, rows[1:]),)))

        assert sorted(await ledger.rows(table, [*keys, keys[1]])) == rows[1:]
        assert await ledger.rows(table, keys[:2]) == rows[1:2]
        assert await ledger.rows(table, []) == []

        await ledger.record(UnitOfWork("s", 1, 2, fence, (RowChange(table, [(keys[2], 99)], [keys[1], keys[0]]),)))

        assert sorted(await ledger.rows(table, keys)) == [(keys[2], 99), *rows[3:]]

    @pytest.mark.parametrize("kind", SAMPLES)
    async def test_a_condition_means_the_same_in_every_store(self, ledger: Ledger, kind: ColumnKind) -> None:
        table, rows = await _table_of(ledger, kind)
        values = SAMPLES[kind]
        one = [(value,) for value in values]
        asked: dict[Any, Any] = {
            **dict.fromkeys(("<", "<=", ">", ">="), one),
            "=": [*one, (None,)],
            "!=": [*one, (None,)],
            "in": [(), (None,), tuple(values[::2]), (values[0], None), (values[1], values[1])],
            "between": [(low, high) for low in values[:4] for high in values[-4:]],
        }

        for operator, to in ((operator, to) for operator, given in asked.items() for to in given):
            found = await ledger.select(table, [ColumnCondition("value", operator, to)], order=[SortOrder("id")])

            assert found == [row for row in rows if compared(operator, row[1], to)], (operator, to)

    async def test_nothing_is_less_or_greater_than_a_missing_value(self, ledger: Ledger) -> None:
        table, _ = await _table_of(ledger, "integer")
        asked: list[tuple[Any, tuple[Any, ...]]] = [(operator, (None,)) for operator in ("<", "<=", ">", ">=")]

        for operator, to in [*asked, ("between", (None, 9)), ("between", (0, None))]:
            assert await ledger.select(table, [ColumnCondition("value", cast("Any", operator), to)]) == [], (
                operator,
                to,
            )

    async def test_decimals_are_equal_however_they_are_written(self, ledger: Ledger) -> None:
        table, _ = await _table_of(ledger, "decimal")

        async def found(operator: Any, *texts: str) -> list[str]:
            where = [ColumnCondition("value", operator, tuple(map(Decimal, texts)))]
            return [
                str(row[1]) for row in await ledger.select(table, where, order=[SortOrder("value"), SortOrder("id")])
            ]

        assert await found("=", "10.50") == ["10.5"]
        assert await found("in", "1E+1", "-9.50") == ["-9.5", "10"]
        assert await found("between", "9.00", "10.500") == ["9", "10", "10.5"]

    async def test_all_conditions_must_hold(self, ledger: Ledger) -> None:
        table, rows = await _table_of(ledger, "integer")
        where = [
            ColumnCondition("value", ">=", (-1,)),
            ColumnCondition("value", "<", (10,)),
            ColumnCondition("id", "!=", (2,)),
        ]

        found = await ledger.select(table, where, order=[SortOrder("id")])

        assert found == [row for row in rows if row[1] is not None and -1 <= row[1] < 10 and row[0] != 2]

    @pytest.mark.parametrize("kind", SAMPLES)
    async def test_missing_values_come_first_when_ascending_and_last_when_descending(
        self, ledger: Ledger, kind: ColumnKind
    ) -> None:
        table, rows = await _table_of(ledger, kind)
        values = [row[1] for row in rows if row[1] is not None]
        missing = [None] * (len(rows) - len(values))

        up = await ledger.select(table, order=[SortOrder("value"), SortOrder("id")])
        down = await ledger.select(table, order=[SortOrder("value", descending=True), SortOrder("id", descending=True)])

        assert [row[1] for row in up] == [*missing, *sorted(values)]
        assert down == up[::-1]

    @pytest.mark.parametrize("seed", range(12))
    async def test_keyset_paging_visits_every_row_once(self, ledger: Ledger, seed: int) -> None:
        chance = random.Random(seed)
        rows = await _sorted_things(ledger, chance)
        for _ in range(4):
            columns = chance.sample(["price", "flag", "since", "size"], chance.randint(0, 3))
            order = [SortOrder(name, chance.random() < 0.5) for name in (*columns, "key")]
            where = chance.choice([[], [ColumnCondition("size", ">=", (2,))]])
            limit, seen = chance.randint(1, 7), list[Row]()
            page = await ledger.select(SORTED, where, order=order, limit=limit)
            while page and len(seen) < len(rows) + limit:
                assert len(page) <= limit
                seen += page
                beyond = [page[-1][SORTED.index_of(each.column)] for each in order]
                page = await ledger.select(SORTED, where, order=order, after_row=beyond, limit=limit)

            wanted = [row for row in rows if not where or row[4] >= 2]
            assert seen == _in_order(wanted, order), (seed, order, limit)

    # Tables

    async def test_creating_a_table_again_keeps_its_rows(self, ledger: Ledger) -> None:
        fence = await prepared(ledger)
        await ledger.record(UnitOfWork("s", 0, 5, fence, (RowChange(NOTES, [(1, "a")]),)))

        await ledger.create_table(NOTES)

        assert await state(ledger) == (5, [(1, "a")], [])

    async def test_names_that_are_words_of_sql_are_names(self, ledger: Ledger) -> None:
        names = ("select", "größe", "order", "table", "value")
        table = Table("group", tuple(Column(name, "text", name != "select") for name in names), "select", (("order",),))
        await ledger.create_table(table)
        fence = (await owned(ledger, "s")).fencing_token
        rows = [(text, "g", None, text, "v") for text in "ab"]

        await ledger.record(UnitOfWork("s", 0, 1, fence, (RowChange(table, [*rows, ("c", *"1234")], ["c"]),)))

        where = [ColumnCondition("table", "in", ("a", "b")), ColumnCondition("order", "=", (None,))]
        assert await ledger.select(table, where, order=[SortOrder("select", descending=True)]) == rows[::-1]

    async def test_a_reset_empties_the_table_sets_the_checkpoint_and_frees_the_lease(self, ledger: Ledger) -> None:
        fence = await prepared(ledger)
        await ledger.record(UnitOfWork("s", 0, 5, fence, (RowChange(NOTES, [(1, "a")]), RowChange(WORDS, [("a", 1)]))))
        wider = Table("notes", (*NOTES.columns, Column("size", "integer", False)), "id")

        await ledger.reset_table(wider, checkpoint_at("s", 2, "wider"))

        assert await ledger.checkpoint("s") == checkpoint_at("s", 2, "wider")
        assert await ledger.select(wider) == []
        assert await ledger.select(WORDS) == [("a", 1)]
        for after in (2, 5):
            await refused(ledger, UnitOfWork("s", after, 6, fence, (RowChange(wider, [(1, "old", 1)]),)))
        taken = await ledger.acquire(await ledger.lease("s"), "me")
        assert taken is not None
        await ledger.record(UnitOfWork("s", 2, 6, taken.fencing_token, (RowChange(wider, [(1, "a", 1)]),)))
        assert await ledger.select(wider) == [(1, "a", 1)]

    # Reopening

    async def test_whatever_was_recorded_is_there_after_reopening(self, opener: Opener) -> None:
        async with opener() as store:
            if not store.log.features.durable:
                pytest.skip("nothing survives in this store, and it does not say so")
            fence = await prepared(store.ledger)
            await store.ledger.record(UnitOfWork("s", 0, 5, fence, (RowChange(NOTES, [(1, "a")]),)))
            lease = await store.ledger.lease("s")
        async with opener() as store:
            assert await state(store.ledger) == (5, [(1, "a")], [])
            assert await store.ledger.lease("s") == lease

    async def test_handles_on_one_store_share_leases_checkpoints_and_rows(self, store: Store, opener: Opener) -> None:
        if not store.log.features.shared:
            pytest.skip("this store belongs to one process, and does not say otherwise")
        old = await prepared(store.ledger)
        async with opener() as other:
            seen = await other.ledger.lease("s")
            takers = [handle.ledger.acquire(seen, f"owner-{n}") for n, handle in enumerate([store, other] * 8)]
            async with soon():
                taken = [each for each in await asyncio.gather(*takers) if each is not None]
            assert len(taken) == 1
            await refused(store.ledger, UnitOfWork("s", 0, 5, old))
            await other.ledger.record(UnitOfWork("s", 0, 6, taken[0].fencing_token, (RowChange(NOTES, [(1, "a")]),)))
            assert await state(store.ledger) == (6, [(1, "a")], [])


def _sql(store: Store) -> Ledger:
    if not store.log.features.sql:
        pytest.skip("this store runs no SQL, and does not say that it does")
    return store.ledger


async def _table_of(ledger: Ledger, kind: ColumnKind) -> tuple[Table, list[Row]]:
    """A table with all samples of a kind, in no order, and two missing values."""
    table = Table("samples", (Column("id", "integer", False), Column("value", kind, True)), "id", (("value",),))
    await ledger.create_table(table)
    values = [None, *SAMPLES[kind], None]
    random.Random(1).shuffle(values)
    rows = list(enumerate(values))
    fence = (await owned(ledger, "samples")).fencing_token
    await ledger.record(UnitOfWork("samples", 0, 1, fence, (RowChange(table, rows),)))
    return table, rows


async def _sorted_things(ledger: Ledger, chance: random.Random) -> list[Row]:
    prices = [None, Decimal("9"), Decimal("10"), Decimal("10.5"), Decimal("10.50"), Decimal("-1")]
    moments = [None, *SAMPLES["timestamp"][:3]]
    rows = [
        (f"k{n:02}", chance.choice(prices), chance.choice([None, True, False]), chance.choice(moments), n % 5)
        for n in range(chance.randint(1, 30))
    ]
    await ledger.create_table(SORTED)
    fence = (await owned(ledger, "sorted")).fencing_token
    await ledger.record(UnitOfWork("sorted", 0, 1, fence, (RowChange(SORTED, chance.sample(rows, len(rows))),)))
    return rows


def _in_order(rows: list[Row], order: Sequence[SortOrder]) -> list[Row]:
    """Sorted by the last column first: Python's sort is stable."""
    for each in reversed(order):
        place = SORTED.index_of(each.column)
        there = sorted((row for row in rows if row[place] is not None), key=itemgetter(place), reverse=each.descending)
        missing = [row for row in rows if row[place] is None]
        rows = [*there, *missing] if each.descending else [*missing, *there]
    return rows
