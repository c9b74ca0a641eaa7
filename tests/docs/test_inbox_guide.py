"""The guide to consumers: its app handles messages of all kinds that it names."""

import re
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import apsw
import pytest

import fait
from fait._delivery.brokers.port import Source
from tests.inbox.topics import TIME, Topic, foreign, idle, new_topic

GUIDE = (Path(__file__).parents[2] / "docs" / "inbox.md").read_text("utf-8")
CODE = "\n".join(re.findall(r"^```python\n(.*?)^```$", GUIDE, re.DOTALL | re.MULTILINE))
LOG = "3f0f2c5e-orders"


def placed(position: int, quantity: int) -> fait.RecordedEvent:
    data = f'{{"sku":"a","quantity":{quantity}}}'
    id = f"00000000-0000-4000-8000-{position:012}"
    return fait.RecordedEvent(position, "order-1", 1, "orders.placed", 1, id, data, "{}", (), TIME, TIME)


async def test_app_of_the_guide_handles_each_message_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    url, file, names = f"memory:{uuid4().hex}", tmp_path / "stock.db", dict[str, Any]()
    with closing(apsw.Connection(str(file))) as connection:
        connection.execute("CREATE TABLE shelf (sku TEXT, quantity INTEGER); INSERT INTO shelf VALUES ('a', 10)")
    monkeypatch.setenv("ORDERS_BROKER", url)
    monkeypatch.setenv("ORDERS_LOG", LOG)
    async with new_topic(url) as orders, new_topic(url) as counts:
        exec(CODE.replace('"orders",', f'"{orders.name}",').replace('"counts",', f'"{counts.name}",', 1), names)
        await _publish(orders, counts)
        async with names["stock"].open(f"sqlite:///{file}") as s:
            for name, count in {"reserve": 3, "take_from_shelf": 3, "ship": 3, "count": 2}.items():
                await idle(s, count, name)
            events = [(each.stream, each.event.quantity) async for each in s.events()]

    assert sorted(events) == [("counts", 7), ("parcel-a", 2), ("parcel-a", 3), ("sku-a", 2), ("sku-a", 3)]
    with closing(apsw.Connection(str(file))) as connection:
        assert connection.execute("SELECT quantity FROM shelf").fetchall() == [(5,)]


async def _publish(orders: Topic, counts: Topic) -> None:
    source = Source(LOG, "epoch", "relay")
    await orders.publish(placed(1, 2), placed(2, 3), placed(1, 2), source=source)
    await counts.send([foreign("a", {}, b'{"n":7,"uuid":"u","sku":"a"}') for _ in range(2)])
