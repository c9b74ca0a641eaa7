"""Two services whose processes and servers are disturbed: orders, with a relay, and stock, with a consumer.

Both are connected only by the broker. The consumer has an effect of each kind for a message, a row and an event, and
fails at random after its effects.
"""

import os
import random
from typing import cast

import fait
from fait._delivery.inbox.received_event import ReceivedEvent
from tests.fleet.app import pause

TOPIC = "orders"
LANES = 8
RELAY = "relay-orders"
CONSUMER = "consumer"
BROKER = "${DELIVERY_BROKER}"
FAILURE_RATIO = 0.01
RETRY_FOREVER = fait.FailurePolicy(initial_s=0.02, max_s=0.2, attempts=None)

CREATE_EFFECTS = "CREATE TABLE effects (id {identity}, key TEXT NOT NULL, number BIGINT NOT NULL)"


@fait.event("delivery.placed")
class Placed:
    """A line of an order.

    Attributes:
        number: the version that its stream has with it.
    """

    number: int
    text: str


@fait.event("delivery.reserved")
class Reserved:
    number: int


class Order(fait.Aggregate, category="order"):
    """An order, to which lines are added."""

    lines: int = 0

    def place(self, sizes: list[int]) -> None:
        """Add a line of each of these sizes."""
        for size in sizes:
            self.emit(Placed(self.lines + 1, "x" * size))

    def evolve(self, event: Placed) -> None:
        self.lines = event.number


orders = fait.App("orders")
orders.include(Order)
orders.relay(Placed, to=BROKER, topic=TOPIC, name=RELAY, start="beginning")

stock = fait.App("stock")
stock.include(Reserved)


@stock.consume(
    TOPIC, from_=BROKER, as_=Placed, trusts=[os.environ.get("DELIVERY_LOG", "none")], name=CONSUMER,
    batch=20, concurrency=4, on_failure=RETRY_FOREVER,
)  # fmt: skip
async def reserve(event: Placed, ctx: fait.Context) -> None:
    message = cast("ReceivedEvent", ctx.envelope.recorded_event).received
    assert message is not None
    assert message.provenance is not None
    key = message.provenance.key  # without order, the message's order key is another one
    ctx.execute("INSERT INTO effects (key, number) VALUES ($1, $2)", key, event.number)
    await ctx.publish(Reserved(event.number), stream=f"stock-{key}")
    await pause()  # so that a process is often killed or stopped between an effect and its record
    if random.random() < FAILURE_RATIO:
        raise RuntimeError("fails at random")
