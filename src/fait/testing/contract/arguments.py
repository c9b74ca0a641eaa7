"""The part of the log's contract on wrong arguments."""
# ruff: noqa: D102 - test names replace docstrings

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from fait._errors import UsageError
from fait._events.append import StreamWrite, Until
from fait._store.ports.log import Log
from fait.testing.contract.store import START, StoreContract, added, new, write

__all__ = ["ArgumentContract"]


class ArgumentContract(StoreContract):
    """The contract of `Log` on versions, positions, limits and event ids that no backend can use."""

    @pytest.mark.parametrize("wrong", [-1, 1 << 63, "1", 1.0, None])
    async def test_wrong_version_position_or_limit_is_usage_error(self, log: Log, wrong: Any) -> None:
        await added(log, write("a"))
        calls: list[Callable[[], Awaitable[object]]] = [
            lambda: log.read_stream("a", after=wrong),
            lambda: log.read_stream("a", limit=wrong),
            lambda: log.history("a", after=wrong),
            lambda: log.history("a", limit=wrong),
            lambda: log.histories([("a", 0)], limit=wrong),
            lambda: log.read(wrong),
            lambda: log.read(0, limit=wrong),
            lambda: log.streams(limit=wrong),
            lambda: log.expire("added", START, wrong),
            lambda: log.expire("added", START, 1, after=wrong),
            lambda: log.expire("added", START, 1, limit=wrong),
            lambda: log.oldest_messages(wrong),
        ]

        for call in calls:
            with pytest.raises(UsageError, match="must be an integer"):
                await call()

    async def test_greatest_version_position_and_limit_are_accepted(self, log: Log) -> None:
        await added(log, write("a"))
        greatest = (1 << 63) - 1

        assert len((await log.read_stream("a", limit=greatest, until=Until(greatest, greatest)))[0]) == 1
        assert len((await log.read(0, limit=greatest)).events) == 1
        assert await log.history("a", after=greatest) == ([], False)
        assert (await log.read(greatest)).events == []

    async def test_wrong_expected_version_or_event_id_is_usage_error(self, log: Log) -> None:
        with pytest.raises(UsageError, match="expected= must be an integer"):
            await log.append([StreamWrite("a", (new(),), 1 << 63)])
        for wrong in ("x", 1, None):
            ids: Any = [wrong]
            with pytest.raises(UsageError, match="event id must be a UUID"):
                await log.find(ids)
        assert await log.head() == 0
