"""Reads wait for a position or its token as for a write result, and refuse what is not of their log."""

import time
from collections.abc import Callable
from typing import Self

import pytest

import fait
from fait._store.open import open_admin
from fait._store.ports.log import Identity
from fait._subscriptions.position_token import decode_token, encode_token

IDENTITY = Identity("0190c5a0-0000-7000-8000-000000000001", "0190c5a0-0000-7000-8000-000000000002")


@fait.event("token.added")
class Added:
    pass


class Count(fait.ReadModel, key="item"):
    item: str
    count: int = 0

    @classmethod
    def evolve(cls, row: Self | None, event: Added, envelope: fait.Envelope) -> Self | None:
        row = row or cls(item=envelope.stream_id)
        row.count += 1
        return row


def app() -> fait.App:
    declared = fait.App("tokens")
    declared.include(Count)
    return declared


@pytest.mark.parametrize("backend", ["memory", "sqlite", "postgres"])
async def test_find_after_token_or_position_contains_the_write(backend: str, store_url: Callable[[str], str]) -> None:
    async with app().open(store_url(backend)) as system:
        for count in range(1, 11):
            result = await system.publish(Added(), stream="item-a")
            after = [result, result.position, system.token(result), system.token(result.position)][count % 4]
            assert [row.count for row in await system.find(Count, after=after)] == [count]
            row = await system.get(Count, "a", after=after)
            assert row is not None
            assert row.count == count
            await system.wait(after)


@pytest.mark.parametrize("backend", ["memory", "sqlite", "postgres"])
async def test_position_beyond_the_head_is_refused_without_waiting(
    backend: str, store_url: Callable[[str], str]
) -> None:
    async with app().open(store_url(backend)) as system:
        position = (await system.publish(Added(), stream="item-a")).position
        start = time.monotonic()
        for after in (position + 1, system.token(position + 1), 2**62, system.token(2**62)):
            with pytest.raises(fait.InvalidPosition, match="no event at this position yet"):
                await system.find(Count, after=after, timeout_s=30)
            with pytest.raises(fait.InvalidPosition):
                await system.wait(after, timeout_s=30)

        assert time.monotonic() - start < 10


async def test_token_of_another_epoch_is_refused(store_url: Callable[[str], str]) -> None:
    url = store_url("sqlite")
    async with app().open(url) as system:
        token = system.token(await system.publish(Added(), stream="item-a"))
    await open_admin(url).adopt(in_place=True, dry_run=False)

    async with app().open(url) as system:
        with pytest.raises(fait.InvalidPosition, match="another epoch") as refused:
            await system.find(Count, after=token)
        assert refused.value.reason == "it belongs to another log, or to another epoch of this one"


@pytest.mark.parametrize(("position", "events"), [(0, 0), (1, 1), (2**32, 10_000), (2**63 - 1, 65_535)])
def test_token_is_short_text_that_returns_its_position_and_number_of_events(position: int, events: int) -> None:
    token = encode_token(IDENTITY, position, events)

    assert len(token) == 32
    assert token.replace("-", "").replace("_", "").isalnum()
    assert decode_token(IDENTITY, token) == (position, events)


@pytest.mark.parametrize("token", ["", "x", "~" * 32, "é" * 32, "A" * 31, "A" * 33, "A" * 1_000_000, "A" * 31 + "="])
def test_text_that_is_not_a_token_is_refused(token: str) -> None:
    with pytest.raises(fait.InvalidPosition):
        decode_token(IDENTITY, token)


def test_position_that_no_log_has_is_refused() -> None:
    with pytest.raises(fait.InvalidPosition, match="no log has this position"):
        decode_token(IDENTITY, encode_token(IDENTITY, 2**63))


async def test_after_of_another_type_is_refused() -> None:
    async with app().open("memory:") as system:
        for wrong in (b"x", 1.5, -1, object()):
            with pytest.raises(fait.UsageError, match="after"):
                await system.find(Count, after=wrong)  # type: ignore[call-overload]
            with pytest.raises(fait.UsageError, match="after"):
                system.token(wrong)  # type: ignore[arg-type]
