"""A consumer calls a handler for each message of a topic, as a reactor does for events of the log.

The statements and events of the handler are stored in the transaction that remembers the message, so they take effect
once, however often the message is delivered.
"""

import os
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal, cast, get_origin

import msgspec
from msgspec import Struct

from fait._arguments import is_number
from fait._broker_errors import MalformedMessage
from fait._clock import Clock
from fait._decisions.client import Client
from fait._delivery.brokers.port import Broker
from fait._delivery.inbox.received_event import MappedMessage, ReceivedEvent, Reception, bounded_text
from fait._delivery.inbox.source import InboxSource, SourceSpec
from fait._delivery.wire.json_bounds import decode_json
from fait._delivery.wire.received import ReceivedMessage
from fait._delivery.wire.signature import check_key_variables, signing_keys
from fait._errors import DeclarationError, EventTooNew, UndecodableEvent, UnknownEventType, UsageError
from fait._events.codec import Codec
from fait._events.envelope import Envelope, RecordedEvent
from fait._events.event import event_type
from fait._store.ports.leases import Lease
from fait._store.ports.store import Store
from fait._subscriptions.event_source import OpenSource
from fait._subscriptions.reactor import Reactor, ReactorDefinition
from fait._subscriptions.subscription import SubscriptionDefinition, parts_of_options

if TYPE_CHECKING:
    from fait._decisions.definition_parts import DefinitionParts

if TYPE_CHECKING:
    from fait._delivery.brokers.destination import Destination

__all__ = ["ID_WINDOW_DAYS", "ConsumerDefinition", "MessageConsumer", "decoder_of"]

ID_WINDOW_DAYS: Final = 7
"""Default number of days for which ids of messages are kept."""

MAX_WINDOW_DAYS: Final = 10_000
"""Maximum number of days for which ids of messages are kept."""

MappingFunction = Callable[[ReceivedMessage], MappedMessage | None]


def is_class(form: object) -> bool:
    """Whether a form is a class, or a type such as `dict[str, int]`, and not a function."""
    return isinstance(form, type) or get_origin(form) is not None


class ConsumerDefinition(Struct, frozen=True, eq=False):
    """A consumer as declared with `app.consume`.

    Attributes:
        handler: the handler, with its options.
        topic: name of the topic.
        destination: URL of the broker, with variables in place of secrets.
        types: types of the CloudEvents that it handles; empty: all, or those of its event class.
        trusts: ids of the logs whose positions are believed, or variables that have them, as `${NAME}`.
        form: what the handler gets: an event class of the app, another class, or the result of a mapping function;
            None: the CloudEvent.
        id_window_days: number of days for which ids are kept.
        verify: variables that have the keys of signatures, as `${NAME}`; empty: messages need no signature.
        start: where it begins in the topic when it is new.
    """

    handler: ReactorDefinition
    topic: str
    destination: str
    types: tuple[str, ...] = ()
    trusts: tuple[str, ...] = ()
    form: type | MappingFunction | None = None
    id_window_days: float = ID_WINDOW_DAYS
    verify: tuple[str, ...] = ()
    start: Literal["beginning", "end"] = "beginning"

    @property
    def name(self) -> str:
        """Name of the subscription."""
        return self.handler.name

    @property
    def mapping(self) -> MappingFunction | None:
        """The mapping function; None if there is none."""
        return None if self.form is None or is_class(self.form) else cast("MappingFunction", self.form)

    @property
    def events(self) -> tuple[type, ...]:
        """The event class of the app that the handler gets, if it gets one."""
        return self.handler.events

    def __post_init__(self) -> None:
        name: Any = f"consumer {self.name!r}"
        for argument, value in (("the topic", self.topic), ("from_=", self.destination)):
            if not (isinstance(cast("Any", value), str) and value):
                raise DeclarationError(f"{name}: {argument} must be a text that is not empty; got {value!r}")
        for argument, texts in (("type=", self.types), ("trusts=", self.trusts)):
            if not all(isinstance(cast("Any", each), str) and each for each in texts):
                raise DeclarationError(f"{name}: {argument} takes texts that are not empty; got {texts!r}")
        check_key_variables(f"{name}: verify=", self.verify)
        if not (self.form is None or callable(self.form)):
            raise DeclarationError(f"{name}: as_= takes a class or a function; got {self.form!r}")
        if self.start not in ("beginning", "end"):
            raise DeclarationError(f"{name}: start= is 'beginning' or 'end'; got {self.start!r}")
        if not (is_number(self.id_window_days) and 1 <= self.id_window_days < MAX_WINDOW_DAYS):
            raise DeclarationError(
                f"{name}: id_window_days= is a number of days, from 1 to {MAX_WINDOW_DAYS:,}; got "
                f"{self.id_window_days!r}"
            )


