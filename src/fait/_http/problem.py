"""ProblemDetails details (RFC 9457): answers fait's errors by a table, which an application can change.

The text of an answer is fixed for each code. The message of an error names streams, subscriptions and servers, so it is
written to the log and never sent.
"""

from collections.abc import Callable, Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, Final

import msgspec
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from fait._errors import (
    AppendConditionFailed,
    DuplicateEventId,
    FaitError,
    InvalidCursor,
    InvalidPosition,
    InvalidValue,
    KeyReused,
    Rejected,
    Stale,
    StoreUnavailable,
    WrongExpectedVersion,
)
from fait._http.route import route_template
from fait._http.tracing import trace_of
from fait._telemetry import logger

__all__ = [
    "PROBLEMS",
    "KeyInUse",
    "KeyNotAccepted",
    "NotFound",
    "NotModified",
    "PreconditionFailed",
    "PreconditionRequired",
    "ProblemDetails",
    "ProblemTable",
    "TooManyReaders",
    "problem_of",
    "problem_response",
]


class ProblemDetails(Struct, frozen=True):
    """The answer to an error: problem details, as `application/problem+json`.

    Attributes:
        status: the HTTP status.
        code: a stable name for programs; it is also the end of `type`.
        detail: a fixed public text for people.
        retry_after_s: value of the `Retry-After` header, in seconds; None: no such header.
        members: further members of the JSON object.
    """

    status: int
    code: str
    detail: str
    retry_after_s: int | None = None
    members: Mapping[str, Any] = MappingProxyType({})


ProblemTable = Mapping[type[Exception], ProblemDetails | Callable[[Any], ProblemDetails]]
"""The answer to each class of errors, or a function that makes it of the error. The class closest to the error counts:
its own, or the first of its base classes that has an entry."""


class NotFound(FaitError):
    """A read model has no row with the key that a request names. Nothing was written."""

    def __init__(self, model: str) -> None:
        super().__init__(f"read model {model} has no row with this key. Nothing was written.")


class NotModified(FaitError):
    """The client already has this version: its `If-None-Match` names the ETag. Answered with 304.

    Attributes:
        etag: the ETag.
    """

    def __init__(self, etag: str) -> None:
        self.etag = etag
        super().__init__(f"not modified: the client has {etag}")


class PreconditionFailed(FaitError):
    """The `If-Match` or `If-None-Match` of a request does not hold. Nothing was written.

    Attributes:
        precondition: value of the header.
    """

    def __init__(self, precondition: str) -> None:
        self.precondition = precondition
        super().__init__(f"the precondition {precondition} does not hold. Nothing was written: load and decide again.")


class PreconditionRequired(FaitError):
    """A request has no `If-Match`, which its route requires. Nothing was written."""

    def __init__(self) -> None:
        super().__init__("the route requires If-Match. Nothing was written: send the ETag of the last read.")


class KeyInUse(FaitError):
    """A request with the same idempotency key is running in this process. Nothing was written by this one."""

    def __init__(self) -> None:
        super().__init__("a request with the same idempotency key is running. Nothing was written: repeat it later.")


class KeyNotAccepted(FaitError):
    """A request has an idempotency key, and its route does not know the principal. Nothing was written."""

    def __init__(self) -> None:
        super().__init__("the route accepts no Idempotency-Key: declare commands(principal=...). Nothing was written.")


class TooManyReaders(FaitError):
    """The maximum number of waiting reads or of event feeds is reached in this process. Nothing was read."""

    def __init__(self, what: str, maximum: int) -> None:
        super().__init__(f"this process already serves {maximum} {what}. Nothing was read: try again later.")


def _unavailable(error: StoreUnavailable) -> ProblemDetails:
    # fault: unknown-outcome-answered-as-not-written
    return _OUTCOME_UNKNOWN if error.outcome == "unknown" else _UNAVAILABLE


def _stale(error: Stale) -> ProblemDetails:
    # fault: parked-read-is-to-be-repeated
    return _PARKED if error.parked_key is not None else _STALE


