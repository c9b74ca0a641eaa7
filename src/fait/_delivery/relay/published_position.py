"""Up to which position of the log a broker already has the messages of a relay, by bucket."""

from collections.abc import Mapping
from itertools import pairwise

from fait._broker_errors import BrokerAhead
from fait._delivery.brokers.port import Progress, Source
from fait._store.ports.log import Log

__all__ = ["published_positions"]


async def published_positions(
    log: Log, progress: Mapping[int, Progress], buckets: range, broker: str, source: Source
) -> dict[int, int]:
    """Return the position of the log up to which the broker has accepted all messages, except for those of failed keys.

    Args:
        log: the log.
        progress: what the broker stores, by bucket.
        buckets: the buckets.
        broker: URL of the broker, without passwords.
        source: the source.

    Returns:
        The position of each bucket; 0 if the broker stores none. If it stores a position of an earlier epoch, events
        that the log lost at the end of that epoch do not count.

    Raises:
        BrokerAhead: the broker has events that the log does not have.
    """
    positions = {each: await _published_position(log, each, broker, source) for each in set(progress.values())}
    return {bucket: positions[progress[bucket]] if bucket in progress else 0 for bucket in buckets}


async def _published_position(log: Log, progress: Progress, broker: str, source: Source) -> int:
    epochs = await log.epochs()
    following = {each.epoch_id: after for each, after in pairwise(epochs)}
    if (successor := following.get(progress.epoch_id)) is not None:
        return min(progress.position, successor.after_position)
    head = await log.last_position()
    # fault: broker-ahead-not-noticed
    if progress.epoch_id != source.epoch_id or progress.position > head:
        raise BrokerAhead(broker, source.relay, progress.position, head)
    return progress.position
