"""Commands of one request: `Client` with the preconditions, the idempotency key and the trace of the request.

A repeated request is not answered from a copy of the first answer. The key makes the decision again on the state that
the first one was based on, and returns where its events are stored. The route then makes the same answer of the same
result: it is equal as far as it depends only on the request and on the result.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, Concatenate, ParamSpec, TypeVar, overload
from uuid import UUID

import msgspec
from starlette.datastructures import MutableHeaders

from fait._clock import new_id
from fait._decisions.aggregate import Aggregate
from fait._decisions.boundary import Boundary
from fait._decisions.calls import WriteResult
from fait._decisions.client import Client
from fait._decisions.decider import Decider
from fait._decisions.new_events import NewEvents
from fait._errors import WrongExpectedVersion
from fait._events.version import Expected
from fait._http.preconditions import etag_of
from fait._http.problem import PreconditionFailed
from fait._http.tracing import Trace
from fait._system import System
from fait._telemetry import caused_by

__all__ = ["POSITION_HEADER", "Commands", "key_scope"]

A = TypeVar("A", bound=Aggregate)
C = TypeVar("C")
S = TypeVar("S")
E = TypeVar("E")
R = TypeVar("R")
P = ParamSpec("P")

POSITION_HEADER = "Fait-Position"


def key_scope(principal: str, method: str, route: str) -> str:
    """Return the scope of the idempotency keys of a route for a principal."""
    # fault: key-shared-by-principals
    return msgspec.json.encode([principal, method, route]).decode()


class Commands:
    """Executes the commands of one request, and sets the headers of its answer.

    After a write the answer has `ETag`, the new version of the stream; `Fait-Position`, the token that the client sends
    with its next read; and `Idempotency-Replayed: true` if an earlier request with the same key wrote. The first
    command of a request takes the preconditions of the request. If there are several, the headers are those of the last
    one, and each has an idempotency key of its own: a repeated request must make the same commands in the same order.

    Args:
        system: the open system.
        headers: headers of the answer.
        trace: correlation id and trace context of the request.
        principal: the user or service that sends the request; None if it is not known.
        key: scope and idempotency key of the request; None if it has none.
        expected: the expected version that its preconditions require.
    """

    def __init__(
        self,
        system: System,
        headers: MutableHeaders,
        trace: Trace,
        *,
        principal: str | None = None,
        key: tuple[str, str] | None = None,
        expected: Expected | None = None,
    ) -> None:
        self._system = system
        headers.update(trace.headers)
        self._headers = headers
        self._trace = trace
        self._principal = principal
        self._key = key
        self._expected: Expected | None = expected
        self._calls = 0

    def new_id(self) -> str:
        """Return the id of a new entity; with an idempotency key always the same, so that a repetition finds it."""
        if self._key is None:
            return new_id()
        import hashlib  # only keys need it

        digest = hashlib.sha256(msgspec.json.encode(self._key)).digest()
        return str(UUID(bytes=digest[:16], version=5))

    async def transact(
        self, command: Callable[Concatenate[A, P], R], id: str, /, *args: P.args, **kwargs: P.kwargs
    ) -> WriteResult[R]:
        """Execute a command of an aggregate; arguments, result and exceptions are those of `System.transact`.

        Raises:
            PreconditionFailed: the stream is not at the version that the request requires; nothing was written.
        """
        return await self._write(lambda client: client.transact(command, id, *args, **kwargs))

    @overload
    async def decide(self, decider: Decider[C, S, E], id: str, command: C, /) -> WriteResult[Sequence[E]]: ...
    @overload
    async def decide(self, boundary: Boundary[C, S, E], command: C, /) -> WriteResult[Sequence[NewEvents]]: ...
    async def decide(self, decider: Any, *arguments: Any) -> WriteResult[Any]:
        """Let a decider or a boundary decide; arguments, result and exceptions are those of `System.decide`.

        Raises:
            PreconditionFailed: the stream is not at the version that the request requires, or the request has a
                precondition, and a boundary no version; nothing was written.
        """
        # fault: precondition-of-boundary-is-server-error
        if self._expected is not None and isinstance(decider, Boundary):
            raise PreconditionFailed(f"version {self._expected} of a boundary, which has no version,")
        return await self._write(lambda client: client.decide(decider, *arguments))

    async def publish(
        self, event: object, /, *, stream: str, tags: Iterable[str] = (), occurred_at: datetime | None = None
    ) -> WriteResult[None]:
        """Append one event to a stream; arguments, result and exceptions are those of `System.publish`.

        Raises:
            PreconditionFailed: the stream is not at the version that the request requires; nothing was written.
        """
        return await self._write(
            lambda client: client.publish(event, stream=stream, tags=tags, occurred_at=occurred_at)
        )

    async def _write(self, call: Callable[[Client], Awaitable[WriteResult[R]]]) -> WriteResult[R]:
        expected = self._expected
        self._expected = None  # of further writes the client has not seen a version
        trace = self._trace
        with caused_by(correlation_id=trace.correlation_id, actor=self._principal, traceparent=trace.traceparent):
            try:
                result = await call(self._next_client(expected))
            except WrongExpectedVersion as error:
                if expected is None:
                    raise
                # fault: failed-precondition-answered-as-conflict
                raise PreconditionFailed(f"version {expected} of {error.stream!r}") from error
        if result.version:
            self._headers["ETag"] = etag_of(result.version)
        self._headers[POSITION_HEADER] = self._system.token(result)
        if result.repeated and self._key is not None:
            self._headers["Idempotency-Replayed"] = "true"
        return result

    def _next_client(self, expected: Expected | None) -> Client:
        client: Client = self._system if expected is None else self._system.using(expected=expected)
        self._calls += 1
        if self._key is None:
            return client
        scope, key = self._key
        return client.using(key=key, scope=scope if self._calls == 1 else f"{scope} {self._calls}")
