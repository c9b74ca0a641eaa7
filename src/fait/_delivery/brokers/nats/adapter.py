"""Opens NATS servers: `nats://host:4222`, with JetStream. Imports the client library on use."""

from fait._delivery.brokers.destination import Destination
from fait._delivery.brokers.open import import_client
from fait._delivery.brokers.port import Broker

__all__ = ["open_broker"]


async def open_broker(destination: Destination, *, timeout_s: float) -> Broker:
    """Connect to a NATS server and ask it for its limits."""
    import_client("nats", "NATS", "nats")
    from fait._delivery.brokers.nats.broker import NatsBroker

    return await NatsBroker.open(destination, timeout_s)
