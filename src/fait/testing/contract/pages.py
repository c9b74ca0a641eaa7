"""The part of the log's contract on `MAX_PAGE_BYTES`: pages of large events."""
# ruff: noqa: D102 - test names replace docstrings

from itertools import pairwise

import msgspec
import pytest

from fait._events.append import MAX_PAGE_BYTES, PAGE_SIZE, AppendCondition, ConditionFailed
from fait._events.envelope import EncodedEvent, size_of
from fait._events.query import EVERYTHING, Query
from fait._store.ports.log import Log
from fait.testing.contract.store import StoreContract, added, new, write

__all__ = ["PageContract"]

MIB = 1 << 20
TAG = "k:1"
QUERIES = [EVERYTHING, Query(("large",)), Query(tags=(TAG,)), Query(category="a")]


def large(part: str = "data", size: int = MIB) -> EncodedEvent:
    """Return an event with a part of this size."""
    text = "x" * size
    value = {"data": f'"{text}"', "metadata": f'{{"actor":"{text}"}}', "tags": (TAG, f"k:{text}")}[part]
    return msgspec.structs.replace(new("large", tags=(TAG,)), **{part: value})


class PageContract(StoreContract):
    """The contract of pages of large events."""

    @pytest.mark.parametrize("part", ["data", "metadata", "tags"])
    async def test_page_ends_when_its_events_reach_the_maximum_size(self, log: Log, part: str) -> None:
        for _ in range(3):
            await added(log, write("a", [large(part) for _ in range(3)]))
        await added(log, write("a", [new("large", tags=(TAG,)) for _ in range(20)]))

        for query in QUERIES:
            pages = [await log.read(0, query=query, limit=50)]
            while pages[-1].more:
                pages.append(await log.read(pages[-1].position, query=query, limit=50))

            assert [event.position for page in pages for event in page.events] == list(range(1, 30))
            assert [page.position for page in pages] == sorted({page.position for page in pages})
            for page in pages:
                assert sum(map(size_of, page.events)) <= MAX_PAGE_BYTES + 2 * MIB
            assert len(pages) >= 3

    async def test_page_has_one_event_even_if_it_exceeds_the_maximum_size(self, log: Log) -> None:
        for _ in range(2):
            await added(log, write("a", [large(size=MAX_PAGE_BYTES + 1)]))

        page = await log.read(0)

        assert ([event.position for event in page.events], page.position, page.more) == ([1], 1, True)
        assert [len((await log.read_stream("a"))[0]), len((await log.history("a"))[0])] == [1, 1]

    @pytest.mark.parametrize("limit", [1, 3, 20, PAGE_SIZE])
    async def test_pages_with_few_large_events_contain_each_event_once(self, log: Log, limit: int) -> None:
        places = {4, 5, 25, 49, 60}
        for start in range(0, 61, 7):
            events = [large(size=5000) if n in places else new(tags=(TAG,)) for n in range(start, min(start + 7, 61))]
            await added(log, write("a", events))

        for query in (*QUERIES, Query(("thing-happened",))):
            expected = [n + 1 for n in range(61) if not query.types or (n in places) == (query.types == ("large",))]
            pages = [await log.read(0, query=query, limit=limit)]
            while pages[-1].more:
                pages.append(await log.read(pages[-1].position, query=query, limit=limit))

            assert [event.position for page in pages for event in page.events] == expected
            assert all(first.position <= second.position for first, second in pairwise(pages))

    @pytest.mark.parametrize("limit", [2, PAGE_SIZE])
    async def test_large_events_of_a_stream_are_read_in_limited_pages(self, log: Log, limit: int) -> None:
        for _ in range(2):
            await added(log, write("a", [*[large() for _ in range(4)], new(), new()]), write("b"))

        for method in (log.read_stream, log.history):
            version, pages, more = 0, list[int](), True
            while more:
                events, more = await method("a", after=version, limit=limit)
                pages.append(len(events))
                version += len(events)
            assert version == 12
            assert max(pages) <= 7

    async def test_large_events_of_several_streams_are_read_in_limited_pages(self, log: Log) -> None:
        sizes = {"a": 3, "b": 0, "c": 1, "d": 6, "e": 1}
        for stream, number in sizes.items():
            if number:
                await added(log, write(stream, [large() for _ in range(number)]))
        remaining, seen, more = [(stream, 0) for stream in sizes], list[tuple[str, int]](), True

        while more:
            page, more = await log.histories(remaining)
            events = [(stream, version) for stream, slices in page for version, *_ in slices]
            assert len(events) <= MAX_PAGE_BYTES // MIB + 1
            seen += events
            names = [stream for stream, _ in remaining]
            remaining = [seen[-1], *remaining[names.index(seen[-1][0]) + 1 :]]

        assert seen == [(stream, version) for stream, number in sizes.items() for version in range(1, number + 1)]

    async def test_condition_finds_a_large_event_behind_a_page_of_others(self, log: Log) -> None:
        await added(log, write("a", PAGE_SIZE + 1))
        await added(log, write("b", [large()]))

        for query in (Query(("large",)), Query(tags=(TAG,))):
            result = await log.append([write("c")], AppendCondition((query,), 0))

            assert isinstance(result, ConditionFailed)
            assert [event.position for event in result.events] == [PAGE_SIZE + 2]
