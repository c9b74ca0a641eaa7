"""`Log.history` returns the same events as `Log.read_stream`."""

import random
from collections.abc import AsyncIterator, Callable
from datetime import timedelta

import pytest

import fait
from fait._events.append import Until
from fait._store.open import backend_names, open_store
from fait._store.ports.store import Store
from fait.testing.contract.store import START, added, new, write


@pytest.fixture(params=sorted(backend_names()))
async def store(request: pytest.FixtureRequest, store_url: Callable[[str], str]) -> AsyncIterator[Store]:
    clock = fait.ManualClock(START)
    store = await open_store(store_url(request.param), clock=clock)
    rng = random.Random(5)
    for number in range(40):
        occurred_at = START + timedelta(minutes=rng.randrange(-20, 20)) if number % 3 else None
        await added(store.log, write(rng.choice("ab"), [new(occurred_at=occurred_at)]))
        clock.advance(minutes=rng.choice([0, 1, -1]))
    yield store
    await store.close()


@pytest.mark.parametrize("after", [0, 1, 7, 99])
@pytest.mark.parametrize("limit", [1, 3, 100])
@pytest.mark.parametrize(
    "until", [Until(), Until(version=9), Until(position=11), Until(recorded_at=START + timedelta(minutes=2))]
)
async def test_history_has_the_events_of_the_stream(store: Store, after: int, limit: int, until: Until) -> None:
    stream, more = await store.log.read_stream("a", after=after, limit=limit, until=until)

    history = await store.log.history("a", after=after, limit=limit, until=until)

    slices = [(each.version, each.position, each.id, each.type, each.schema_version, each.data) for each in stream]
    assert history == (slices, more)
    assert more == (len(slices) == limit)


@pytest.mark.parametrize("minutes", [-21, -5, 0, 5, 30])
@pytest.mark.parametrize("limit", [1, 3, 100])
async def test_history_until_occurred_at_leaves_out_later_events(store: Store, minutes: int, limit: int) -> None:
    time = START + timedelta(minutes=minutes)
    stream = [each for each in (await store.log.read_stream("a"))[0] if each.occurred_at <= time]

    history, _ = await store.log.history("a", limit=limit, until=Until(occurred_at=time))

    assert [version for version, *_ in history] == [each.version for each in stream][:limit]
