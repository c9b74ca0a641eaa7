"""The exceptions of brokers, relays and consumers; the others are in `_errors`.

FaitError
├── BrokerUnavailable       the broker cannot be reached, or accepts nothing at the moment; see `.outcome`
├── Fenced                  another publisher of the same relay has replaced this one
├── MessageRefused          a relay cannot publish an event: its message is too large, for example
├── TopologyMismatch        a topic of the broker is missing or not as it must be
├── BrokerLostMessages      the broker of a relay stores a lower position than before
├── OffsetLost              a topic does not have the last message that a consumer has read
├── BrokerAhead             the broker stores a position that this log does not have
└── MalformedMessage        a message of a broker is not the event that it says it is
"""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Literal

from fait._errors import FaitError

__all__ = [
    "BrokerAhead",
    "BrokerLostMessages",
    "BrokerPurpose",
    "BrokerUnavailable",
    "Fenced",
    "MalformedMessage",
    "MessageRefused",
    "OffsetLost",
    "TopologyMismatch",
    "broker_needed_to",
]


class BrokerUnavailable(FaitError):
    """The broker cannot be reached, did not answer in time, or accepts nothing at the moment.

    Attributes:
        broker: URL of the broker, without passwords.
        reason: what happened.
        outcome: "not_sent": certainly no message was accepted. "unknown": the broker may have accepted each message of
            the call.
        purpose: what it was needed for: a relay to "publish", a consumer to "consume", `fait broker check` to "check";
            "": another call.
    """

    def __init__(self, broker: str, reason: str, outcome: Literal["not_sent", "unknown"] = "not_sent") -> None:
        self.broker = broker
        self.reason = reason
        self.outcome: Literal["not_sent", "unknown"] = outcome
        self.purpose: BrokerPurpose = ""
        super().__init__(broker, reason, outcome)

    def __str__(self) -> str:
        was_sent = "No message was sent." if self.outcome == "not_sent" else "Each message may have been accepted."
        consequences: Mapping[BrokerPurpose, str] = {
            "publish": f"{was_sent} The events stay in the log. The relay connects again by itself, and publishes them "
            "from its checkpoint. If this lasts, run: fait broker check URL",
            "consume": "No message is handled, and none is lost. The consumer connects again by itself, and continues "
            "with the first message that is not handled. If this lasts, run: fait broker check URL",
            "check": "The check was not made; with --create, topics may have been created. Start the broker, or "
            "correct the URL, and run the command again",
            "": f"{was_sent} Close this connection, and try again with another one after a delay",
        }
        return f"broker {self.broker} is not available: {self.reason}. {consequences[self.purpose]}"


BrokerPurpose = Literal["publish", "consume", "check", ""]
"""What a broker is needed for."""


@contextmanager
def broker_needed_to(purpose: BrokerPurpose) -> Generator[None, None, None]:
    """Let a `BrokerUnavailable` of the block say what the broker was needed for."""
    try:
        yield
    except BrokerUnavailable as error:
        # fault: purpose-of-an-outage-not-named
        error.purpose = purpose
        raise


class Fenced(FaitError):
    """Another publisher of the same relay has replaced this one. No message of the call was accepted.

    Attributes:
        broker: URL of the broker, without passwords.
        relay: name of the relay.
        reason: how this was noticed.
    """

    def __init__(self, broker: str, relay: str, reason: str) -> None:
        self.broker = broker
        self.relay = relay
        self.reason = reason
        super().__init__(
            f"this publisher of relay {relay!r} was fenced at broker {broker}: {reason}. No message of this call was "
            "accepted, and the publisher accepts no more; its successor continues. If no other worker runs the relay, "
            "look for a copy of the database whose log was not adopted: fait log adopt --store URL."
        )


class MessageRefused(FaitError):
    """A relay cannot publish an event, because the broker can never accept its message. It was not sent.

    The key of the event is parked at once, unless `on_failure` of the relay says otherwise.

    Attributes:
        code: a short name of the reason, which does not change, such as "too-large"; see `fait.broker.Refused`.
        reason: what is wrong with the message, without its content.
    """

    def __init__(self, code: str, reason: str) -> None:
        self.code = code
        self.reason = reason
        super().__init__(
            f"{code}: {reason}. The event was not published. Repair the cause; if its key is parked, publish it then: "
            "fait parked redrive."
        )