_STALE: Final = ProblemDetails(503, "stale", "The data does not contain your last write yet. Try again.", 1)
_PARKED: Final = ProblemDetails(
    503,
    "parked",
    "Your write is stored, but this data does not contain it before the service is repaired. Do not wait for it: "
    "without Fait-Position you get the data as it is.",
)
_UNAVAILABLE: Final = ProblemDetails(
    503, "unavailable", "The service cannot be used. Nothing was changed. Try again later.", 5
)
_OUTCOME_UNKNOWN: Final = ProblemDetails(
    503,
    "outcome-unknown",
    "The request may have been carried out. To find out, repeat it with the same Idempotency-Key, or read the state.",
    5,
)
_CONFLICT: Final = ProblemDetails(
    409, "conflict", "Concurrent requests changed the state. Nothing was changed. Repeat it."
)

PROBLEMS: Final[ProblemTable] = MappingProxyType(
    {
        Rejected: ProblemDetails(
            409, "rejected", "The current state does not allow this request. Nothing was changed."
        ),
        WrongExpectedVersion: _CONFLICT,
        AppendConditionFailed: _CONFLICT,
        DuplicateEventId: ProblemDetails(409, "duplicate-id", "The id is already used. Nothing was changed."),
        KeyReused: ProblemDetails(
            422, "key-reused", "The Idempotency-Key was used for another request. Nothing was changed."
        ),
        KeyInUse: ProblemDetails(409, "key-in-use", "A request with this Idempotency-Key is running. Try later.", 1),
        KeyNotAccepted: ProblemDetails(
            400, "key-not-accepted", "This address takes no Idempotency-Key. Nothing was changed."
        ),
        InvalidValue: ProblemDetails(
            422, "invalid-value", "A value of the request cannot be stored. Nothing was changed."
        ),
        InvalidCursor: ProblemDetails(
            400, "invalid-cursor", "The cursor is not one of this list. Start from the first page."
        ),
        InvalidPosition: ProblemDetails(
            400, "invalid-position", "The Fait-Position is not one of this service. Omit it."
        ),
        NotFound: ProblemDetails(404, "not-found", "There is nothing at this address."),
        PreconditionFailed: ProblemDetails(412, "precondition-failed", "The state has changed. Nothing was written."),
        PreconditionRequired: ProblemDetails(
            428, "precondition-required", "Send the ETag of your last read as If-Match."
        ),
        Stale: _stale,
        TooManyReaders: ProblemDetails(503, "busy", "Too many requests are waiting. Try again later.", 1),
        StoreUnavailable: _unavailable,
    }
)
"""The default table. An error without an entry is a defect of the application: the server answers 500 and logs it."""


def problem_of(error: Exception, table: ProblemTable = PROBLEMS) -> ProblemDetails | None:
    """Return the answer to an error; None if the table has no entry for it."""
    found = next((table[cls] for cls in type(error).__mro__ if cls in table), None)
    return found(error) if callable(found) else found


def problem_response(request: Request, error: Exception, table: ProblemTable = PROBLEMS) -> Response:
    """Answer an error of a request; raise it again if the table has no entry for it."""
    trace = trace_of(request)
    if isinstance(error, NotModified):
        return Response(status_code=304, headers={"ETag": error.etag, **trace.headers})
    if (problem := problem_of(error, table)) is None:
        raise error
    _log(request, error, problem, trace.correlation_id)
    headers = dict(trace.headers)
    if problem.retry_after_s is not None:
        headers["Retry-After"] = str(problem.retry_after_s)
    content = {
        "type": f"urn:problem-type:fait:{problem.code}",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": problem.detail,
        "code": problem.code,
        "correlation_id": trace.correlation_id,
        **problem.members,
    }
    return Response(msgspec.json.encode(content), problem.status, headers, "application/problem+json")


def _log(request: Request, error: Exception, problem: ProblemDetails, correlation_id: str) -> None:
    logger.log(
        30 if problem.status >= 500 else 20,
        "request failed: status=%d code=%s method=%s route=%s correlation_id=%s error=%s: %s",
        problem.status, problem.code, request.method, route_template(request), correlation_id,
        type(error).__name__, error,
    )  # fmt: skip
