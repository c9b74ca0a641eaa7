"""A message of a broker in the form in which a processor handles events.

The identity of a message decides whether it is new. It is a position for messages of a trusted log, whose marks are
believed; else the id that its program gave it, or its place at the broker if it has none.
"""

from base64 import b64encode
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from fait._broker_errors import MalformedMessage
from fait._delivery.brokers.port import ConsumedMessage, Lane
from fait._delivery.wire.cloud_event import CloudEvent, parse_time
from fait._delivery.wire.outgoing import bucket_of
from fait._delivery.wire.provenance import Provenance, source_text
from fait._delivery.wire.received import Bounds, ReceivedMessage, received_message
from fait._delivery.wire.signature import SigningKey, is_signed
from fait._errors import UsageError
from fait._events.envelope import RecordedEvent
from fait._store.ports.inbox import MAX_TEXT_BYTES, FloorKey, MarkKey, MessageId

__all__ = ["MappedMessage", "ReceivedEvent", "Reception", "bounded_text"]

MAX_POSITION: Final = 2**63 - 1
"""Maximum position of a message, as databases store it."""

Mapping = Callable[[ReceivedMessage], "MappedMessage | None"]


class MappedMessage(Struct, frozen=True):
    """What a mapping function makes of a message, of any form.

    A function that raises `MalformedMessage` says that its program must publish the message again, correctly: it is
    set aside at once. Any other error is one of the handler's code: the message is retried, then parked.

    Attributes:
        event: what the handler gets.
        id: id of the message, the same whenever it is published again; "": that of its CloudEvent. If it is none, only
            redeliveries of the broker are recognized.
        key: messages with the same key are handled in order; None: the key that the message has at the broker.
        source: the program for which the id is unique.
    """

    event: Any
    id: str = ""
    key: str | None = None
    source: str = ""


class ReceivedEvent(RecordedEvent, frozen=True, kw_only=True, gc=True):
    """A message as an event.

    Its position is the number under which it was received, and its stream the order key: messages with the same one are
    handled in order.

    Attributes:
        lane: its lane.
        message: the message, as the broker has delivered it.
        received: the decoded message; None if it is malformed.
        mark: its mark, if it is one of a trusted log.
        source_position: its position in that log; 0 if it is not one of a trusted log.
        bucket: bucket of its key, if it has a mark.
        floor: all events of this source and bucket in the lane up to this position come before it.
        identity: its id, if it has no mark.
        mapped: what the mapping function made of it.
        problem: why it cannot be handled; None if it can.
    """

    lane: Lane
    message: ConsumedMessage
    received: ReceivedMessage | None
    mark: MarkKey | None = None
    source_position: int = 0
    bucket: int = 0
    floor: int = 0
    identity: MessageId | None = None
    mapped: MappedMessage | None = None
    problem: Exception | None = None

    @property
    def floor_key(self) -> FloorKey:
        """What its floor is for, if it has a mark."""
        assert self.mark is not None
        return FloorKey(self.mark.source, self.bucket, self.lane.number)

    @property
    def log_id(self) -> str:
        """Id of the log that it says it is of; "" if it is none of fait."""
        provenance = self.received.provenance if self.received else None
        return bounded_text(provenance.source.log_id) if provenance else ""

    @property
    def untrusted_mark(self) -> MarkKey | None:
        """The mark that it would have if its log was trusted; None if it is, or if there is no log."""
        provenance = self.received.provenance if self.received else None
        return _mark_of(provenance) if provenance and self.mark is None else None

    @property
    def former_identity(self) -> MessageId | None:
        """The id by which it was recognized if its log was not trusted before; None if it has none."""
        event = self.received.event if self.received else None
        return _foreign_id(event, self.mapped)


