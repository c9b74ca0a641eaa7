"""Opens Redis servers: `redis://host:6379/0`, and `rediss:` with TLS. Imports the client library on use."""

from fait._delivery.brokers.destination import Destination
from fait._delivery.brokers.open import import_client
from fait._delivery.brokers.port import Broker

__all__ = ["open_broker"]


async def open_broker(destination: Destination, *, timeout_s: float) -> Broker:
    """Connect to a Redis server and ask it for its limits."""
    import_client("redis", "Redis", "redis")
    from fait._delivery.brokers.redis.broker import RedisBroker

    return await RedisBroker.open(destination, timeout_s)
