"""What does it cost current events that older versions of them are upcast? A fold of fait against one by hand.

The fold by hand decodes with msgspec's decoder of the class, found by the event's name, and knows no versions.

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
from fait._events.envelope import EventSlice
from fait._events.registry import Registry

__all__ = ["main"]

TURNS = 200
NAME, VERSION = "bench.order-kept", 3


@fait.event(NAME, version=VERSION)
class OrderKept:
    order_id: str
    customer_id: str
    items: list[Item]
    total: float
    placed_at: str


class Kept:
    """A log of one page, in memory."""

    def __init__(self, page: list[EventSlice]) -> None:
        self.page = page

    async def history(
        self, stream: str, *, after: int = 0, limit: int = PAGE_SIZE, until: Until = Until()
    ) -> list[EventSlice]:
        return self.page

    async def histories(
        self, streams: Sequence[tuple[str, int]], *, limit: int = PAGE_SIZE
    ) -> list[tuple[str, list[EventSlice]]]:
        raise NotImplementedError


async def main(n: int) -> dict[str, Any]:
    """Microseconds for an event, in turn by both; each at its quickest, since the difference is small."""
    n = min(n, PAGE_SIZE - 1)
    codec = Codec(_registry())
    datas = [codec.encode(_made(number), id="").data for number in range(n)]
    page = [(at + 1, at + 1, "", NAME.encode().decode(), VERSION, data) for at, data in enumerate(datas)]
    loader, model = Loader(Kept(page), codec, None), FoldDefinition("order", (OrderKept,), lambda _: 0, _counted)
    decoders = {NAME: msgspec.json.Decoder(OrderKept).decode}

    def by_hand(_turn: int) -> None:
        state = 0
        for _, _, _, name, _, data in page:
            event = decoders[name](data)
            state = _counted(state, event)

    took = list[tuple[float, float]]()
    for turn in range(TURNS):
        load = loader.load(model, "1")
        took.append((timed(lambda waiting: _finish(waiting, n), [load])[0], timed(by_hand, [turn])[0]))
    fold_us, by_hand_us = (min(seconds) * 1e6 / n for seconds in zip(*took, strict=True))
    return {"fold_us": fold_us, "by_hand_us": by_hand_us, "ratio": fold_us / by_hand_us}


def _finish(load: Any, n: int) -> None:
    """Run a load, which waits for nothing here, without an event loop's share in its time."""
    try:
        load.send(None)
    except StopIteration as done:
        check("events folded", done.value.state, n)


def _counted(state: int, _event: Any) -> int:
    return state + 1


def _registry() -> Registry:
    registry = Registry()
    registry.add(OrderKept)
    for older in range(1, VERSION):
        registry.add_upcaster(fait.upcast(NAME, older)(lambda data: data))
    return registry


def _made(number: int) -> OrderKept:
    fields = order(number)
    return OrderKept(**{**fields, "items": [Item(**item) for item in fields["items"]]})


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(int(sys.argv[1])))))
