"""To which topic, and under which key, a relay publishes an event."""

from collections.abc import Iterable
from typing import Any, Final

from fait._broker_errors import MessageRefused
from fait._delivery.brokers.topics import is_topic
from fait._delivery.relay.definition import RelayDefinition
from fait._errors import UsageError
from fait._events.codec import Codec
from fait._events.envelope import RecordedEvent
from fait._events.registry import HandledTypes
from fait._events.stream import MAX_NAME_CHARS, category_of

__all__ = ["Routing"]

MAX_KEPT_KEYS: Final = 10_000
"""Maximum number of keys that are kept, because each is needed several times."""


class Routing:
    """Topics and keys of the events of a relay.

    Args:
        relay: the relay.
        codec: decodes the events for the functions of the relay.
        handled: the event types of the relay.
    """

    def __init__(self, relay: RelayDefinition, codec: Codec, handled: HandledTypes) -> None:
        self._relay = relay
        self._codec = codec
        self._handled = handled
        self._keys: dict[int, str] = {}  # by position

    def key_of(self, event: RecordedEvent) -> str:
        """Return the key of an event.

        Raises:
            UsageError: the function has returned no key.
            Exception: the event cannot be decoded, or the function raised it.
        """
        if self._relay.key is None:
            return event.stream
        if (key := self._keys.get(event.position)) is None:
            if len(self._keys) >= MAX_KEPT_KEYS:
                self._keys.clear()
            key = self._keys[event.position] = self._own_key(event)
        return key

    def _own_key(self, event: RecordedEvent) -> str:
        assert self._relay.key is not None
        keys = {self._relay.key(each) for each in self._decoded(event)} or {event.stream}
        if len(keys) == 1 and _is_key(key := keys.pop()):
            return key
        raise UsageError(
            f"the function key= of relay {self._relay.name!r} must return one text of 1 to {MAX_NAME_CHARS} "
            f"characters; for event {event.id} at position {event.position} it does not. Nothing of the relay is "
            "published until it does: any key may be concerned."
        )

    def topic_of(self, event: RecordedEvent) -> str | None:
        """Return the topic of an event; None if the event is not published.

        Raises:
            MessageRefused: the function has returned no topic.
            Exception: the event cannot be decoded, or the function raised it.
        """
        relay = self._relay
        if relay.category is not None and category_of(event.stream) != relay.category:
            return None
        if isinstance(relay.topic, str):
            return relay.topic
        topics = set(map(relay.topic, self._decoded(event))) or {None}
        topic = topics.pop()
        if topics or not (topic is None or is_topic(topic)):
            raise MessageRefused("topic", "the function topic= of the relay has not returned the name of one topic")
        return topic

    def _decoded(self, event: RecordedEvent) -> Iterable[Any]:
        return (each.event for each in self._codec.decode_all(event, self._handled))


def _is_key(key: object) -> bool:
    """Whether stores and brokers can represent a key."""
    if not isinstance(key, str) or not 0 < len(key) <= MAX_NAME_CHARS:
        return False
    return not any(each == "\0" or "\ud800" <= each <= "\udfff" for each in key)