class Reception(Struct, frozen=True, eq=False):
    """Turns messages into events, and selects those that are handled.

    Attributes:
        types: types of the CloudEvents that are handled; empty: all.
        trusts: ids of the logs whose positions are believed.
        mapping: turns messages into what the handler gets.
        schema_version: schema version of data that does not say it.
        bounds: what is accepted.
        keys: keys of signatures, one of which each handled message must have; empty: none is needed.
        registered: types that the consumer is registered for, so that other code handles them; empty: all; None: none
            but `types`.
    """

    types: frozenset[str]
    trusts: frozenset[str]
    mapping: Mapping | None = None
    schema_version: int = 1
    bounds: Bounds = Bounds()
    keys: tuple[SigningKey, ...] = ()
    registered: frozenset[str] | None = None

    def event(
        self, number: int, lane: Lane, message: ConsumedMessage, now: datetime, order_key: str | None = None
    ) -> ReceivedEvent | None:
        """Return a message as an event; None if it is not handled.

        Args:
            number: its number.
            lane: its lane.
            message: the message.
            now: the current time.
            order_key: its order key, of a stored message; other code might derive another one.
        """
        event = self._new_event(number, lane, message, now)
        return event if event is None or order_key is None else replace(event, stream=order_key)

    def _new_event(self, number: int, lane: Lane, message: ConsumedMessage, now: datetime) -> ReceivedEvent | None:
        try:
            received = received_message(message, self.bounds)
            if not self.mapping and received.event is not None and not self._handles(received.event):
                return None
            self._check_signature(received, lane.topic)
            mapped = self._map(received)
            is_handled = mapped is not None or not self.mapping
            return self._event(number, lane, message, now, received, mapped) if is_handled else None
        except Exception as error:  # whatever is wrong with a message concerns no other one
            return _malformed(number, lane, message, now, error)

    def _map(self, received: ReceivedMessage) -> MappedMessage | None:
        event, provenance = received.event, received.provenance
        # fault: position-out-of-range-accepted
        if provenance is not None and not 0 < provenance.position <= MAX_POSITION:
            raise MalformedMessage("the attribute sequence of an event of fait is no position of a log")
        # fault: floor-at-own-position-accepted
        if provenance is not None and provenance.floor >= provenance.position:
            raise MalformedMessage("the attribute faitfloor of an event of fait is not below its position")
        if self.mapping is not None:
            return self._checked(self.mapping(received))
        if event is None:
            raise MalformedMessage("it has not the form of CloudEvents, and the consumer has no mapping function")
        return None

    def _checked(self, mapped: Any) -> MappedMessage | None:
        """Return the result of the mapping function if it has the right types."""
        if mapped is None:
            return None
        if not isinstance(mapped, MappedMessage):
            raise self._wrong_type("its result", "a MappedMessage or None", mapped)
        for name, value in (("id", mapped.id), ("source", mapped.source), ("key", mapped.key)):
            # fault: wrong-types-of-a-mapped-message
            if not (isinstance(value, str) or (name == "key" and value is None)):  # pyright: ignore[reportUnnecessaryIsInstance]
                wanted = "a str or None" if name == "key" else "a str"
                raise self._wrong_type(f"{name}= of its MappedMessage", wanted, value)
        return mapped

    def _wrong_type(self, subject: str, wanted: str, value: object) -> UsageError:
        name = getattr(self.mapping, "__qualname__", "")
        return UsageError(
            f"the mapping function {name}: {subject} must be {wanted}, not {type(value).__qualname__}. The message was "
            "not handled; correct the function"
        )

    def _handles(self, event: CloudEvent) -> bool:
        type, registered = event.text("type") or "", self.registered
        if not self.types or type in self.types:
            return True
        # fault: consumer-passes-over-added-types
        return registered is not None and (not registered or bounded_text(type) in registered)

    def _check_signature(self, received: ReceivedMessage, topic: str) -> None:
        # fault: signature-not-required
        if self.keys and (received.event is None or not is_signed(received.event, topic, self.keys)):
            raise MalformedMessage("it has no signature of a key that the consumer accepts (verify=)")

    def _event(
        self,
        number: int,
        lane: Lane,
        message: ConsumedMessage,
        now: datetime,
        received: ReceivedMessage,
        mapped: MappedMessage | None,
    ) -> ReceivedEvent:
        mark, position, identity = self._identity(lane, message, received, mapped)
        event, provenance = received.event, received.provenance
        key = received.key if mapped is None or mapped.key is None else mapped.key
        # A message without a key has no order: a key of its own lets no other message wait for it.
        order_key = (
            bounded_text(key) if key is not None else bounded_text(f"{lane.topic}/{lane.number}/{message.offset}")
        )
        id = (event.text("id") if event else None) or (mapped.id if mapped else "") or message.offset
        return ReceivedEvent(
            number, order_key, 1,
            bounded_text(event.text("type") or "") if event else "",
            provenance.schema_version if provenance else self.schema_version, bounded_text(id), _data_text(received),
            _metadata(received, key), (), now, _occurred_at(received) or now,
            lane=lane, message=message, received=received, mark=mark, source_position=position,
            bucket=bucket_of(provenance.key) if provenance else 0, floor=provenance.floor if provenance else 0,
            identity=identity, mapped=mapped,
        )  # fmt: skip

    def _identity(
        self, lane: Lane, message: ConsumedMessage, received: ReceivedMessage, mapped: MappedMessage | None
    ) -> tuple[MarkKey | None, int, MessageId | None]:
        provenance, event = received.provenance, received.event
        # fault: foreign-position-believed
        if provenance is not None and provenance.source.log_id in self.trusts:
            return _mark_of(provenance), provenance.position, None
        return None, 0, _foreign_id(event, mapped) or _place(lane, message)


