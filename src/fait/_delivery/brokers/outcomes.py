"""Checks of a call of `Publisher.publish`, and its outcomes if messages are refused; for all adapters."""

from collections.abc import Mapping, Sequence

from fait._delivery.brokers.port import BrokerFeatures, Message, PublishOutcome, Refused, Unsent
from fait._errors import UsageError

__all__ = ["check_call", "outcomes_with_refused"]


def check_call(batch: Sequence[Message], features: BrokerFeatures, buckets: range) -> dict[int, Refused]:
    """Check a call before anything is sent.

    Args:
        batch: the messages.
        features: features of the broker.
        buckets: the buckets of the publisher.

    Returns:
        The messages that are refused because they are too large, by their index in the batch.

    Raises:
        UsageError: the batch is empty or too large, or it has a message of another bucket or with headers that the
            broker does not have.
    """
    if not 1 <= len(batch) <= features.maximum_batch:
        raise UsageError(f"a batch has 1 to {features.maximum_batch} messages, not {len(batch)}. Nothing was sent.")
    for each in batch:
        if each.bucket not in buckets:
            raise UsageError(f"message {each.id} is of bucket {each.bucket}, not of {buckets}. Nothing was sent.")
        if each.headers and not features.header_prefix:
            raise UsageError(f"message {each.id} has headers, and the broker has none. Nothing was sent.")
    # fault: size-not-checked
    return {n: refused for n, each in enumerate(batch) if (refused := _too_large(each, features))}


def _too_large(message: Message, features: BrokerFeatures) -> Refused | None:
    size, maximum = message.size, features.maximum_message_bytes
    if size <= maximum:
        return None
    return Refused(f"the message has {size:,} bytes, and the broker accepts {maximum:,}", "too-large")


def outcomes_with_refused(batch: Sequence[Message], refused: Mapping[int, Refused]) -> list[PublishOutcome]:
    """Return the outcomes of an atomic batch of which no message was accepted.

    Args:
        batch: the messages.
        refused: the refused messages, by their index.
    """
    return [refused.get(n, Unsent()) for n in range(len(batch))]
