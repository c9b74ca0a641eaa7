"""NOTIFY and LISTEN: notifies other processes that the log has grown, and receives their notifications.

The notifier has a connection of its own. A notification is sent after the commit, never inside an append:
transactions that call NOTIFY commit one after another. Appends in quick succession share a notification. Correctness
does not depend on notifications: readers also poll.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final

from fait._store.postgres.connection import Database
from fait._telemetry import logger

__all__ = ["Notifier"]

MIN_NOTIFY_INTERVAL_S: Final = 0.01
"""Minimum interval between two notifications of a process."""

ECHO_TIMEOUT_S: Final = 2.0
"""Timeout for receiving the process's own test notification: a pooler may drop it. Also the interval between checks
that the connection is open."""

MAX_RECONNECT_DELAY_S: Final = 5.0
"""Maximum delay before reconnecting."""


CLOSE_TIMEOUT_S: Final = 1.0
"""Timeout for sending the last notification when the store closes."""


class Notifier:
    """Sends and receives notifications; connects when there is something to send or a reader waits.

    Belongs to the event loop in which it was created.

    Attributes:
        is_listening: whether notifications of other processes arrive.
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
        """Connect, unless already started."""
        if self._task is None and not self._closing:
            self._task = asyncio.create_task(self._run(), name="fait-postgres-notifier")

    def publish(self, position: int) -> None:
        """Notify other processes that the log has reached a position, without waiting for it."""
        if position > self._position:
            self._position = position
            self._pending.set()
            self.start()

    async def close(self) -> None:
        """Send the pending notification, and close the connection."""
        self._closing = True
        self._pending.set()
        if self._task is None:
            return
        if self._sent < self._position:
            await asyncio.wait([self._task], timeout=CLOSE_TIMEOUT_S)
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        delay = 0.1
        while not self._closing:
            started = time.monotonic()
            try:
                await self._serve()
            except Exception as error:  # any error: without this task, nothing would reconnect
                logger.warning("LISTEN connection lost; polling until reconnected: %s", type(error).__name__)
            finally:
                self.is_listening = False
            delay = 0.1 if time.monotonic() - started > MAX_RECONNECT_DELAY_S else min(MAX_RECONNECT_DELAY_S, delay * 2)
            await asyncio.sleep(delay)

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
        """Send a test notification: some poolers accept LISTEN, but deliver nothing."""
        self._echo.clear()
        # From another connection: even through a pooler, a session receives its own notifications.
        await self._database.fetch("notify", self._channel, "0")
        try:
            async with asyncio.timeout(ECHO_TIMEOUT_S):
                await self._echo.wait()
        except TimeoutError:
            logger.warning(
                "LISTEN receives nothing, probably because of a pooler in transaction mode; polling for events of "
                "other processes"
            )
        else:
            self.is_listening = True

    async def _send(self, connection: Any) -> None:
        try:
            async with asyncio.timeout(ECHO_TIMEOUT_S):  # then the caller checks that the connection is open
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
        # Not prepared earlier: between PREPARE and the first run, the driver receives no notifications.
        if self._prepared is None:
            self._prepared = await connection.prepare(sql)
        await self._prepared.fetch(*values)

    def _received(self, connection: Any, pid: int, channel: str, payload: str) -> None:
        self._echo.set()
        if payload.isdecimal():
            self._on_notify(int(payload))
