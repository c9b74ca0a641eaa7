"""Correlation id and trace context of a request: from its headers into the metadata of its events, and into the answer.

A header that is malformed is replaced, because it would be stored with each event.
"""

import re
from typing import Final

from msgspec import Struct
from starlette.requests import Request

from fait._clock import new_id

__all__ = ["CORRELATION_HEADER", "Trace", "trace_of"]

CORRELATION_HEADER: Final = "X-Correlation-ID"

_CORRELATION_ID: Final = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
_TRACEPARENT: Final = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


class Trace(Struct, frozen=True):
    """Correlation id and trace context of a request.

    Attributes:
        correlation_id: from `X-Correlation-ID`; a new id if the request has no valid one.
        traceparent: from `traceparent`; None if the request has no valid one.
    """

    correlation_id: str
    traceparent: str | None

    @property
    def headers(self) -> dict[str, str]:
        """The headers of the answer."""
        trace = {} if self.traceparent is None else {"traceparent": self.traceparent}
        return {CORRELATION_HEADER: self.correlation_id, **trace}


def trace_of(request: Request) -> Trace:
    """Return the trace of a request, always the same one."""
    known: Trace | None = request.scope.get("fait.trace")
    if known is None:
        correlation_id, traceparent = (
            request.headers.get(CORRELATION_HEADER, ""),
            request.headers.get("traceparent", ""),
        )
        known = request.scope["fait.trace"] = Trace(
            correlation_id if _CORRELATION_ID.fullmatch(correlation_id) else new_id(),
            traceparent if _TRACEPARENT.fullmatch(traceparent) else None,
        )
    return known
