"""Server-sent events of a stream or of a read model's changes.

One task of the process reads the log and wakes the connections whose stream or event types it meets. A woken connection
reads on from its own place. So no events are buffered for a slow client, and none are missed: a connection first
registers, and then reads. The id of each event is a token of its place, with which a client resumes.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, Generator, Iterable
from contextlib import contextmanager, suppress
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from fait._errors import StoreUnavailable
from fait._events.codec import Codec, encode_data
from fait._events.envelope import Envelope, RecordedEvent, Untyped
from fait._events.query import Query
from fait._http.problem import PROBLEMS, TooManyReaders, problem_response
from fait._http.tracing import trace_of
from fait._store.ports.log import Log
from fait._subscriptions.feed import follow, stream_pages
from fait._subscriptions.position_token import decode_token, encode_token
from fait._subscriptions.read_model import ReadModelDefinition
from fait._telemetry import logger

__all__ = ["FEED_LIFETIME_S", "MAX_FEEDS", "EventStream", "Feed", "FeedResponse", "model_events", "stream_events"]

MAX_FEEDS: Final = 500
"""Maximum number of open feeds of a process; further ones are answered 503."""

FEED_LIFETIME_S: Final = 300.0
"""Lifetime of a feed. Then the client connects again and is authorized again."""

KEEPALIVE_INTERVAL_S: Final = 15.0
"""Maximum interval between two writes to a feed, so that proxies keep it open and a closed connection is noticed."""

RETRY_INTERVAL_S: Final = 1.0
"""Interval between attempts to read the log while the store cannot be used; also the delay before clients reconnect."""


class Feed:
    """Wakes the feeds of a process when the log has new events for them. Reads the log only while there are feeds."""

    def __init__(self, log: Log) -> None:
        self.connections: int = 0
        self.log: Log = log
        self._watchers = defaultdict[str, set[asyncio.Event]](set)
        self._reader: asyncio.Task[None] | None = None

    @contextmanager
    def watch(self, names: Iterable[str]) -> Generator[asyncio.Event]:
        """Yield an event that is set when an event of one of these streams or types is recorded."""
        news, names = asyncio.Event(), tuple(names)
        for name in names:
            self._watchers[name].add(news)
        if self._reader is None or self._reader.done():
            self._reader = asyncio.create_task(self._read(), name="fait-feed")
        try:
            yield news
        finally:
            for name in names:
                self._watchers[name].discard(news)
                if not self._watchers[name]:
                    del self._watchers[name]
            if not self._watchers:
                self._reader.cancel()
                self._reader = None

    async def close(self) -> None:
        """Stop reading."""
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.wait([self._reader])

    async def _read(self) -> None:
        position: int | None = None
        while True:
            try:
                position = await self.log.head() if position is None else position
                self._wake_all()  # they may have read before this position was known
                async for page in follow(self.log, position):
                    position = page.position
                    for event in page.events:
                        self._wake(event)
            except StoreUnavailable as error:
                logger.warning("event feed failed to read the log, retrying: error=%r", error)
                await asyncio.sleep(RETRY_INTERVAL_S)

    def _wake(self, event: RecordedEvent) -> None:
        for name in (event.stream, event.type):
            for news in self._watchers.get(name, ()):
                news.set()

    def _wake_all(self) -> None:
        for watchers in self._watchers.values():
            for news in watchers:
                news.set()


def stream_events(feed: Feed, codec: Codec, stream: str, last_event_id: str | None) -> AsyncGenerator[bytes]:
    """Return the events of a stream from the beginning, or after the last one that the client has.

    Raises:
        InvalidPosition: the client's id is not one of this log.
    """
    identity = feed.log.identity
    start = 0 if last_event_id is None else decode_token(identity, last_event_id).position

    async def events() -> AsyncGenerator[bytes]:
        version = start
        with feed.watch((stream,)) as news:
            while True:
                news.clear()
                async for page in stream_pages(feed.log, stream, after=version):
                    for envelope, is_last in _decoded(codec, page):
                        id = encode_token(identity, envelope.version) if is_last else None
                        yield _message(envelope.type, encode_data(envelope.event), id)
                    version = page[-1].version
                yield b""
                await news.wait()

    return events()


def model_events(
    feed: Feed, codec: Codec, model: ReadModelDefinition, last_event_id: str | None
) -> AsyncGenerator[bytes]:
    """Return the changes of a read model from now on, or after the last one that the client has.

    A change is the key of a row and a position token: the client reads the row with it as `Fait-Position`.

    Raises:
        InvalidPosition: the client's id is not one of this log.
    """
    identity, query = feed.log.identity, codec.registry.names.stored_query(Query.of(*model.events))
    start = None if last_event_id is None else decode_token(identity, last_event_id).position

    async def events() -> AsyncGenerator[bytes]:
        with feed.watch(query.types) as news:
            position = await feed.log.head() if start is None else start
            yield _message(None, None, encode_token(identity, position))  # a client that has no event can resume, too
            while True:
                news.clear()
                async for page in follow(feed.log, position, query, live=False):
                    for envelope, is_last in _decoded(codec, page.events):
                        token = encode_token(identity, envelope.position)
                        for key in _keys(model, envelope):
                            data = msgspec.json.encode({"key": key, "position": token})
                            yield _message("changed", data, None)
                        if is_last:
                            yield _message(None, None, token)
                    position = page.position
                yield b""
                await news.wait()

    return events()


def _keys(model: ReadModelDefinition, envelope: Envelope[Any]) -> Iterable[Any]:
    if not isinstance(envelope.event, model.events):
        return ()
    return (model.key_of_stream(envelope.stream),) if model.keyed_by_stream else model.keys_of(envelope)


def _decoded(codec: Codec, recorded: Iterable[RecordedEvent]) -> Iterable[tuple[Envelope[Any], bool]]:
    """Yield the events whose classes are included, and whether each is the last one that was made of its record.

    Only that one has an id: a client that has missed one of several must get all of them again.
    """
    for each in recorded:
        made = [envelope for envelope in codec.decode_selected((each,)) if not isinstance(envelope.event, Untyped)]
        for number, envelope in enumerate(made, 1):
            yield envelope, number == len(made)


def _message(event: str | None, data: bytes | None, id: str | None) -> bytes:
    """Return a message; JSON has no line breaks, and an event's stored name has none either."""
    lines = [f"event: {event}\n".encode() if event else b"", b"data: " + data + b"\n" if data is not None else b""]
    return b"".join([*lines, f"id: {id}\n".encode() if id else b"", b"\n"])