class TopologyMismatch(FaitError):
    """Topics of the broker are missing or not as they must be. Nothing was sent to them, or received.

    Attributes:
        broker: URL of the broker, without passwords.
        problems: what is wrong, by topic.
    """

    def __init__(self, broker: str, problems: Mapping[str, str]) -> None:
        self.broker = broker
        self.problems: dict[str, str] = dict(problems)
        listed = "; ".join(f"topic {topic!r} {problem}" for topic, problem in problems.items())
        super().__init__(
            f"topics of broker {broker} are not as they must be: {listed}. No message was sent or received. "
            "Create a missing topic: fait broker check URL --topic NAME=LANES --create. Or restore its settings. Drain "
            "a topic before its lanes change, because keys move."
        )


class BrokerLostMessages(FaitError):
    """The broker of a relay stores a lower position than before: it lost messages that it had confirmed.

    Attributes:
        broker: URL of the broker, without passwords.
        relay: name of the relay.
        position: the lowest position that the broker stores for keys of which it has lost messages; 0: none.
        confirmed: the highest position that it had confirmed.
    """

    def __init__(self, broker: str, relay: str, position: int, confirmed: int) -> None:
        self.broker = broker
        self.relay = relay
        self.position = position
        self.confirmed = confirmed
        super().__init__(
            f"broker {broker} has messages of relay {relay!r} up to position {position}, but confirmed them up to "
            f"{confirmed}: it lost the messages between, as after a failover or a power failure, its topic was "
            "deleted, or a variable names another broker than before. Nothing was sent, and the relay waits. Publish "
            f"the events again from the log: fait rewind {relay} --app MODULE:APP --store URL."
        )


class OffsetLost(FaitError):
    """A topic does not have the message any more up to which a consumer has read. No further message is handled.

    Attributes:
        broker: URL of the broker, without passwords.
        consumer: name of the consumer.
        topic: name of the topic.
        lane: number of the lane.
        offset: the offset of the consumer.
        is_foreign: whether the offset is none that this kind of broker has: it is that of another one.
    """

    def __init__(
        self, broker: str, consumer: str, topic: str, lane: int, offset: str, *, is_foreign: bool = False
    ) -> None:
        self.broker = broker
        self.consumer = consumer
        self.topic = topic
        self.lane = lane
        self.offset = offset
        self.is_foreign = is_foreign
        reason = "the topic was deleted and created again, or the broker lost messages"
        if is_foreign:
            reason = "it is the offset of another broker"
        super().__init__(
            f"lane {lane} of topic {topic!r} at broker {broker} has no message at the offset {offset}, up to which "
            f"consumer {consumer!r} has read: {reason}. "
            "The consumer waits, as messages with lower offsets may be new. Let it read the topic from the beginning: "
            f"fait rewind {consumer} --app MODULE:APP --store URL. It recognizes what it has handled."
        )


class BrokerAhead(FaitError):
    """The broker has events that this log does not have: the log was restored or failed over, and is not adopted.

    Attributes:
        broker: URL of the broker, without passwords.
        relay: name of the relay.
        position: the position that the broker stores.
        head: the highest position of this log. If it is not less than `position`, events were appended since: the log
            has another event at the position, or none.
    """

    def __init__(self, broker: str, relay: str, position: int, head: int) -> None:
        self.broker = broker
        self.relay = relay
        self.position = position
        self.head = head
        log = f"ends at {head}" if head < position else "has another event, or none, at this position"
        super().__init__(
            f"broker {broker} has messages of relay {relay!r} up to position {position}, but the log {log}: "
            "the database lost events that were published, as after a restore or a failover. Nothing was sent. If the "
            "database must stay as it is, run fait log adopt --store URL: further events get a new epoch, which "
            "consumers recognize."
        )


class MalformedMessage(FaitError):
    """A message of a broker is not the event that it says it is, or exceeds a bound. It was not handled.

    Attributes:
        reason: what is wrong with it, without its content.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(
            f"malformed message: {reason}. It was not handled, and is stored until it is redriven or discarded. "
            "Correct the program that published it."
        )
