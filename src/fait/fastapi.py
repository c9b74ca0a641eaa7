"""fait in a FastAPI application: typed dependencies, problem details, ETags, idempotency keys and event feeds.

    from fait.fastapi import Commands, Reads, commands, install, lifespan

    web = FastAPI(lifespan=lifespan(shop, "postgresql://..."))
    install(web)

    @web.post("/orders/{order_id}/cancellation", status_code=204)
    async def cancel(order_id: str, cmd: Annotated[Commands, commands(principal=current_user)]) -> None:
        await cmd.transact(Order.cancel, order_id, "changed my mind")

There is nothing global: the lifespan opens the system, dependencies find it, and `install` answers fait's errors and
completes the OpenAPI document. An application that opens its system itself puts `state(system)` into the state of its
lifespan. A router that must not change the application uses `ProblemRoute` in place of `install`.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from types import FunctionType
from typing import Annotated, Any, Final, Literal, TypeVar

from fastapi import APIRouter, Body, Depends, FastAPI, Header, Query, Request, Response
from fastapi.routing import APIRoute
from starlette.responses import Response as StarletteResponse

import fait
from fait._events.pydantic_schema import StructSchema
from fait._http.commands import POSITION_HEADER, Commands, key_scope
from fait._http.feed import FEED_LIFETIME_S, EventStream, FeedResponse, model_events, stream_events
from fait._http.health import alive, ready
from fait._http.openapi import (
    CURSOR,
    IDEMPOTENCY_KEY,
    IF_MATCH,
    LAST_EVENT_ID,
    POSITION,
    REQUIRED_IF_MATCH,
    add_answers,
    problems,
)
from fait._http.preconditions import expected_version
from fait._http.problem import (
    PROBLEMS,
    KeyInUse,
    KeyNotAccepted,
    NotFound,
    NotModified,
    PreconditionFailed,
    PreconditionRequired,
    ProblemDetails,
    ProblemTable,
    TooManyReaders,
    problem_response,
)
from fait._http.reads import DEFAULT_PAGE_ROWS, MAX_PAGE_ROWS, Paging, Reads
from fait._http.route import route_template
from fait._http.runtime import lifespan, runtime_of, state
from fait._http.tracing import trace_of
from fait._subscriptions.read_model import definition_of

__all__ = [
    "PROBLEMS",
    "AsJson",
    "Commands",
    "CurrentPage",
    "CurrentReads",
    "CurrentSystem",
    "EventStream",
    "Feeds",
    "KeyInUse",
    "KeyNotAccepted",
    "NotFound",
    "NotModified",
    "Paging",
    "PreconditionFailed",
    "PreconditionRequired",
    "ProblemDetails",
    "ProblemRoute",
    "ProblemTable",
    "Reads",
    "TooManyReaders",
    "commands",
    "feeds",
    "health",
    "install",
    "lifespan",
    "problems",
    "state",
]

Principal = Callable[..., str | Awaitable[str]]
"""A dependency that returns the id of the user or service that sends a request, or refuses the request."""

MAX_KEY_CHARS: Final = 255
"""Maximum length of an idempotency key, in characters."""

T = TypeVar("T")

AsJson = Annotated[T, StructSchema(), Body()]
"""A `msgspec.Struct` as the body of a request or the answer of a route: `-> AsJson[Receipt]`, `body: AsJson[Order]`.

