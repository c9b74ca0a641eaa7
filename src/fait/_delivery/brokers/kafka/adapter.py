"""Opens Kafka clusters: `kafka://host:9092,host:9092`, and `kafka+ssl:` with TLS. Imports the client library on use."""

from fait._delivery.brokers.destination import Destination
from fait._delivery.brokers.open import import_client
from fait._delivery.brokers.port import Broker

__all__ = ["open_broker"]


async def open_broker(destination: Destination, *, timeout_s: float) -> Broker:
    """Connect to a Kafka cluster and ask it for its limits."""
    import_client("confluent_kafka", "Kafka", "kafka")
    from fait._delivery.brokers.kafka.broker import KafkaBroker

    return await KafkaBroker.open(destination, timeout_s)
