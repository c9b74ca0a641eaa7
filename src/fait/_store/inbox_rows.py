"""Stored messages of consumers as rows, for the backends that run SQL. Keys and headers are JSON texts."""

from typing import Any

import msgspec

from fait._store.ports.inbox import InboxMessage

__all__ = ["inbox_message_from_row", "inbox_message_to_row"]


def inbox_message_to_row(message: InboxMessage) -> tuple[Any, ...]:
    """Return the values of a stored message, in the order of its attributes."""
    each = message
    key, headers = msgspec.json.encode(each.key).decode(), msgspec.json.encode(dict(each.headers)).decode()
    return each.number, each.order_key, each.topic, each.lane, each.offset, key, headers, each.body, each.received_at


def inbox_message_from_row(row: Any) -> InboxMessage:
    """Return a stored message from a row, which has the order of its attributes."""
    number, order_key, topic, lane, offset, key, headers, body, received_at = row
    return InboxMessage(
        number=number, order_key=order_key, topic=topic, lane=lane, offset=offset,
        key=msgspec.json.decode(key, type=str | None), headers=msgspec.json.decode(headers, type=dict[str, str]),
        body=bytes(body), received_at=received_at,
    )  # fmt: skip
