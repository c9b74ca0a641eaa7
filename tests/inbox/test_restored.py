"""What follows when the database of a consumer is restored: it reads again, and its handlers run and publish again."""

import json
from pathlib import Path
from uuid import uuid4

import pytest

import fait
from fait._store.open import open_admin
from tests.inbox.topics import Placed, Reserved, Topic, idle, new_topic, placed


async def test_restored_consumer_database_reads_again_what_was_lost_with_it(tmp_path: Path) -> None:
    file, copy, seen = tmp_path / "stock.db", tmp_path / "copy.db", list[int]()
    async with new_topic(f"memory:{uuid4().hex}") as topic:
        app = fait.App("stock")

        @app.consume(topic.name, from_=topic.url, as_=Placed, trusts=["log-1"], name="consumer")
        async def handle(event: Placed) -> None:
            seen.append(event.number)

        await topic.publish(*[placed(number, "a") for number in range(1, 6)])
        async with app.open(f"sqlite:///{file}") as s:
            await idle(s, 5)
        await open_admin(f"sqlite:///{file}").backup(str(copy), lambda _done, _total: None)
        await topic.publish(*[placed(number, "a") for number in range(6, 9)])
        async with app.open(f"sqlite:///{file}") as s:
            await idle(s, 8)
        await open_admin(f"sqlite:///{copy}").adopt(in_place=True, dry_run=False)
        async with app.open(f"sqlite:///{copy}") as s:
            await idle(s, 8)
            assert (await s.status())[0].parked == 0

    assert seen == [1, 2, 3, 4, 5, 6, 7, 8, 6, 7, 8]


def stock_of(orders: Topic, reserved: Topic, *, with_key: bool) -> fait.App:
    app = fait.App("stock")
    app.relay(Reserved, to=reserved.url, topic=reserved.name, start="beginning")

    @app.consume(orders.name, from_=orders.url, as_=Placed, trusts=["log-1"], name="reserve")
    async def reserve(event: Placed, ctx: fait.Context) -> None:
        client = ctx.using(key=ctx.envelope.id, scope="reserve") if with_key else ctx
        await client.publish(Reserved(event.order, event.number), stream=f"sku-{event.order}")

    return app


def invoices_of(topic: Topic, numbers: list[int], trusts: list[str], *, by_id: bool) -> fait.App:
    app = fait.App("invoices")

    def mapped(message: fait.ReceivedMessage) -> fait.MappedMessage:
        assert message.event is not None
        number = json.loads(message.data or b"null")["number"]
        return fait.MappedMessage(number, id=str(message.event.attributes["id"]), source="stock")

    def invoice(event: Reserved | int) -> None:
        numbers.append(event if isinstance(event, int) else event.number)

    options = {"as_": mapped} if by_id else {"as_": Reserved, "trusts": trusts}
    app.consume(topic.name, from_=topic.url, name="invoice", **options)(invoice)
    return app


@pytest.mark.parametrize(("with_key", "by_id", "expected"), [
    (False, False, [1, 2, 3, 2, 3]),
    (True, False, [1, 2, 3, 2, 3]),
    (False, True, [1, 2, 3, 2, 3]),
    (True, True, [1, 2, 3]),
])  # fmt: skip
async def test_restored_consumer_publishes_again_what_was_lost_and_it_is_recognized_by_ids_that_follow_from_a_key(
    tmp_path: Path, with_key: bool, by_id: bool, expected: list[int]
) -> None:
    file, copy, numbers, memory = tmp_path / "stock.db", tmp_path / "copy.db", list[int](), f"memory:{uuid4().hex}"
    async with new_topic(memory, lanes=1) as orders, new_topic(memory, lanes=1) as reserved:
        stock = stock_of(orders, reserved, with_key=with_key)
        await orders.publish(placed(1, "a"))
        async with stock.open(f"sqlite:///{file}") as s:
            log_id = s.store.log.identity.log_id
            await idle(s, 1, "reserve")
            await s.wait()
        await open_admin(f"sqlite:///{file}").backup(str(copy), lambda _done, _total: None)
        await orders.publish(placed(2, "a"), placed(3, "a"))
        async with stock.open(f"sqlite:///{file}") as s:
            await idle(s, 3, "reserve")
            await s.wait()
        await open_admin(f"sqlite:///{copy}").adopt(in_place=True, dry_run=False)
        async with stock.open(f"sqlite:///{copy}") as s:
            await idle(s, 3, "reserve")
            await s.wait()

        async with invoices_of(reserved, numbers, [log_id], by_id=by_id).open("memory:") as s:
            await idle(s, 5, "invoice")

    assert numbers == expected
