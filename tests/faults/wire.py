"""A line to a PostgreSQL server that counts round trips, and that can be cut at any point of an append."""

import asyncio
import contextlib
import struct
from collections import deque
from types import TracebackType
from typing import Literal, Self

Moment = Literal["before", "unanswered", "answered", "amid"]
"""Where the line is cut: before the server has the request; at once when it has it; when it has answered, before the
first byte of the answer gets through; when half of the answer has."""

MOMENTS: tuple[Moment, ...] = ("before", "unanswered", "answered", "amid")


_FIELDS = b"SFATAL\0VFATAL\0C57P01\0Mterminating connection due to administrator command\0\0"
FAREWELL = b"E" + struct.pack("!I", 4 + len(_FIELDS)) + _FIELDS


class Proxy:
    """Stands between a client and a server on this machine.

    Attributes:
        asked: the SQL of each round trip, on all connections but those that listen for news.
        request: what the SQL of the requests contains that are to be cut.
        cuts: where to cut the lines of the next such requests, one after another.
        away: refuse new connections; `leave()` cuts those that are there, too.
        away_after: be away as soon as so many more such requests were answered.
        silent: pass nothing on, in either direction, without closing the connection.
    """

    def __init__(self, server_port: int) -> None:
        self.asked: list[str] = []
        self.request = b"fait_append"
        self.cuts: deque[Moment] = deque()
        self.away = False
        self.away_after: int | None = None
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
        self.leave()
        await asyncio.gather(*(link.done.wait() for link in self._links))
        await self._listener.wait_closed()

    def url(self, **options: str | int) -> str:
        assert self._listener is not None
        port = self._listener.sockets[0].getsockname()[1]
        query = "&".join(f"{name}={value}" for name, value in {"sslmode": "disable", **options}.items())
        return f"postgresql://postgres@127.0.0.1:{port}/postgres?{query}"

    def leave(self) -> None:
        """Cut every line, and refuse new ones."""
        self.away = True
        for link in self._links:
            link.cut()

    def say_farewell(self) -> None:
        """Tell all clients, unasked, what a server says before it ends a connection; and do not end it yet."""
        for link in self._links:
            link.say(FAREWELL)

    def answered(self) -> None:
        if self.away_after is not None:
            self.away_after -= 1
            self.away = not self.away_after  # pending responses are delivered; the next request is cut

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.away:
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
    """One connection of a client, and the one to the server that belongs to it."""

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
        self._client, self._to_client = client, to_client
        self._server, self._to_server = server, to_server
        self._prepared: dict[bytes, bytes] = {}
        self._counted = True
        self._cut: Moment | None = None
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
        """The statement that a message is about: named in it, or in one before."""
        parts = message[5:].split(b"\0", 2)
        if kind == b"P":
            self._prepared[parts[0]] = parts[1]
            return parts[1]
        return parts[0] if kind == b"Q" else self._prepared.get(parts[1], b"") if kind == b"B" else b""

    async def _pass(self, kind: bytes, request: bytes, sql: bytes) -> bool:
        """Pass a whole request on; False if the line was cut instead, or then."""
        self._counted = self._counted and b"LISTEN" not in sql
        if self._counted and kind in b"SQH":
            self._proxy.asked.append(sql.decode())
        self._meant = self._proxy.request in sql and kind in b"SQ"
        if self._meant and self._proxy.cuts:
            self._cut = self._proxy.cuts.popleft()
            if self._cut == "before":
                return False
        if self._proxy.away_after == 0:
            return False
        if self._proxy.silent:
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
                    if not self._proxy.silent:
                        self._to_client.write(message)
                elif kind == b"Z":
                    if self._cut == "amid":
                        self._to_client.write(answer[: len(answer) // 2])
                        await self._to_client.drain()
                        await asyncio.sleep(0.01)  # what is written is lost when the line is cut in the same moment
                    return
                if kind == b"Z":
                    answer = b""
                    if self._meant:
                        self._meant = False
                        self._proxy.answered()


async def _message(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    head = await reader.readexactly(5)
    return head[:1], head + await reader.readexactly(struct.unpack("!I", head[1:])[0] - 4)
