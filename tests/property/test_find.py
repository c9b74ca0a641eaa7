"""Any cursor, filter, order and limit gives `find` rows or an error of fait, and the same on every backend."""

import asyncio
import base64
import json
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fait
from fait._store.open import backend_names
from fait._subscriptions.find import MAX_CONDITION_VALUES, MAX_CURSOR_CHARS, Comparison
from tests.subscriptions.test_row_values import VALID, Changed, Size, Thing, fields_by_id

EXAMPLES = int(os.environ.get("FAIT_EXAMPLES", "150"))
COLUMNS = list(Thing.__struct_fields__)
TEXTS = ["", "t1", "a\0", "\ud800", "1e131072", "sNaN", "NaN", "-Infinity", "1e99999999999999999999", "0001-01-01"]
TEXTS += ["0001-01-01T00:00:00+14:00", "2024-01-01T00:00:00", "9" * 5000, "'; DROP TABLE thing; --", "x" * 3000]

Check = Callable[..., None]

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([2**63, -(2**63) - 1, 10**400]),
    st.floats(),
    st.text(),
    st.sampled_from(TEXTS),
)
jsons = st.recursive(scalars, lambda each: st.lists(each, max_size=4) | st.dictionaries(st.text(), each, max_size=3))
values = st.one_of(
    jsons,
    st.decimals(),
    st.sampled_from([Decimal("sNaN"), Decimal("1e131072"), Decimal("1e-99999"), Size.SMALL, UUID(int=0), Thing, {1}]),
    st.datetimes(timezones=st.none() | st.sampled_from([UTC, timezone(timedelta(hours=14))])),
    st.dates(),
    st.binary(),
    st.sampled_from([datetime.max.replace(tzinfo=timezone(timedelta(hours=-14))), date.max]),
)
operators = st.sampled_from(["=", "!=", "<", "<=", ">", ">=", "in", "between", "OR 1=1 --", "", None, []])
comparisons: Any = st.builds(Comparison, operators, st.lists(values, max_size=3).map(tuple))
orders = st.lists(st.sampled_from([*COLUMNS, "-code", "-", "no such", "a\0"]), max_size=4)


def to_cursor(document: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).decode()


cursors = st.one_of(
    st.text(),
    st.binary().map(lambda each: base64.urlsafe_b64encode(each).decode()),
    jsons.map(to_cursor),
    st.tuples(st.lists(st.tuples(st.sampled_from(COLUMNS), st.booleans()), max_size=2), st.lists(jsons)).map(to_cursor),
)


@pytest.fixture(scope="module")
def check(store_url: Callable[[str], str]) -> Iterator[Check]:
    """Return a function that calls `find` on every backend; it raises if the rows or the kinds of errors differ."""
    loop, stack = asyncio.new_event_loop(), AsyncExitStack()
    systems: list[fait.System] = []

    async def start() -> None:
        for name in sorted(backend_names()):
            app = fait.App("things")
            app.include(Thing)
            systems.append(await stack.enter_async_context(app.open(store_url(name))))
            results = [await systems[-1].publish(Changed(), stream=f"thing-{id}") for id in fields_by_id]
            await systems[-1].wait(results[-1])

    async def rows_or_error(call: Awaitable[list[Thing]]) -> object:
        try:
            return [row.id for row in await call]
        except (fait.UsageError, fait.InvalidValue) as error:
            return type(error) if len(str(error)) < 2000 else str(error)

    def run(**arguments: Any) -> None:
        answers = [loop.run_until_complete(rows_or_error(each.find(Thing, **arguments))) for each in systems]
        assert all(each == answers[0] and not isinstance(each, str) for each in answers), answers

    fields_by_id.clear()
    fields_by_id.update({f"t{number}": fields for number, fields in enumerate(VALID) if "text" not in fields})
    loop.run_until_complete(start())
    yield run
    loop.run_until_complete(stack.aclose())
    loop.close()


fuzzed = settings(
    max_examples=EXAMPLES, deadline=5_000, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@fuzzed
@given(cursor=cursors, order_by=orders)
def test_any_cursor_gives_rows_or_an_error_of_fait(check: Check, cursor: str, order_by: list[str]) -> None:
    check(cursor=cursor, order_by=order_by)


@fuzzed
@given(order=st.sampled_from(COLUMNS), value=scalars, key=scalars, descending=st.booleans())
def test_any_value_in_a_cursor_gives_rows_or_an_error_of_fait(
    check: Check, order: str, value: object, key: object, descending: bool
) -> None:
    columns = [[order, descending]] + ([["id", descending]] if order != "id" else [])
    cursor = to_cursor([columns, [value, key][: len(columns)]])

    check(cursor=cursor, order_by=f"-{order}" if descending else order)


@fuzzed
@given(where=st.dictionaries(st.sampled_from(COLUMNS), values | comparisons, max_size=2), limit=st.integers(-1, 2**65))
def test_any_filter_gives_rows_or_an_error_of_fait(check: Check, where: dict[str, Any], limit: int) -> None:
    check(limit=limit, **where)


@pytest.mark.parametrize(
    "arguments",
    [
        {"cursor": "A" * (MAX_CURSOR_CHARS + 1)},
        {"cursor": to_cursor([])[:-4] + base64.urlsafe_b64encode(b"[" * 20_000).decode()},
        {"cursor": base64.urlsafe_b64encode(b"[[]," + b"[" * 40_000).decode()},
        {"cursor": 7},
        {"cursor": b"W10="},
        {"count": fait.one_of(*range(MAX_CONDITION_VALUES))},
        {"count": fait.one_of(*range(MAX_CONDITION_VALUES + 1))},
        {"count": fait.one_of()},
        {"order_by": COLUMNS},
        {"order_by": ["id"] * 5000},
        {"order_by": "x" * 1_000_000},
        {"x" * 1_000_000: 1},
    ],
    ids=range(12),
)
def test_extreme_sizes_give_rows_or_an_error_of_fait(check: Check, arguments: dict[str, Any]) -> None:
    check(**arguments)
