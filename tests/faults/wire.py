"""A proxy to a PostgreSQL server that records round trips and can close a connection at any point of a request."""

import asyncio
import contextlib
import struct
from collections import deque
from types import TracebackType
from typing import Literal, Self

CutPoint = Literal["before", "unanswered", "answered", "half_answered"]
"""When the connection is closed: before the server receives the request; after that; after the server has responded,
before the first byte of the response is forwarded; after half of the response is forwarded."""

CUT_POINTS: tuple[CutPoint, ...] = ("before", "unanswered", "answered", "half_answered")


_FIELDS = b"SFATAL\0VFATAL\0C57P01\0Mterminating connection due to administrator command\0\0"
SHUTDOWN_MESSAGE = b"E" + struct.pack("!I", 4 + len(_FIELDS)) + _FIELDS


class Proxy:
    """A TCP proxy between a client and a server on this machine.

    Attributes:
        statements: the SQL of each round trip, on all connections except those that LISTEN.
        request: a part of the SQL of the requests at which connections are closed.
        cuts: when to close the connection, for each of the next such requests.
        unreachable: refuse new connections; `disconnect()` also closes the open ones.
        unreachable_after: number of such requests with a response, after which the proxy is unreachable.
        silent: forward nothing, in either direction, without closing the connection.
    """

    def __init__(self, server_port: int) -> None:
        self.statements: list[str] = []
        self.request = b"fait_append"
        self.cuts: deque[CutPoint] = deque()
        self.unreachable = False
        self.unreachable_after: int | None = None
        self.silent = False
        self.server_port = server_port
        self._links: set[_Link] = set()
        self._listener: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        assert self._listener is not None
        self._listener.close()
        self.disconnect()
        await asyncio.gather(*(link.done.wait() for link in self._links))
        await self._listener.wait_closed()

    def url(self, **options: str | int) -> str:
        assert self._listener is not None
        port = self._listener.sockets[0].getsockname()[1]
        query = "&".join(f"{name}={value}" for name, value in {"sslmode": "disable", **options}.items())
        return f"postgresql://postgres@127.0.0.1:{port}/postgres?{query}"

    def disconnect(self) -> None:
        """Close all connections, and refuse new ones."""
        self.unreachable = True
        for link in self._links:
            link.cut()

    def silence(self) -> None:
        """Forward nothing any more on the connections that are open now, without closing them."""
        for link in self._links:
            link.silent = True

    def announce_shutdown(self) -> None:
        """Send all clients the message of a server that terminates a connection, and keep the connection open."""
        for link in self._links:
            link.say(SHUTDOWN_MESSAGE)

    def answered(self) -> None:
        if self.unreachable_after is not None:
            self.unreachable_after -= 1
            self.unreachable = not self.unreachable_after  # pending responses are delivered; the next request is cut

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.unreachable:
            writer.transport.abort()
            return
        try:
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self.server_port)
        except OSError:
            writer.transport.abort()
            return
        link = _Link(self, reader, writer, server_reader, server_writer)
        self._links.add(link)
        try:
            await link.run()
        finally:
            link.cut()
            link.done.set()
            self._links.discard(link)


class _Link:
    """A connection of a client, and its connection to the server."""

    def __init__(
        self,
        proxy: Proxy,
        client: asyncio.StreamReader,
        to_client: asyncio.StreamWriter,
        server: asyncio.StreamReader,
        to_server: asyncio.StreamWriter,
    ) -> None:
        self._proxy = proxy
        self.done = asyncio.Event()
        self.silent = False
        self._client, self._to_client = client, to_client
        self._server, self._to_server = server, to_server
        self._prepared: dict[bytes, bytes] = {}
        self._counted = True
        self._cut: CutPoint | None = None
        self._meant = False

    async def run(self) -> None:
        ways = [asyncio.create_task(self._requests()), asyncio.create_task(self._answers())]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        if self._cut == "unanswered":  # the server continues with the request
            await asyncio.wait([ways[1]], timeout=2)
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)

    def say(self, message: bytes) -> None:
        self._to_client.write(message)

    def cut(self) -> None:
        self._to_client.transport.abort()
        self._to_server.transport.abort()

    async def _requests(self) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            size = await self._client.readexactly(4)
            self._to_server.write(size + await self._client.readexactly(struct.unpack("!I", size)[0] - 4))
            request, sql = b"", b""
            while True:
                kind, message = await _message(self._client)
                request, sql = request + message, sql or self._sql(kind, message)
                if kind in b"PBDEC":  # more of the same request follows
                    continue
                if not await self._pass(kind, request, sql):
                    return
                request, sql = b"", b""

    def _sql(self, kind: bytes, message: bytes) -> bytes:
        """Return the SQL of a message: its own, or that of the prepared statement that it names."""
        parts = message[5:].split(b"\0", 2)
        if kind == b"P":
            self._prepared[parts[0]] = parts[1]
            return parts[1]
        return parts[0] if kind == b"Q" else self._prepared.get(parts[1], b"") if kind == b"B" else b""

    async def _pass(self, kind: bytes, request: bytes, sql: bytes) -> bool:
        """Pass a assert_versions_contiguous request on; False if the line was cut instead, or then."""
        self._counted = self._counted and b"LISTEN" not in sql
        if self._counted and kind in b"SQH":
            self._proxy.statements.append(sql.decode())
        self._meant = self._proxy.request in sql and kind in b"SQ"
        if self._meant and self._proxy.cuts:
            self._cut = self._proxy.cuts.popleft()
            if self._cut == "before":
                return False
        if self._proxy.unreachable_after == 0:
            return False
        if self._proxy.silent or self.silent:
            return True
        self._to_server.write(request)
        await self._to_server.drain()
        if self._cut == "unanswered":
            self._to_client.transport.abort()
            return False
        return True

    async def _answers(self) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            answer = b""
            while True:
                kind, message = await _message(self._server)
                answer += message
                if self._cut is None:
                    if not (self._proxy.silent or self.silent):
                        self._to_client.write(message)
                elif kind == b"Z":
                    if self._cut == "half_answered":
                        self._to_client.write(answer[: len(answer) // 2])
                        await self._to_client.drain()
                        await asyncio.sleep(0.01)  # written data is lost if the connection is closed immediately
                    return
                if kind == b"Z":
                    answer = b""
                    if self._meant:
                        self._meant = False
                        self._proxy.answered()


async def _message(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    head = await reader.readexactly(5)
    return head[:1], head + await reader.readexactly(struct.unpack("!I", head[1:])[0] - 4)