class EventStream(StreamingResponse):
    """A response of server-sent events: `@web.get(..., response_class=EventStream)` documents it in OpenAPI."""

    media_type = "text/event-stream"


class FeedResponse(EventStream):
    """Sends server-sent events until the client leaves or the lifetime ends.

    Args:
        request: the request of the feed.
        feed: counts the open feeds.
        messages: yields messages; an empty one when there is nothing to send now.
        lifetime_s: lifetime, in seconds. A client that does not read is cut off after it, too.
    """

    def __init__(
        self, request: Request, feed: Feed, messages: AsyncGenerator[bytes], *, lifetime_s: float = FEED_LIFETIME_S
    ) -> None:
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no", **trace_of(request).headers}
        self._messages = _kept_alive(messages, time.monotonic() + lifetime_s)
        super().__init__(self._messages, headers=headers)
        self._request = request
        self._feed = feed
        self._lifetime_s = lifetime_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the feed, or a problem if there are too many feeds."""
        # fault: unbounded-feeds
        if self._feed.connections >= MAX_FEEDS:
            busy = problem_response(self._request, TooManyReaders("event feeds", MAX_FEEDS), PROBLEMS)
            await busy(scope, receive, send)
            return
        self._feed.connections += 1
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._lifetime_s + KEEPALIVE_INTERVAL_S):
                    await super().__call__(scope, receive, send)
        finally:
            self._feed.connections -= 1
            await self._messages.aclose()  # not when the garbage collector finds it


async def _kept_alive(messages: AsyncGenerator[bytes], until: float) -> AsyncGenerator[bytes]:
    """Yield messages, and comments while there are none, until a monotonic time."""
    yield b"retry: %d\n\n" % (RETRY_INTERVAL_S * 1000)
    pending: asyncio.Task[bytes] | None = None
    try:
        while (remaining_s := until - time.monotonic()) > 0:
            pending = pending or asyncio.ensure_future(anext(messages))
            done, _ = await asyncio.wait([pending], timeout=min(remaining_s, KEEPALIVE_INTERVAL_S))
            if not done:
                yield b": keepalive\n\n"
                continue
            message, pending = pending.result(), None
            if message:
                yield message
    finally:
        if pending is not None:
            pending.cancel()
            await asyncio.wait([pending])
        await messages.aclose()
