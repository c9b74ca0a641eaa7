"""The part of the log's contract on the size of an append."""
# ruff: noqa: D102 - test names replace docstrings

import msgspec
import pytest

from fait._errors import UsageError
from fait._events.append import MAX_APPEND_BYTES, StreamWrite
from fait._events.version import ANY
from fait._store.ports.log import Log
from fait.testing.contract.store import StoreContract, added, new, write

__all__ = ["SizeContract"]


class SizeContract(StoreContract):
    """The contract of `MAX_APPEND_BYTES`."""

    @pytest.mark.parametrize("part", ["data", "metadata", "tags"])
    @pytest.mark.parametrize("events", [1, 3])
    async def test_append_over_the_maximum_size_raises_and_writes_nothing(
        self, log: Log, part: str, events: int
    ) -> None:
        text = "ä" * (MAX_APPEND_BYTES // 2 // events)
        value = {"data": f'"{text}"', "metadata": f'{{"actor":"{text}"}}', "tags": (f"k:{text}",)}[part]
        large = [msgspec.structs.replace(new(), **{part: value}) for _ in range(events)]
        others = [StreamWrite("b", (new(),), ANY)] if events > 1 else []

        with pytest.raises(UsageError, match=r"67,108,864 bytes of data, metadata and tags, not 67,\d{3},\d{3}"):
            await log.append([write("a", large), *others])

        assert await log.head() == 0

    async def test_append_below_the_maximum_size_is_stored(self, log: Log) -> None:
        large = [new(data=f'"{"x" * (1 << 20)}"') for _ in range(20)]

        assert (await added(log, write("a", large))).versions == (20,)
