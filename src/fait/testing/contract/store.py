"""What the contracts share: how a test opens its store, and what it puts into it."""

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
from fait._store.ledger import Ledger
from fait._store.log import Log
from fait._store.open import Store, open_store

__all__ = ["START", "Opener", "StoreContract", "added", "everything", "new", "soon", "told", "write"]

START = datetime(2024, 1, 15, 12, tzinfo=UTC)
"""What the clock of each test shows at first."""

SOON_S = 30.0
"""How long a test waits for what should happen at once."""

Opener = Callable[[], AbstractAsyncContextManager[Store]]
"""Opens the test's store once more: another handle on the same data, where the backend can be shared."""


class StoreContract:
    """Fixtures of all contracts. A subclass gives `url`."""

    pytestmark: pytest.MarkDecorator = pytest.mark.anyio

    @pytest.fixture
    def url(self) -> str:
        """Of a new, empty store for each test."""
        raise NotImplementedError("give a fixture `url`: the URL of a new, empty store for each test")

    @pytest.fixture
    def clock(self) -> ManualClock:
        """What the store takes the time from."""
        return ManualClock(START)

    @pytest.fixture
    def opener(self, url: str, clock: ManualClock) -> Opener:
        """Opens the store; closes it at the end of the block."""

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
        """The store, open."""
        async with opener() as store:
            yield store

    @pytest.fixture
    def log(self, store: Store) -> Log:
        """Its log."""
        return store.log

    @pytest.fixture
    def ledger(self, store: Store) -> Ledger:
        """Its ledger."""
        return store.ledger


def new(
    type: str = "thing-happened",
    *,
    id: str | None = None,
    data: str = '{"n":1}',
    tags: tuple[str, ...] = (),
    occurred_at: datetime | None = None,
) -> EncodedEvent:
    """An event to append."""
    return EncodedEvent(type, 1, id or new_id(), data, "{}", tags, occurred_at)


def write(stream: str, events: int | list[EncodedEvent] = 1, expected: Expected = "any") -> StreamWrite:
    """Events for a stream: these, or so many."""
    given = [new() for _ in range(events)] if isinstance(events, int) else events
    return StreamWrite(stream, tuple(given), expected_number(expected))


async def added(log: Log, *writes: StreamWrite) -> Appended:
    """Append what must not be refused."""
    verdict = await log.append(writes)
    assert isinstance(verdict, Appended), verdict
    return verdict


def told(verdict: AppendResult) -> str:
    """A verdict in one word."""
    match verdict:
        case Appended():
            return "repeated" if verdict.repeated else "appended"
        case VersionConflict():
            return "conflict"
        case ConditionFailed():
            return "condition failed"
        case IdConflict():
            return "duplicate"


async def everything(log: Log, query: Query = EVERYTHING, *, limit: int = 1000) -> list[RecordedEvent]:
    """The whole log, page by page."""
    found: list[RecordedEvent] = []
    page = await log.read(0, query=query, limit=limit)
    while page.events:
        assert page.events[-1].position > (found[-1].position if found else 0), (
            "a page begins before the last one's end"
        )
        found += page.events
        page = await log.read(page.position, query=query, limit=limit)
    return found


def soon() -> asyncio.Timeout:
    """Fails what should have happened at once and did not."""
    return asyncio.timeout(SOON_S)
