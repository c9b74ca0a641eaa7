"""The logger of fait, and the origin of an append: correlation id, causation id, actor and trace context.

The current `Origin` is a context variable, so it follows `await`s and tasks. Events appended inside
`with caused_by(...)` carry it in their metadata. While a handler runs, its processor sets the handled event as the
cause.
"""

import logging
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar

from msgspec import Struct

__all__ = ["NO_ORIGIN", "Origin", "caused_by", "logger", "origin"]

logger = logging.getLogger("fait")


class Origin(Struct, frozen=True, kw_only=True):
    """The origin of an append, stored in the metadata of its events; see `caused_by`.

    Attributes:
        correlation_id: the same for all events of one business operation, such as a request id.
        causation_id: the id of the event or command that is the direct cause.
        actor: the user or service for which the event is appended.
        traceparent: value of the W3C `traceparent` header.
    """

    correlation_id: str | None = None
    causation_id: str | None = None
    actor: str | None = None
    traceparent: str | None = None


NO_ORIGIN = Origin()
_origin: ContextVar[Origin] = ContextVar("fait_origin", default=NO_ORIGIN)


def origin() -> Origin:
    """Return the current origin."""
    return _origin.get()


@contextmanager
def caused_by(
    *,
    correlation_id: str | None = None,
    causation_id: str | None = None,
    actor: str | None = None,
    traceparent: str | None = None,
) -> Generator[Origin]:
    """Set the origin of all events appended inside the block.

    Values that are not given are inherited from the enclosing block.

    Args:
        correlation_id: the same for all events of one business operation, such as a request id.
        causation_id: the id of the event or command that is the direct cause.
        actor: the user or service for which the event is appended.
        traceparent: value of the W3C `traceparent` header.
    """
    outer = _origin.get()
    inner = Origin(
        correlation_id=correlation_id or outer.correlation_id,
        causation_id=causation_id or outer.causation_id,
        actor=actor or outer.actor,
        traceparent=traceparent or outer.traceparent,
    )
    token = _origin.set(inner)
    try:
        yield inner
    finally:
        _origin.reset(token)
