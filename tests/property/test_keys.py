"""Random calls under few keys: the first intention under a key wins, the same is answered, any other is refused."""

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fait
from fait._store.open import backend_names
from tests.decisions.intentions import INTENTIONS, app
from tests.property.test_log import EXAMPLES

CALLS = [(name, number) for name, calls in INTENTIONS.items() for number in range(len(calls))]
KEYS = [("k", ""), ("l", ""), ("k", "other"), (None, "")]


@pytest.mark.parametrize("backend", sorted(backend_names()))
def test_first_intention_under_a_key_wins(backend: str, store_url: Callable[[str], str]) -> None:
    @settings(
        max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=backend != "memory"
    )
    @given(st.lists(st.tuples(st.sampled_from(CALLS), st.sampled_from(KEYS)), max_size=12))
    def check(calls: list[tuple[tuple[str, int], tuple[str | None, str]]]) -> None:
        asyncio.run(_check(store_url(backend), calls))

    check()


async def _check(url: str, calls: list[tuple[tuple[str, int], tuple[str | None, str]]]) -> None:
    first: dict[tuple[str | None, str], tuple[str, int]] = {}
    async with app.open(url) as system:
        for (name, number), (key, scope) in calls:
            head = await system.store.log.last_position()
            try:
                result = await INTENTIONS[name][number](system.using(key=key, scope=scope))
                outcome = "repeated" if result.repeated else "stored"
            except fait.KeyReused:
                outcome, result = "refused", None
            if key is None or (key, scope) not in first:
                assert outcome == "stored"
                assert result is not None
                if key is not None:
                    first[key, scope] = name, result.position
            else:
                original, position = first[key, scope]
                assert outcome == ("repeated" if name == original else "refused")
                assert result is None or result.position == position
                assert await system.store.log.last_position() == head
