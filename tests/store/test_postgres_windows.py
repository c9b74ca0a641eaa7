"""Reading a rare type from a long log: each statement scans a limited number of positions."""

from collections.abc import Callable

import pytest

from fait._events.append import Page
from fait._events.query import Query
from fait._store.open import open_store
from fait._store.postgres import log as postgres
from fait.testing.contract.store import added, new, write


@pytest.mark.parametrize("limit", [1, 2, 50])
@pytest.mark.parametrize("again", [False, True])
async def test_rare_type_is_found_with_small_scan_limit(
    postgres_url: Callable[..., str], monkeypatch: pytest.MonkeyPatch, limit: int, again: bool
) -> None:
    monkeypatch.setattr(postgres, "MAX_SCANNED_POSITIONS", 7)
    store = await open_store(postgres_url())
    try:
        for number in range(40):
            await added(store.log, write("a", [new("rare" if number in (3, 4, 30, 39) else "common")]))
        if again:
            await store.log.head()  # the mark is known
        asked, pages, after = Query(types=("rare",)), list[Page](), 0
        while not pages or pages[-1].more:
            pages.append(await store.log.read(after, query=asked, limit=limit))
            assert pages[-1].position > after or not pages[-1].more
            after = pages[-1].position
    finally:
        await store.close()

    assert [event.version for page in pages for event in page.events] == [4, 5, 31, 40]
    assert after == 40
    assert len(pages) >= 40 / 7
