"""Measures what upcasters cost events of the current version: a fold of fait, and a hand-written loop.

The loop decodes with msgspec's decoder of the class, looked up by the event's name, and handles no versions.

    upcasting.py N -> JSON
"""

import asyncio
import json
import sys
from collections.abc import Sequence
from typing import Any

import msgspec
from measure import check, timed
from order import order
from subjects.fait_system import Item

import fait
from fait._decisions.decider import FoldDefinition
from fait._decisions.load import Loader
from fait._events.append import PAGE_SIZE, Until
from fait._events.codec import Codec
from fait._events.envelope import EventSlice, RecordedEvent
from fait._events.registry import Registry, build_registry

__all__ = ["main"]

TURNS = 200
NAME, VERSION = "bench.order-changed", 3


@fait.event(NAME, version=VERSION)
class OrderChanged:
    order_id: str
    customer_id: str
    items: list[Item]
    total: float
    placed_at: str


class OnePageLog:
    """A log of one page in memory."""

    def __init__(self, page: list[EventSlice]) -> None:
        self.page = page

    async def history(
        self, stream: str, *, after: int = 0, limit: int = PAGE_SIZE, until: Until = Until()
    ) -> tuple[list[EventSlice], bool]:
        return self.page, False

    async def histories(
        self, streams: Sequence[tuple[str, int]], *, limit: int = PAGE_SIZE
    ) -> tuple[list[tuple[str, list[EventSlice]]], bool]:
        raise NotImplementedError

    async def find(self, event_ids: Sequence[str]) -> list[RecordedEvent]:
        raise NotImplementedError


async def main(n: int) -> dict[str, Any]:
    """Measure both in turn, in microseconds per event. The minimum of each counts, because the difference is small."""
    n = min(n, PAGE_SIZE - 1)
    codec = Codec(_registry())
    datas = [codec.encode(_made(number), id="").data for number in range(n)]
    page = [(at + 1, at + 1, "", NAME.encode().decode(), VERSION, data) for at, data in enumerate(datas)]
    loader, model = (
        Loader(OnePageLog(page), codec, None),
        FoldDefinition("order", (OrderChanged,), lambda _: 0, _counted),
    )
    decoders = {NAME: msgspec.json.Decoder(OrderChanged).decode}

    def by_hand(_turn: int) -> None:
        state = 0
        for _, _, _, name, _, data in page:
            event = decoders[name](data)
            state = _counted(state, event)

    took = list[tuple[float, float]]()
    for turn in range(TURNS):
        load = loader.load(model, "order-1")
        took.append((timed(lambda waiting: _finish(waiting, n), [load])[0], timed(by_hand, [turn])[0]))
    fold_us, by_hand_us = (min(seconds) * 1e6 / n for seconds in zip(*took, strict=True))
    return {"fold_us": fold_us, "by_hand_us": by_hand_us, "ratio": fold_us / by_hand_us}


def _finish(load: Any, n: int) -> None:
    """Run a load without an event loop, whose time would be included; it never suspends here."""
    try:
        load.send(None)
    except StopIteration as done:
        check("events folded", done.value.state, n)


def _counted(state: int, _event: Any) -> int:
    return state + 1


def _registry() -> Registry:
    return build_registry([OrderChanged], [fait.upcast(NAME, older)(lambda data: data) for older in range(1, VERSION)])


def _made(number: int) -> OrderChanged:
    fields = order(number)
    return OrderChanged(**{**fields, "items": [Item(**item) for item in fields["items"]]})


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(int(sys.argv[1])))))
