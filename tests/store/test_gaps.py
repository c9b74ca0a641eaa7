"""Reading a log with a gap of 2^62 positions takes as few queries as reading any other."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import apsw
import pytest

from fait._events.query import EVERYTHING, Query
from fait._store.open import open_store
from fait._store.ports.store import Store
from fait._store.postgres.store import PostgresStore
from fait.testing.contract.store import added, new, write
from tests.store.test_postgres_schema import asked

GAP = 1 << 62
QUERIES = [
    EVERYTHING,
    Query(("rare",)),
    Query(tags=("k:1",)),
    Query(category="a"),
    Query(("rare",), tags=("k:1",)),
    Query(("missing",)),
]


async def skip_positions(store: Store, url: str) -> None:
    if isinstance(store, PostgresStore):
        await asked(url, "SELECT setval('{0}.fait_position', $1)", GAP)
        return
    connection: Any = apsw.Connection(url.removeprefix("sqlite:///"))
    connection.execute("DROP TRIGGER fait_events_append_only_update")
    connection.execute(
        "UPDATE fait_events SET position = ? WHERE position = (SELECT max(position) FROM fait_events)", (GAP,)
    )
    connection.execute(
        "UPDATE fait_tags SET position = ? WHERE position = (SELECT max(position) FROM fait_tags)", (GAP,)
    )
    connection.close()


@pytest.fixture(params=["sqlite", "postgresql"])
async def store(
    request: pytest.FixtureRequest, tmp_path: Path, postgres_url: Callable[..., str]
) -> AsyncIterator[Store]:
    """A store with two events, a gap, and two or three events."""
    url = f"sqlite:///{tmp_path}/store.db" if request.param == "sqlite" else postgres_url()
    store = await open_store(url)
    for _ in range(2 if request.param == "postgresql" else 3):
        await added(store.log, write("a", [new("rare", tags=("k:1",))]))
    await skip_positions(store, url)
    for _ in range(2):
        await added(store.log, write("a", [new("rare", tags=("k:1",))]))
    yield store
    await store.close()


@pytest.mark.parametrize("limit", [1, 3, 1000])
@pytest.mark.parametrize("query", QUERIES)
async def test_log_with_gap_is_read_with_few_pages(store: Store, query: Query, limit: int) -> None:
    await store.log.head()
    pages = [await store.log.read(0, query=query, limit=limit)]
    while pages[-1].more:
        assert len(pages) < 20
        pages.append(await store.log.read(pages[-1].position, query=query, limit=limit))

    events = [event for page in pages for event in page.events]
    assert events == ([] if query.types == ("missing",) else (await store.log.read_stream("a"))[0])
    assert pages[-1].position == await store.log.head() > GAP
    assert len(pages) <= 3 + len(events)
