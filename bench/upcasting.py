"""Measures what upcasters cost: events of the current version in a fold, and single events of older versions.

A fold is compared with a hand-written loop, which decodes with msgspec's decoder of the class, looked up by the event's
name, and handles no versions. Single events are compared with that decoder; fait also makes an envelope for each.

    upcasting.py N -> JSON: the fold
    upcasting.py -> a table: single events (`make bench-upcasting`)
"""

import asyncio
import json
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
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
from fait._events.envelope import Envelope, EventSlice, RecordedEvent
from fait._events.registry import Registry, build_registry

__all__ = ["main"]

TURNS = 200
NAME, VERSION = "bench.order-changed", 4


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
    changes = (fait.renamed("order", "order_id"), fait.renamed("customer", "customer_id"), fait.defaulted("total", 0.0))
    return build_registry([OrderChanged], [fait.upcast(NAME, at, each) for at, each in enumerate(changes, 1)])


def decoding(n: int) -> dict[str, float]:
    """Measure ways of decoding the same events, in turn, in microseconds per event. The minimum of each counts."""
    codec, now = Codec(_registry()), datetime.now(UTC)
    datas = [codec.encode(_made(number), id="").data for number in range(n)]
    handled, plain = codec.registry.handled_types([OrderChanged]), msgspec.json.Decoder(OrderChanged).decode

    def recorded(version: int) -> list[RecordedEvent]:
        return [RecordedEvent(1, "order-1", 1, NAME, version, "", each, "{}", (), now, now) for each in datas]

    def by_codec(version: int) -> Callable[[int], None]:
        events = recorded(version)
        return lambda _turn: [codec.decode_all(each, handled) for each in events].clear()

    current = recorded(VERSION)
    ways: dict[str, Callable[[int], None]] = {
        "msgspec's decoder of the class": lambda _turn: [plain(each.data) for each in current].clear(),
        "the same, with an envelope in a list": lambda _turn: [[Envelope(plain(e.data), e)] for e in current].clear(),
        "fait, current version": by_codec(VERSION),
        "fait, 1 step": by_codec(VERSION - 1),
        "fait, 3 steps": by_codec(VERSION - 3),
    }
    took = {name: list[float]() for name in ways}
    for turn in range(TURNS):
        for name, decode in ways.items():
            took[name].append(timed(decode, [turn])[0])
    return {name: min(seconds) * 1e6 / n for name, seconds in took.items()}


def _table(us: dict[str, float]) -> str:
    with_envelope = us["the same, with an envelope in a list"]
    rows = [f"| {name} | {each:.2f} | {each / with_envelope:.2f} |" for name, each in us.items()]
    return "\n".join(["| one event is decoded by | µs | ratio to an envelope |", "|---|---|---|", *rows])


def _made(number: int) -> OrderChanged:
    fields = order(number)
    return OrderChanged(**{**fields, "items": [Item(**item) for item in fields["items"]]})


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(int(sys.argv[1])))) if sys.argv[1:] else _table(decoding(500)))
