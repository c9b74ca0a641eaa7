"""Who asks, and as part of which story: what travels with the work from a request to its last consequence.

An `Origin` is kept in a context variable, so that it follows `await`s and tasks. Whatever is appended inside
`with caused_by(...)` carries it in its metadata; while a handler runs, fait itself sets the event being handled as
the cause.
"""

import logging
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar

from msgspec import Struct

__all__ = ["NO_ORIGIN", "Origin", "caused_by", "logger", "origin"]

logger = logging.getLogger("fait")


class Origin(Struct, frozen=True, kw_only=True):
    """Where an append comes from.

    Attributes:
        correlation_id: the same for everything that belongs to one story; a request's id, for example.
        causation_id: the id of the event or command that is the direct cause.
        actor: who wants it: a user, a service.
        traceparent: W3C trace context, as received.
    """

    correlation_id: str | None = None
    causation_id: str | None = None
    actor: str | None = None
    traceparent: str | None = None


NO_ORIGIN = Origin()
_origin: ContextVar[Origin] = ContextVar("fait_origin", default=NO_ORIGIN)


def origin() -> Origin:
    """The origin in force."""
    return _origin.get()


@contextmanager
def caused_by(
    *,
    correlation_id: str | None = None,
    causation_id: str | None = None,
    actor: str | None = None,
    traceparent: str | None = None,
) -> Generator[Origin]:
    """Let appends inside the block carry this origin; what is not given is inherited from the block around it."""
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
