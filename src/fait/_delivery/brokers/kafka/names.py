"""The names at the cluster: topics, transactional ids, and keys of what publishers record."""

from fait._delivery.brokers.port import Source
from fait._delivery.text_codes import encode_token

__all__ = ["publisher_name", "records_topic", "topic_name"]


def topic_name(topic: str) -> str:
    """Return the name of a topic at the cluster.

    It is the same, unless it has both `.` and `_`, which Kafka does not distinguish: then `_` is written as `U`. Names
    of topics have no upper-case letters otherwise.
    """
    return topic.replace("_", "U") if "." in topic else topic


def records_topic(topic: str) -> str:
    """Return the name of the topic in which the publishers of a topic record who they are and their position."""
    return f"{topic_name(topic)}.Publishers"


def publisher_name(source: Source, buckets: range) -> str:
    """Return the name of a publisher in the records of a topic."""
    return f"{encode_token(source.log_id)}/{encode_token(source.relay)}/{buckets.start}-{buckets.stop}"
