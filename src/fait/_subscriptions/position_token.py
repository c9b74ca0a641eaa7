"""Position tokens: a position of one log as text that a client of the application keeps and sends back.

    token = s.token(result)                          # to the client, with the answer to its write
    rows = await s.find(OrderSummary, after=token)   # its next request reads its own write

A token names the log and its epoch, because another log, or the same one after a restore, assigns the position to other
events. It has the number of the events of the write, so that a read can look up their keys. It is opaque and not
secret: a forged one can only make a read wait, or be refused.
"""

import base64
from typing import Final, NamedTuple
from uuid import UUID

from fait._arguments import MAX_INTEGER
from fait._errors import InvalidPosition
from fait._store.ports.log import Identity

__all__ = ["TokenContent", "decode_token", "encode_token"]

_IDENTITY_BYTES: Final = 14
"""Number of bytes that name the log and its epoch: 14 of the 16 of their ids. The two others count events."""
_TOKEN_CHARS: Final = 32
"""Length of a token: 24 bytes as base64."""


class TokenContent(NamedTuple):
    """The content of a token: the facts about a write.

    Attributes:
        position: position of its last event.
        events: number of its events.
    """

    position: int
    events: int


def encode_token(identity: Identity, position: int, events: int = 1) -> str:
    """Return the token of a write to a log, as 32 characters that are safe in URLs and headers.

    Args:
        identity: identity of the log.
        position: position of the last event.
        events: number of its events, up to `MAX_APPEND_EVENTS`.
    """
    content = _identity_bytes(identity) + events.to_bytes(2, "big") + position.to_bytes(8, "big")
    return base64.urlsafe_b64encode(content).decode()


def decode_token(identity: Identity, token: str) -> TokenContent:
    """Return what a token says.

    Raises:
        InvalidPosition: the text is not a token, or it is one of another log or epoch.
    """
    try:
        decoded = base64.b64decode(token, b"-_", validate=True) if len(token) == _TOKEN_CHARS else b""
    except ValueError:
        decoded = b""
    if len(decoded) != _IDENTITY_BYTES + 10:
        raise InvalidPosition("it is not a position token")
    # fault: token-of-another-log
    if decoded[:_IDENTITY_BYTES] != _identity_bytes(identity):
        raise InvalidPosition("it belongs to another log, or to another epoch of this one")
    position = int.from_bytes(decoded[-8:], "big")
    if position > MAX_INTEGER:
        raise InvalidPosition("no log has this position")
    return TokenContent(position, int.from_bytes(decoded[_IDENTITY_BYTES:-8], "big"))


def _identity_bytes(identity: Identity) -> bytes:
    return (UUID(identity.log_id).int ^ UUID(identity.epoch_id).int).to_bytes(16, "big")[:_IDENTITY_BYTES]
