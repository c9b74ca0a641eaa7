"""The open system of a web application: opened by its lifespan, found by its requests.

The lifespan puts it into the state of the server, which each request can read. No global variable holds it, so several
applications, and several tests, can run in one process.
"""

from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any, Final, Literal

from starlette.requests import HTTPConnection

from fait._app import App
from fait._errors import UsageError
from fait._http.feed import Feed
from fait._http.problem import PROBLEMS, KeyInUse, ProblemTable, TooManyReaders
from fait._system import System

__all__ = ["MAX_WAITING_READS", "Runtime", "lifespan", "runtime_of", "state"]

MAX_WAITING_READS: Final = 200
"""Maximum number of requests of a process that wait for a read model; further ones are answered 503."""

_STATE_KEY: Final = "fait"

Lifespan = Callable[[Any], AbstractAsyncContextManager[Mapping[str, Any] | None]]


class Runtime:
    """What the requests of one web application share in this process.

    Attributes:
        system: the open system.
        problems: the answers to errors.
        feed: the live events for server-sent events.
    """

    def __init__(self, system: System, problems: ProblemTable) -> None:
        self.system: System = system
        self.problems: ProblemTable = problems
        self.feed: Feed = Feed(system.store.log)
        self._keys = set[tuple[str, str]]()
        self._waiting_reads = 0

    @contextmanager
    def hold_key(self, scope: str, key: str) -> Generator[None]:
        """Hold an idempotency key during a request.

        Raises:
            KeyInUse: another request of this process holds it.
        """
        # fault: key-in-use-ignored
        if (scope, key) in self._keys:
            raise KeyInUse
        self._keys.add((scope, key))
        try:
            yield
        finally:
            self._keys.discard((scope, key))

    @contextmanager
    def waiting_read(self) -> Generator[None]:
        """Count a read that may wait.

        Raises:
            TooManyReaders: too many reads are waiting.
        """
        # fault: unbounded-waiting-reads
        if self._waiting_reads >= MAX_WAITING_READS:
            raise TooManyReaders("waiting reads", MAX_WAITING_READS)
        self._waiting_reads += 1
        try:
            yield
        finally:
            self._waiting_reads -= 1


def lifespan(
    app: App,
    url: str,
    *,
    inner: Lifespan | None = None,
    problems: ProblemTable | None = None,
    run: Literal["here", "elsewhere"] = "here",
    **options: Any,
) -> Callable[[Any], AbstractAsyncContextManager[Mapping[str, Any]]]:
    """Return a lifespan that opens the app on a store, for FastAPI and Starlette.

        web = FastAPI(lifespan=lifespan(shop, "postgresql://..."))

    Args:
        app: the app to open.
        url: the store, as for `App.open`.
        inner: the application's own lifespan, which runs while the store is open. Its state is kept.
        problems: answers to errors that replace or complete the default ones; see `PROBLEMS`.
        run: "here": each process of the web server runs subscriptions, and shares them with the others; "elsewhere": a
            worker such as `fait run` runs them.
        **options: further options of `App.open`.
    """

    @asynccontextmanager
    async def opened(web: Any) -> AsyncGenerator[Mapping[str, Any]]:
        async with AsyncExitStack() as stack:
            system = await stack.enter_async_context(app.open(url, run=run, **options))
            fait_state = await stack.enter_async_context(state(system, problems=problems))
            inner_state = await stack.enter_async_context(inner(web)) if inner else None
            yield {**fait_state, **(inner_state or {})}

    return opened


@asynccontextmanager
async def state(system: System, *, problems: ProblemTable | None = None) -> AsyncGenerator[Mapping[str, Any]]:
    """Yield the state of a lifespan, for an application that opens the system itself.

        @asynccontextmanager
        async def my_lifespan(web):
            async with shop.open(url) as s, state(s) as fait_state:
                yield {**fait_state, "mine": ...}

    Args:
        system: the open system.
        problems: answers to errors that replace or complete the default ones.
    """
    runtime = Runtime(system, {**PROBLEMS, **(problems or {})})
    try:
        yield {_STATE_KEY: runtime}
    finally:
        await runtime.feed.close()


def runtime_of(request: HTTPConnection) -> Runtime:
    """Return the runtime of a request's web application.

    Raises:
        UsageError: the lifespan of the application does not open a system.
    """
    runtime = getattr(request.state, _STATE_KEY, None)
    if isinstance(runtime, Runtime):
        return runtime
    raise UsageError(
        "this web application has no open system. Nothing was read or written. Open one in its lifespan: "
        "FastAPI(lifespan=fait.fastapi.lifespan(app, url)); a test client must run the lifespan."
    )
