"""Opens RabbitMQ servers: `amqp://host:5672/vhost`, and `amqps:` with TLS. Imports the client library on use."""

from fait._delivery.brokers.destination import Destination
from fait._delivery.brokers.open import import_client
from fait._delivery.brokers.port import Broker

__all__ = ["open_broker"]


async def open_broker(destination: Destination, *, timeout_s: float) -> Broker:
    """Connect to a RabbitMQ server."""
    import_client("aiormq", "RabbitMQ", "rabbitmq")
    from fait._delivery.brokers.rabbitmq.broker import RabbitmqBroker

    return await RabbitmqBroker.open(destination, timeout_s)