class MessageConsumer(Reactor):
    """The subscription of a consumer.

    Attributes:
        definition: its definition.
        open_source: returns the source of its messages under a lease.
    """

    def __init__(self, consumer: ConsumerDefinition, codec: Codec, store: Store, client: Client, clock: Clock) -> None:
        self._consumer = consumer
        self._decoder = decoder_of(consumer.form)
        super().__init__(consumer.handler, codec, store.log, client)
        window = timedelta(days=consumer.id_window_days)
        connect, reported = partial(_open_broker, consumer.destination), set[str]()

        def open_source(lease: Lease) -> InboxSource:
            reception = self._reception()
            # fault: logs-reported-by-each-source
            spec = SourceSpec(consumer.name, consumer.topic, connect, reception, window, consumer.start, reported)
            return InboxSource(spec, store.inbox, store.registrations, clock, lease)

        self.open_source: OpenSource = open_source

    def _define(self) -> SubscriptionDefinition:
        from fait._delivery.brokers.place import place_of  # slow to import

        handler, consumer = self._reactor, self._consumer
        destination = _destination_of(consumer.destination)
        # Offsets mean nothing at another broker or for another topic.
        # fault: other-broker-read-from-old-offsets
        definition_hash = "" if destination is None else _hash_of(place_of(destination), consumer.topic)
        # fault: types-of-a-consumer-not-registered
        handled_types = tuple(sorted(map(bounded_text, self._types)))
        is_ordered = destination is None or destination.options.get("order") != "none"
        return SubscriptionDefinition(
            name=handler.name,
            kind="consumer",
            definition_hash=definition_hash,
            handled_types=handled_types,
            parts=self._parts,
            depends_on_environment=True,
            start="beginning",
            policy=handler.policy,
            batch=handler.batch,
            concurrency=handler.concurrency,
            order_key="message" if is_ordered else "any",
        )

    def _parts(self) -> "DefinitionParts":
        from fait._delivery.brokers.destination import shown_destination  # slow to import
        from fait._delivery.brokers.place import place_of

        consumer, destination = self._consumer, _destination_of(self._consumer.destination)
        broker = shown_destination(consumer.destination) if destination is None else place_of(destination)
        return parts_of_options({"topic": consumer.topic, "broker": broker})

    @property
    def _types(self) -> frozenset[str]:
        """Types of the CloudEvents that it handles; empty: all, or what its mapping function selects."""
        consumer = self._consumer
        return frozenset[str]() if consumer.mapping else frozenset(consumer.types or self._handled.stored_names)

    def _reception(self) -> Reception:
        consumer, declared = self._consumer, [event_type(each) for each in self._consumer.events]
        version = next((each.schema_version for each in declared if each is not None), 1)
        keys = signing_keys(consumer.verify, os.environ)
        from fait._delivery.brokers.destination import with_variables  # slow to import, and only a worker needs it

        trusts = frozenset(with_variables(each, os.environ) for each in consumer.trusts)
        return Reception(self._types, trusts, consumer.mapping, version, keys=keys)

    def _decode(self, event: RecordedEvent) -> list[Envelope[Any]]:
        received = cast("ReceivedEvent", event)
        if received.problem is not None:
            raise received.problem
        if self._consumer.events:
            return self._decode_event(received)
        if received.mapped is not None:
            return [Envelope(received.mapped.event, event)]
        assert received.received is not None
        return [Envelope(self._decoder(received.received), event)]

    def _decode_event(self, received: ReceivedEvent) -> list[Envelope[Any]]:
        """Decode a message to the event class; data that does not fit it is as malformed as any other content."""
        try:
            return super()._decode(received)
        except EventTooNew:
            # fault: claimed-version-stops-a-consumer
            if received.mark is not None or self._consumer.verify:  # newer code can handle it
                raise
            claim = f"it says that it has version {received.schema_version}, which is newer than this code"
            raise MalformedMessage(f"{claim}. If that is true, deploy newer code, then redrive it") from None
        except UnknownEventType:  # another declaration can handle it
            raise
        except UndecodableEvent as error:
            [event] = self._consumer.events
            # fault: data-of-another-shape-retried
            raise MalformedMessage(f"its data does not fit the class {event.__qualname__}: {error.reason}") from None


def _destination_of(text: str) -> "Destination | None":
    """Return the destination; None if a variable is missing in this process, which cannot run the consumer."""
    from fait._delivery.brokers.destination import destination_of  # slow to import

    try:
        return destination_of(text, os.environ)
    except UsageError:
        return None


def _hash_of(broker: str, topic: str) -> str:
    from hashlib import sha256  # here, as it is slow to import

    return sha256(f"{broker} {topic}".encode()).hexdigest()


async def _open_broker(destination: str) -> Broker:
    from fait._delivery.brokers.open import open_broker  # slow to import, and only a worker needs it

    return await open_broker(destination)


def decoder_of(form: Any) -> Callable[[ReceivedMessage], Any]:
    """Return what makes the handler's argument, of a form that is no event class, of a message that is a CloudEvent."""
    if not is_class(form):
        return lambda received: received.event
    decoder, name = msgspec.json.Decoder[Any](form), form.__qualname__

    def decode(received: ReceivedMessage) -> Any:
        try:
            # fault: depth-of-data-not-bounded
            return decode_json(received.data or b"null", decoder)
        except MalformedMessage:
            raise MalformedMessage(f"its data does not fit the class {name}, or is nested too deeply") from None

    return decode
