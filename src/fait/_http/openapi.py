"""OpenAPI: the answers of routes that execute commands, read rows, or send events.

FastAPI documents the parameters of a dependency, and no answers. The answers follow from the parameters: each of fait's
has a description of its own, by which it is recognized in the document. So a route documents nothing twice.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Final

from fait._http.commands import POSITION_HEADER
from fait._http.problem import PROBLEMS, ProblemDetails
from fait._http.tracing import CORRELATION_HEADER

__all__ = [
    "CURSOR",
    "IDEMPOTENCY_KEY",
    "IF_MATCH",
    "LAST_EVENT_ID",
    "POSITION",
    "REQUIRED_IF_MATCH",
    "add_answers",
    "problems",
]

IF_MATCH: Final = 'The ETag of the last read, such as `"7"`.'
REQUIRED_IF_MATCH: Final = 'The ETag of the last read, such as `"7"`. Without it the answer is 428.'
IDEMPOTENCY_KEY: Final = "Names this request, so that a repetition writes nothing and gets the same answer."
POSITION: Final = "The `Fait-Position` of your last write: read it."
CURSOR: Final = "From the `Link` header of the previous page."
LAST_EVENT_ID: Final = "The id of the last event received."

_STATUSES: Final = {
    IF_MATCH: (409, 412, 422),
    REQUIRED_IF_MATCH: (409, 412, 422, 428),
    POSITION: (400, 422),
    LAST_EVENT_ID: (400,),
}
_HEADERS: Final = {
    IF_MATCH: ("ETag", POSITION_HEADER),
    REQUIRED_IF_MATCH: ("ETag", POSITION_HEADER),
    IDEMPOTENCY_KEY: ("Idempotency-Replayed",),
    CURSOR: ("Link",),
    LAST_EVENT_ID: ("Cache-Control", "X-Accel-Buffering"),
}
_DESCRIPTIONS: Final = {
    "Cache-Control": "`no-store`",
    "ETag": "The version that the answer shows or that the command wrote.",
    POSITION_HEADER: "The place of the write: send it with your next read.",
    "Idempotency-Replayed": "`true` if an earlier request with the same key wrote.",
    "Link": 'The next page, with `rel="next"`, if there is one.',
    "Location": "The address of what was created.",
    "Retry-After": "After how many seconds to repeat the request.",
    CORRELATION_HEADER: "The correlation id of the request.",
    "X-Accel-Buffering": "`no`",
    "traceparent": "The trace context of the request, if it has one.",
}
_TRACE: Final = (CORRELATION_HEADER, "traceparent")


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the documentation of problem details in OpenAPI: `@web.get(..., responses=problems(404))`.

    Args:
        *statuses: the statuses of the route's problems. 503 is always included.
    """
    return {status: _problem(status) for status in sorted({*statuses, 503})}


def _problem(status: int) -> dict[str, Any]:
    content: dict[str, Any] = {"application/problem+json": {"schema": _PROBLEM_SCHEMA}}
    if status in (400, 422):
        content["application/json"] = {}  # FastAPI answers invalid requests itself
    headers = _headers(("Retry-After", *_TRACE) if status in (409, 503) else _TRACE)
    return {"description": ", ".join(_codes(status)) or "problem", "headers": headers, "content": content}


def _codes(status: int) -> Iterable[str]:
    listed = [each for each in PROBLEMS.values() if isinstance(each, ProblemDetails) and each.status == status]
    return dict.fromkeys(
        [*(("unavailable", "outcome-unknown", "stale", "parked") if status == 503 else ()), *(p.code for p in listed)]
    )


def _headers(names: Iterable[str]) -> dict[str, Any]:
    return {name: {"description": _DESCRIPTIONS[name], "schema": {"type": "string"}} for name in names}


def add_answers(document: dict[str, Any]) -> dict[str, Any]:
    """Add the answers and headers that fait's dependencies send to an OpenAPI document; what it has is kept.

    Args:
        document: the document, which is changed. A document that has them already stays as it is.

    Returns:
        The document.
    """
    for operations in document.get("paths", {}).values():
        for method, operation in operations.items():
            parameters = {each.get("description"): each for each in operation.get("parameters", ())}
            if not _STATUSES.keys().isdisjoint(parameters):
                _add_to_operation(method, operation, parameters)
    return document


def _add_to_operation(method: str, operation: dict[str, Any], parameters: dict[str, Any]) -> None:
    responses = operation["responses"]
    if REQUIRED_IF_MATCH in parameters:
        parameters[REQUIRED_IF_MATCH]["required"] = True
    reads_row = method == "get" and POSITION in parameters and CURSOR not in parameters
    names = [*_TRACE, *(name for each in parameters for name in _HEADERS.get(each, ())), *(["ETag"] * reads_row)]
    for status in [each for each in responses if each.startswith("2")]:
        _add(responses, status, {"headers": _headers([*names, *(["Location"] * (status == "201"))])})
    for status, answer in problems(*_statuses(parameters, "requestBody" in operation)).items():
        _add(responses, str(status), answer)
    if reads_row:
        _add(responses, "304", {"description": "not modified", "headers": _headers(["ETag", *_TRACE])})
    if LAST_EVENT_ID in parameters:
        _add(responses, "403", {"description": "The application refuses the feed."})


def _statuses(parameters: dict[str, Any], has_body: bool) -> Iterator[int]:
    for each in parameters:
        yield from _STATUSES.get(each, ())
    takes_commands = not {IF_MATCH, REQUIRED_IF_MATCH}.isdisjoint(parameters)
    if has_body or (takes_commands and IDEMPOTENCY_KEY not in parameters):
        yield 400  # FastAPI answers a body that is not JSON, and fait a key that the route does not take


def _add(responses: dict[str, Any], status: str, answer: dict[str, Any]) -> None:
    known = responses.setdefault(status, {})
    known.setdefault("description", answer.get("description"))
    for part in ("headers", "content"):
        if part in answer:
            known[part] = {**answer[part], **known.get(part, {})}


_PROBLEM_SCHEMA: Final = {
    "type": "object",
    "title": "Problem",
    "description": "Problem details, RFC 9457",
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string"},
        "correlation_id": {"type": "string"},
    },
    "required": ["type", "title", "status", "detail", "code", "correlation_id"],
}
