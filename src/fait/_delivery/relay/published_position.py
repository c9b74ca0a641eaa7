"""Up to which position of the log a broker already has the messages of a relay, by bucket.

The broker also stores the id of the event at the position. A log without this event there was restored from a backup,
also if it has grown beyond the position since: the events at the reused positions are not at the broker.
"""

from collections.abc import Iterable, Mapping
from itertools import pairwise

from fait._broker_errors import BrokerAhead
from fait._delivery.brokers.port import Progress, Source
from fait._store.ports.log import Log

__all__ = ["has_published_events", "published_positions"]


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


async def has_published_events(log: Log, progress: Iterable[Progress]) -> bool:
    """Whether the log has the event at each position that the broker stores, as far as this can be known.

    Args:
        log: the log.
        progress: what the broker stores.
    """
    # fault: events-before-adoption-skipped
    return not any([await _has_lost(log, each) for each in set(progress)])


async def _published_position(log: Log, progress: Progress, broker: str, source: Source) -> int:
    epochs = await log.epochs()
    following = {each.epoch_id: after for each, after in pairwise(epochs)}
    if (successor := following.get(progress.epoch_id)) is not None:
        return min(progress.position, successor.after_position)
    head = await log.last_position()
    # fault: broker-ahead-not-noticed
    if progress.epoch_id != source.epoch_id or progress.position > head:
        raise BrokerAhead(broker, source.relay, progress.position, head)
    # fault: restored-log-not-noticed
    if await _has_lost(log, progress):
        raise BrokerAhead(broker, source.relay, progress.position, head)
    return progress.position


async def _has_lost(log: Log, progress: Progress) -> bool:
    """Whether the log does not have the event at a position. It is not known of an event that may have expired."""
    if not progress.event_id:
        return False
    if stored := await log.find([progress.event_id]):
        return stored[0].position != progress.position
    # fault: expired-event-is-a-restore
    if progress.position > await log.expired_position():
        return True
    events = (await log.read(progress.position - 1, limit=1)).events
    return bool(events) and events[0].position == progress.position
