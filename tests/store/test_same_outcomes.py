"""The same calls have the same outcome on every backend: a result, or an error with the same text.

So an application's tests on `memory:` find what a database would refuse. The one declared difference is SQL of handlers
(`ctx.execute`), which a store in memory refuses, as it has no database.
"""

import asyncio
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

import fait
from tests.test_wrong_types import FUNCTIONS, VALID_CALLS, WRONG, outcome, shop

pytestmark = pytest.mark.anyio

CLOCK = datetime(2024, 1, 15, tzinfo=UTC)
VALUES: list[Any] = [
    *WRONG, -1, 0, 1 << 63, (1 << 63) - 1, float("nan"), float("inf"), -0.0, "", " ", "a\0", "\ud800", "a" * 501, "🦄",
    "counter-", "-", "A-1", "any", "exists", "no_stream", b"", [], ["a:1"], ("x",), datetime(2024, 1, 15),
    datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC),
]  # fmt: skip
READS = ("get", "find", "find ge", "find one_of", "find between", "find desc", "find order_by", "read", "load", "query")
WRITES = ("transact", "transact tags", "decide", "decide boundary", "publish", "publish untyped", "append", "using")
WAITS = {"after", "timeout_s"}
"""Arguments with which a call waits, or would."""


def calls() -> Iterator[tuple[str, str, Any]]:
    """Yield calls, arguments and values; first the calls that only read, as read models follow a write later."""
    for name in (*READS, *WRITES, *(f"context {each}" for each in WRITES)):
        _, valid = VALID_CALLS[name]
        for argument in valid.keys() - FUNCTIONS - WAITS:
            yield from ((name, argument, value) for value in (valid[argument], *VALUES))


def shown(value: object) -> str:
    """Return a value as text without ids and addresses."""
    return re.sub(r"0x[0-9a-f]+|[0-9a-f]{8}-[0-9a-f-]{27}", "#", repr(value))


async def outcomes(url: str) -> dict[str, str]:
    observed = dict[str, str]()
    async with shop().open(url, clock=fait.ManualClock(CLOCK)) as s:
        for stream in ("counter-1", "counter-2", "counter-1"):
            await s.publish(fait.Untyped("wrong.counted", {"number": 2}, 1), stream=stream)
        await s.settle()
        for name, argument, value in sorted(calls(), key=lambda each: each[0] in WRITES):
            call, valid = VALID_CALLS[name]
            try:
                async with asyncio.timeout(10):
                    result = shown(await outcome(call(s, **(valid | {argument: value}))))
            except Exception as error:
                result = f"{type(error).__name__}: {error}"
            observed[f"{name} {argument}={shown(value)}"] = result
    return observed


@pytest.mark.parametrize("backend", ["sqlite", "postgres"])
async def test_calls_have_the_outcome_that_they_have_in_memory(backend: str, store_url: Callable[[str], str]) -> None:
    in_memory, in_database = await outcomes("memory:"), await outcomes(store_url(backend))

    assert {call: (each, in_memory[call]) for call, each in in_database.items() if each != in_memory[call]} == {}
