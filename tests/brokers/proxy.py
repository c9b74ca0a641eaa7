"""A TCP proxy to a broker that loses answers and connections."""

import asyncio
from contextlib import suppress
from types import TracebackType
from typing import Self


class Proxy:
    """A proxy on a port of its own.

    Attributes:
        lose_answer: close both connections instead of forwarding the next bytes of the server.
        received: all bytes of clients, if they are recorded.
    """

    def __init__(self, server_port: int, *, records: bool = True) -> None:
        self.lose_answer = False
        self.received = b""
        self._records = records
        self._links: set[asyncio.StreamWriter] = set()
        self._server_port = server_port
        self._tasks: set[asyncio.Task[None]] = set()
        self._listener: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        assert self._listener is not None
        self._listener.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def port(self) -> int:
        assert self._listener is not None
        return self._listener.sockets[0].getsockname()[1]

    def cut(self) -> None:
        """Close all connections; what is on its way is lost."""
        for each in self._links:
            each.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            from_server, to_server = await asyncio.open_connection("127.0.0.1", self._server_port)
        except OSError:
            writer.transport.abort()
            return
        self._links |= {writer, to_server}
        sending = asyncio.create_task(self._forward_requests(reader, to_server))
        try:
            with suppress(OSError):
                while (data := await from_server.read(65_536)) and not self.lose_answer:
                    writer.write(data)
        finally:
            sending.cancel()
            for each in (writer, to_server):
                each.transport.abort()
            self._links -= {writer, to_server}
            self._tasks.discard(task)

    async def _forward_requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(OSError):
                while data := await reader.read(65_536):
                    if self._records:
                        self.received += data
                    writer.write(data)
        finally:
            writer.close()  # after what the client has sent before its end
