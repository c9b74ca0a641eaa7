"""What `fait broker check` reports of a queue: arguments with which it loses messages.

AMQP cannot read the arguments of a queue. But the server refuses to declare an existing queue with others, and names
the first one that differs. So they are found one by one. It does not name policies, which can have the same effect.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from fait._delivery.brokers.rabbitmq.connection import ServerRefusal
from fait._delivery.brokers.rabbitmq.queues import LaneKind
from fait._store.ports.store import Finding

__all__ = ["POLICIES", "find_mismatch", "find_problems", "read_arguments"]

_DIFFERENT: Final = re.compile(
    r"inequivalent arg '(?P<name>[^']+)' .* but current is "
    r"(?:none|(?:the value )?'(?P<value>.*?)'(?: of type '(?P<type>\w+)')?)$"
)

_LIMITS: Final = (
    "x-message-ttl", "x-expires", "x-max-length", "x-max-length-bytes", "x-max-age", "x-delivery-limit"
)  # fmt: skip
"""Arguments with which the server deletes messages."""

_MAX_ARGUMENTS: Final = 20
"""Maximum number of arguments of a queue that differ from those of fait."""

POLICIES: Final = Finding(
    "policies",
    "unknown",
    "clients cannot read policies, which can limit queues like their arguments",
    "look for message-ttl, expires, max-length, max-age, delivery-limit: rabbitmqctl list_policies",
)
"""What is reported of policies."""

Declare = Callable[[Mapping[str, Any], bool], Awaitable[None]]


async def read_arguments(expected: Mapping[str, Any], declare: Declare) -> dict[str, Any]:
    """Return the arguments of an existing queue, and whether it is durable.

    Args:
        expected: arguments that it probably has.
        declare: declares the queue with arguments, durable or not.

    Raises:
        ServerRefusal: the server does not say what differs.
    """
    arguments, durable = dict(expected), True
    for _ in range(_MAX_ARGUMENTS):
        try:
            await declare(arguments, durable)
        except ServerRefusal as refusal:
            if (different := _DIFFERENT.search(refusal.text)) is None:
                raise
            name, value = different["name"], different["value"]
            if name == "durable":
                durable = value == "true"
            elif value is None:
                arguments.pop(name, None)
            else:
                arguments[name] = _value(value, different["type"])
        else:
            break
    return arguments | {"durable": durable}


def _value(text: str, kind: str | None) -> Any:
    if kind == "bool":
        return text == "true"
    return int(text) if kind not in (None, "longstr") else text


def find_mismatch(kind: LaneKind, arguments: Mapping[str, Any]) -> str | None:
    """Return why a consumer cannot read a queue as its URL says; None if it can."""
    expected, is_single = "stream" if kind == "stream" else "quorum", arguments.get("x-single-active-consumer")
    if (of_queue := arguments.get("x-queue-type", "classic")) != expected:
        return f"has a queue of type {of_queue}, not {expected}"
    # fault: several-active-consumers
    if kind == "quorum" and not is_single:
        return "has a queue without x-single-active-consumer: two consumers at a time would change the order"
    # fault: single-active-consumer-without-order
    if kind == "unordered" and is_single:
        return "has a queue with x-single-active-consumer: only one consumer at a time would get messages"
    return None


def find_problems(topic: str, kind: LaneKind, arguments: Mapping[str, Any]) -> list[Finding]:
    """Return a finding for each argument of a queue that matters.

    Args:
        topic: name of the topic.
        kind: kind of queues that the URL names.
        arguments: arguments of the queue.
    """
    return [_type(topic, kind, arguments), *_persistence(topic, kind, arguments), _deletion(topic, arguments)]


def _type(topic: str, kind: LaneKind, arguments: Mapping[str, Any]) -> Finding:
    name, mismatch = f"queues {topic}", find_mismatch(kind, arguments)
    if mismatch is None:
        return Finding(name, "ok", f"of type {kind}")
    advice = (
        "use the URL with ?queues=stream for streams, and with ?order=none for queues without the argument; otherwise "
        "delete the queue, and create it again"
    )
    return Finding(name, "problem", f"the topic {mismatch}", advice)


def _persistence(topic: str, kind: LaneKind, arguments: Mapping[str, Any]) -> list[Finding]:
    """Return what is lost by a restart or a power failure. Of queues of another type than the URL says, nothing is."""
    name = f"persistence {topic}"
    if not arguments["durable"]:
        return [Finding(name, "problem", "a queue is not durable: a restart loses all", "create it again as durable")]
    # fault: persistence-of-another-type
    if find_mismatch(kind, arguments):
        return []
    if kind != "stream":
        return [Finding(name, "ok", "messages are flushed to the disk before they are confirmed")]
    detail = "streams are not flushed: a power failure loses confirmed messages, if all replicas have it"
    return [Finding(name, "unknown", detail, "use 3 replicas at different places, or ?queues=quorum")]


def _deletion(topic: str, arguments: Mapping[str, Any]) -> Finding:
    name, limits = f"deletion {topic}", {each: arguments[each] for each in _LIMITS if each in arguments}
    if arguments.get("x-overflow") == "reject-publish":
        limits = {each: value for each, value in limits.items() if not each.startswith("x-max-length")}
    if limits.get("x-delivery-limit", 0) < 0:
        del limits["x-delivery-limit"]
    # fault: limits-of-queues-ignored
    if not limits:
        return Finding(name, "ok", "no limit")
    shown = ", ".join(f"{each} {value}" for each, value in limits.items())
    if exchange := arguments.get("x-dead-letter-exchange"):
        detail = f"{shown}: the server moves messages to the exchange {exchange}, and the consumer never gets them"
    else:
        detail = f"{shown}: the server deletes messages"
    return Finding(name, "problem", detail, "create the queue without them; x-overflow reject-publish deletes nothing")