FastAPI does not know Structs of applications. Read models and events that `fait.event` declares need no `AsJson`.
"""

_IfNoneMatch = Annotated[str | None, Header(alias="If-None-Match", description="`*`: only if it does not exist.")]
_KnownETag = Annotated[str | None, Header(alias="If-None-Match", description="The ETag that the client has.")]
_Position = Annotated[str | None, Header(alias=POSITION_HEADER, description=POSITION)]
_LastEventId = Annotated[str | None, Header(alias="Last-Event-ID", description=LAST_EVENT_ID)]
_Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description=IDEMPOTENCY_KEY,
        min_length=1,
        max_length=MAX_KEY_CHARS,
        pattern=r"^[\x21-\x7e]+$",
    ),
]


# Dependencies are async although they await nothing: FastAPI runs others in a thread, which costs more than they do.
async def _system(request: Request) -> fait.System:
    return runtime_of(request).system


CurrentSystem = Annotated[fait.System, Depends(_system)]
"""The open system, as a parameter of a route. `Commands` and `Reads` also handle the headers of a request."""


async def _reads(request: Request, response: Response, position: _Position = None, known: _KnownETag = None) -> Reads:
    response.headers.update(trace_of(request).headers)
    return Reads(runtime_of(request), request, response.headers, position)


CurrentReads = Annotated[Reads, Depends(_reads)]
"""The reads of a request, as a parameter of a route."""


async def _paging(
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE_ROWS)] = DEFAULT_PAGE_ROWS,
    cursor: Annotated[str | None, Query(description=CURSOR)] = None,
) -> Paging:
    return Paging(limit, cursor)


CurrentPage = Annotated[Paging, Depends(_paging)]
"""The query parameters `limit` and `cursor`, as a parameter of a route."""


def commands(*, principal: Principal | None, if_match: Literal["optional", "required"] = "optional") -> Any:
    """Return the dependency for the commands of a request.

        cmd: Annotated[Commands, commands(principal=current_user)]

    Args:
        principal: a dependency that returns the id of the user or service. Idempotency keys are separate for each, so
            that no client can see the answer to another, and it is stored as the actor of the events. None: there is
            none, and requests with an `Idempotency-Key` are answered 400.
        if_match: whether a request must send `If-Match`, and is otherwise answered 428.

    Raises:
        UsageError: `if_match` is neither "optional" nor "required".
    """
    if if_match not in ("optional", "required"):
        raise fait.UsageError(f"if_match= must be 'optional' or 'required', not {if_match!r}")

    header = Header(alias="If-Match", description=REQUIRED_IF_MATCH if if_match == "required" else IF_MATCH)

    def expected_of(if_match_header: str | None, if_none_match: str | None) -> fait.Expected | None:
        if if_match == "required" and if_match_header is None:
            raise PreconditionRequired
        return expected_version(if_match_header, if_none_match)

    if principal is None:

        async def without_principal(
            request: Request,
            response: Response,
            if_match: Annotated[str | None, header] = None,
            if_none_match: _IfNoneMatch = None,
        ) -> Commands:
            # fault: unscoped-key-accepted
            if "Idempotency-Key" in request.headers:
                raise KeyNotAccepted
            expected = expected_of(if_match, if_none_match)
            return Commands(runtime_of(request).system, response.headers, trace_of(request), expected=expected)

        return Depends(without_principal)

    async def with_principal(
        request: Request,
        response: Response,
        who: Annotated[str, Depends(principal)],
        if_match: Annotated[str | None, header] = None,
        if_none_match: _IfNoneMatch = None,
        key: _Key = None,
    ) -> AsyncGenerator[Commands]:
        runtime, trace, headers = runtime_of(request), trace_of(request), response.headers
        expected = expected_of(if_match, if_none_match)
        if key is None:
            yield Commands(runtime.system, headers, trace, principal=who, expected=expected)
            return
        scope = key_scope(who, request.method, route_template(request))
        with runtime.hold_key(scope, key):
            yield Commands(runtime.system, headers, trace, principal=who, key=(scope, key), expected=expected)

    return Depends(with_principal, scope="function")  # the key is released before the answer is sent


class Feeds:
    """Makes the event feed of a request; see `feeds`."""

    def __init__(self, request: Request, last_event_id: str | None, lifetime_s: float) -> None:
        self._request = request
        self._last_event_id = last_event_id
        self._lifetime_s = lifetime_s

    def stream(self, stream: str) -> EventStream:
        """Send the events of a stream from the beginning: type and data of each, without metadata.

        Events whose classes the app does not include are left out.

        Args:
            stream: name of the stream, such as "order-7".

        Raises:
            InvalidPosition: the `Last-Event-ID` of the request is not one of this log.
        """
        feed, codec = runtime_of(self._request).feed, self._codec
        messages = stream_events(feed, codec, stream, self._last_event_id)
        return FeedResponse(self._request, feed, messages, lifetime_s=self._lifetime_s)

    def changes(self, model: type[fait.ReadModel]) -> EventStream:
        """Send the changes of a read model from now on: the key of the row and a position token.

        The client reads the row with the token as `Fait-Position`. The feed sends the keys of all rows.

        Args:
            model: the read model's class.

        Raises:
            InvalidPosition: the `Last-Event-ID` of the request is not one of this log.
        """
        feed, codec = runtime_of(self._request).feed, self._codec
        messages = model_events(feed, codec, definition_of(model), self._last_event_id)
        return FeedResponse(self._request, feed, messages, lifetime_s=self._lifetime_s)

    @property
    def _codec(self) -> Any:
        return runtime_of(self._request).system._loader.codec  # pyright: ignore[reportPrivateUsage]


def feeds(*, authorize: Callable[..., Any], lifetime_s: float = FEED_LIFETIME_S) -> Any:
    """Return the dependency for an event feed. No stream or read model has one unless a route names it.

        feed: Annotated[Feeds, feeds(authorize=may_read)]

    Args:
        authorize: a dependency that refuses a request, as by raising `HTTPException`. It is called for each connection,
            also when a client connects again; it may take the parameters of the route.
        lifetime_s: maximum lifetime of a connection, in seconds. Then the client connects again.
    """

    async def feed(request: Request, last_event_id: _LastEventId = None) -> Feeds:
        return Feeds(request, last_event_id, lifetime_s)

    async def authorized(allowed: Annotated[Any, Depends(authorize)], made: Annotated[Feeds, Depends(feed)]) -> Feeds:
        return made

    return Depends(authorized)


async def _answer(request: Request, error: Exception) -> StarletteResponse:
    return problem_response(request, error, runtime_of(request).problems)


def install(web: FastAPI) -> None:
    """Answer fait's errors with problem details in all routes of an application. Other errors are not touched.

    The answers and headers of routes that take `Commands`, `Reads` or `Feeds` are added to its OpenAPI document.

    Args:
        web: the application.
    """
    web.add_exception_handler(fait.FaitError, _answer)
    document = web.openapi
    web.openapi = lambda: add_answers(document())


class ProblemRoute(APIRoute):
    """Answers fait's errors with problem details in the routes of one router: `APIRouter(route_class=ProblemRoute)`."""

    def get_route_handler(self) -> Callable[[Request], Any]:
        """Return the handler of the route."""
        handle = super().get_route_handler()

        async def handle_with_problems(request: Request) -> Any:
            try:
                return await handle(request)
            except fait.FaitError as error:
                return await _answer(request, error)

        return handle_with_problems


def health(prefix: str = "/health") -> APIRouter:
    """Return a router with `GET /health/live` and `GET /health/ready`: is the process alive, does the store answer?

    Args:
        prefix: path before `/live` and `/ready`.
    """
    router = APIRouter(prefix=prefix, tags=["health"])
    statuses: Mapping[int | str, Any] = problems()
    router.add_api_route("/live", alive, response_model=None)
    router.add_api_route("/ready", ready, response_model=None, responses=dict(statuses))
    return router


for _name in __all__:
    _exported: object = globals()[_name]
    if isinstance(_exported, type | FunctionType) and _exported.__module__.startswith("fait._http"):
        _exported.__module__ = "fait.fastapi"
