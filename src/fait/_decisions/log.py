"""The methods of the port `Log` that decisions use."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from fait._events.append import AppendCondition, AppendResult, Page, StreamWrite, Until
from fait._events.envelope import EventSlice, RecordedEvent
from fait._events.query import Query

__all__ = ["DecisionLog", "HistoryReader", "LogReader", "ReadMatching"]

ReadMatching = Callable[[Sequence[Query], int], Awaitable[tuple[list[RecordedEvent], int]]]
"""Reads the events after a position that match any of the queries; see `read_matching_events`."""


class HistoryReader(Protocol):
    """The methods that loading uses."""

    async def history(
        self, stream: str, *, after: int = 0, limit: int = ..., until: Until = ...
    ) -> tuple[list[EventSlice], bool]:
        """Read event slices of a stream, in order of version; also return whether more may follow."""
        ...

    async def histories(
        self, streams: Sequence[tuple[str, int]], *, limit: int = ...
    ) -> tuple[list[tuple[str, list[EventSlice]]], bool]:
        """Read event slices of several streams, each after a version; also return whether more may follow."""
        ...

    async def find(self, event_ids: Sequence[str]) -> list[RecordedEvent]:
        """Return events by id, in order of position."""
        ...


class DecisionLog(Protocol):
    """The methods that appends and idempotency keys use."""

    async def append(self, writes: Sequence[StreamWrite], condition: AppendCondition | None = None) -> AppendResult:
        """Append events, or return the conflict that prevented it."""
        ...

    async def find(self, event_ids: Sequence[str]) -> list[RecordedEvent]:
        """Return events by id, in order of position."""
        ...


class LogReader(Protocol):
    """The method that `read_matching_events` uses."""

    async def read(self, after: int, *, query: Query = ..., limit: int = ...) -> Page:
        """Read events of the log, in order of position."""
        ...