def _mark_of(provenance: Provenance) -> MarkKey:
    # fault: mark-without-key
    return MarkKey(bounded_text(source_text(provenance.source)), bounded_text(provenance.key))


def _foreign_id(event: CloudEvent | None, mapped: MappedMessage | None) -> MessageId | None:
    """Return what a message of another program is recognized by: the id of the mapping function, or its own."""
    # fault: mapped-id-ignored
    if mapped is not None and mapped.id:
        return MessageId(bounded_text(mapped.source), bounded_text(mapped.id))
    if event is None:
        return None
    return MessageId(bounded_text(str(event.attributes["source"])), bounded_text(str(event.attributes["id"])))


def _malformed(number: int, lane: Lane, message: ConsumedMessage, now: datetime, problem: Exception) -> ReceivedEvent:
    """Return a message that cannot be decoded, as an event that fails."""
    identity = _place(lane, message)
    order_key = bounded_text(message.key) if message.key is not None else f"{identity.source}/{identity.id}"
    return ReceivedEvent(
        number, order_key, 1, "", 1, message.offset, "", "{}", (), now, now,
        lane=lane, message=message, received=None, identity=identity, problem=problem,
    )  # fmt: skip


def _place(lane: Lane, message: ConsumedMessage) -> MessageId:
    """Return the identity of a message that has no other: its place at the broker."""
    return MessageId(f"{lane.topic}/{lane.number}", bounded_text(message.offset))


def bounded_text(text: str) -> str:
    """Return a text as part of a primary key: one that is too long, or that not every store accepts, as its hash."""
    encoded = text.encode(errors="surrogatepass")
    if len(encoded) <= MAX_TEXT_BYTES and "\0" not in text and encoded.decode(errors="replace") == text:
        return text
    from hashlib import sha256  # here, as it is slow to import

    return f"sha256:{sha256(encoded).hexdigest()}"


def _data_text(received: ReceivedMessage) -> str:
    """Return the data as JSON text."""
    data = received.data
    if data is None:
        return "null"
    if received.event is not None and received.event.is_json:
        try:
            return data.decode()
        except UnicodeDecodeError:
            raise MalformedMessage("the data is not UTF-8") from None
    return msgspec.json.encode(b64encode(data).decode()).decode()


def _metadata(received: ReceivedMessage, key: str | None) -> str:
    event, values = received.event, dict[str, Any]()
    # fault: key-not-in-the-metadata
    extra = {} if key is None else {"key": bounded_text(key)}
    if event is not None:
        names = {"correlation_id": "correlationid", "causation_id": "causationid", "traceparent": "traceparent"}
        texts = {name: event.text(attribute) for name, attribute in names.items()}
        values = {name: bounded_text(text) for name, text in texts.items() if text}
        extra["source"] = bounded_text(event.text("source") or "")
    return msgspec.json.encode({**values, "extra": extra}).decode()


def _occurred_at(received: ReceivedMessage) -> datetime | None:
    time = received.event.text("time") if received.event else None
    return parse_time(time) if time else None
