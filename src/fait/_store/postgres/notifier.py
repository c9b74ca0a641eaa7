"""Tells other processes that the log has grown, and hears it from them: NOTIFY and LISTEN on a connection of their own.

News is sent after the commit, never inside an append: a NOTIFY there would make all appends of the database commit one
after another. Appends that follow each other closely are told once. Nothing depends on a word being heard: who listens
also looks.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final

from fait._store.postgres.connection import Database
from fait._telemetry import logger

__all__ = ["Notifier"]

MIN_NOTIFY_INTERVAL_S: Final = 0.01
"""Shortest time between two announcements of a process."""

ECHO_TIMEOUT_S: Final = 2.0
"""How long our own word may take to come back before the connection counts as deaf: a pooler swallows it."""

MAX_RECONNECT_DELAY_S: Final = 5.0
"""Longest pause before the connection is made again."""


CLOSE_TIMEOUT_S: Final = 1.0
"""How long the last announcement may take."""


class Notifier:
    """Belongs to the event loop it was made in. Connects when there is something to tell or to hear.

    Attributes:
        hears: whether news of other processes arrives.
    """

    def __init__(self, database: Database, channel: str, on_notify: Callable[[int], None]) -> None:
        self.is_listening = False
        self._database = database
        self._channel = channel
        self._on_notify = on_notify
        self._position = 0
        self._sent = 0
        self._sent_at = 0.0
        self._pending = asyncio.Event()
        self._echo = asyncio.Event()
        self._prepared: Any = None
        self._closing = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Connect, if not done already."""
        if self._task is None and not self._closing:
            self._task = asyncio.create_task(self._run(), name="fait-postgres-announcer")

    def publish(self, position: int) -> None:
        """Let others know, soon, that the log reaches a position."""
        if position > self._position:
            self._position = position
            self._pending.set()
            self.start()

    async def close(self) -> None:
        """Tell what is still to be told, and close the connection."""
        self._closing = True
        self._pending.set()
        if self._task is None:
            return
        if self._sent < self._position:
            await asyncio.wait([self._task], timeout=CLOSE_TIMEOUT_S)
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        pause = 0.1
        while not self._closing:
            began = time.monotonic()
            try:
                await self._serve()
            except Exception as problem:  # whatever it is: without this task nobody would be told anything any more
                logger.warning("no word of other processes until the connection is back (%s)", type(problem).__name__)
            finally:
                self.is_listening = False
            pause = 0.1 if time.monotonic() - began > MAX_RECONNECT_DELAY_S else min(MAX_RECONNECT_DELAY_S, pause * 2)
            await asyncio.sleep(pause)

    async def _serve(self) -> None:
        connection, self._prepared = await self._database.connect(), None
        try:
            await connection.add_listener(self._channel, self._received)
            await self._check_listening()
            while not (connection.is_closed() or (self._closing and self._sent >= self._position)):
                await self._send(connection)
        finally:
            connection.terminate()

    async def _check_listening(self) -> None:
        """Listen to our own word: through some poolers nothing is ever heard, and nothing says so."""
        self._echo.clear()
        await self._database.fetch("notify", self._channel, "0")  # a pooler lets a session hear itself, and none else
        try:
            async with asyncio.timeout(ECHO_TIMEOUT_S):
                await self._echo.wait()
        except TimeoutError:
            logger.warning(
                "LISTEN hears nothing (a pooler in transaction mode?): other processes' events are found by looking"
            )
        else:
            self.is_listening = True

    async def _send(self, connection: Any) -> None:
        try:
            async with asyncio.timeout(ECHO_TIMEOUT_S):  # and look again whether the connection is still there
                await self._pending.wait()
        except TimeoutError:
            return
        await asyncio.sleep(max(0.0, self._sent_at + MIN_NOTIFY_INTERVAL_S - time.monotonic()))
        self._pending.clear()
        position = self._position
        # fault: no-notification
        await self._notify(connection, position)
        self._sent, self._sent_at = position, time.monotonic()

    async def _notify(self, connection: Any, position: int) -> None:
        sql, values = self._database.sql["notify"], (self._channel, str(position))
        if not self._database.options.use_prepared_statements:
            await connection.execute(sql, *values)
            return
        if self._prepared is None:  # and not earlier: between this and its first run a connection hears nothing
            self._prepared = await connection.prepare(sql)
        await self._prepared.fetch(*values)

    def _received(self, connection: Any, pid: int, channel: str, payload: str) -> None:
        self._echo.set()
        if payload.isdecimal():
            self._on_notify(int(payload))
