"""Fixtures and helpers of all contracts: open the test's store, build events, append and read."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime

import pytest

from fait._clock import ManualClock, new_id
from fait._events.append import Appended, AppendResult, ConditionFailed, IdConflict, StreamWrite, VersionConflict
from fait._events.envelope import EncodedEvent, RecordedEvent
from fait._events.query import EVERYTHING, Query
from fait._events.version import Expected, expected_number
from fait._store.open import open_store
from fait._store.ports.log import Log
from fait._store.ports.store import Store

__all__ = ["START", "Opener", "StoreContract", "added", "everything", "new", "outcome_of", "soon", "write"]

START = datetime(2024, 1, 15, 12, tzinfo=UTC)
"""Initial time of each test's clock."""

SOON_S = 30.0
"""Timeout for something that should happen immediately."""

Opener = Callable[[], AbstractAsyncContextManager[Store]]
"""Opens another handle on the test's store; on the same data, if the backend is shared or durable."""


class StoreContract:
    """Fixtures of all contracts. A subclass overrides `url`."""

    pytestmark: pytest.MarkDecorator = pytest.mark.anyio

    @pytest.fixture
    def url(self) -> str:
        """The URL of a new, empty store for each test."""
        raise NotImplementedError("override the fixture `url`: return the URL of a new, empty store for each test")

    @pytest.fixture
    def clock(self) -> ManualClock:
        """The clock of the store."""
        return ManualClock(START)

    @pytest.fixture
    def opener(self, url: str, clock: ManualClock) -> Opener:
        """A function that opens the store for the duration of an `async with` block."""

        @asynccontextmanager
        async def opened() -> AsyncGenerator[Store]:
            store = await open_store(url, clock=clock)
            try:
                yield store
            finally:
                await store.close()

        return opened

    @pytest.fixture
    async def store(self, opener: Opener) -> AsyncIterator[Store]:
        """An open store."""
        async with opener() as store:
            yield store

    @pytest.fixture
    def log(self, store: Store) -> Log:
        """The log of `store`."""
        return store.log


def new(
    type: str = "thing-happened",
    *,
    id: str | None = None,
    data: str = '{"n":1}',
    tags: tuple[str, ...] = (),
    occurred_at: datetime | None = None,
) -> EncodedEvent:
    """Return an encoded event with a new id."""
    return EncodedEvent(type, 1, id or new_id(), data, "{}", tags, occurred_at)


def write(stream: str, events: int | list[EncodedEvent] = 1, expected: Expected = "any") -> StreamWrite:
    """Return a stream write with the given events, or with a number of new ones."""
    encoded = [new() for _ in range(events)] if isinstance(events, int) else events
    return StreamWrite(stream, tuple(encoded), expected_number(expected))


async def added(log: Log, *writes: StreamWrite) -> Appended:
    """Append and require success."""
    result = await log.append(writes)
    assert isinstance(result, Appended), result
    return result


def outcome_of(result: AppendResult) -> str:
    """Return the kind of an append result, in words."""
    match result:
        case Appended():
            return "repeated" if result.repeated else "appended"
        case VersionConflict():
            return "conflict"
        case ConditionFailed():
            return "condition failed"
        case IdConflict():
            return "duplicate"


async def everything(log: Log, query: Query = EVERYTHING, *, limit: int = 1000) -> list[RecordedEvent]:
    """Read all events that match a query, page by page; `limit` is the page size."""
    events: list[RecordedEvent] = []
    page = await log.read(0, query=query, limit=limit)
    while page.events:
        assert page.events[-1].position > (events[-1].position if events else 0), "pages overlap"
        events += page.events
        page = await log.read(page.position, query=query, limit=limit)
    return events


def soon() -> asyncio.Timeout:
    """Return a timeout for something that should happen immediately."""
    return asyncio.timeout(SOON_S)
