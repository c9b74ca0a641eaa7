"""Where the events of a range come from under one lease: the log, or for a consumer a broker.

The source numbers its events. In the log, the numbers are positions. A broker has none that all lanes share, so a
consumer counts the messages that it receives; each lease begins after the last number that was recorded.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from fait._events.append import Page
from fait._events.query import Query
from fait._store.ports.failures import FailureChange, KeyFailure
from fait._store.ports.inbox import InboxChanges
from fait._store.ports.leases import Lease
from fait._store.ports.registrations import Registrations
from fait._store.ports.store import Store
from fait._store.ports.unit_of_work import RangeMove
from fait._subscriptions.failed_events import FailedEvents, FailedPage
from fait._subscriptions.page_reader import PageReader

__all__ = ["EventSource", "InboxProgress", "LogSource", "OpenSource", "is_outdated"]


class InboxProgress(Protocol):
    """The memory of a consumer, which changes with each record."""

    def changes(self, move: RangeMove, finished: Collection[int], failures: Sequence[FailureChange]) -> InboxChanges:
        """Return what is to be remembered with a move of the range.

        Args:
            move: the move.
            finished: positions of the events that took effect, or were skipped.
            failures: changes of failures.
        """
        ...

    def recorded(self, move: RangeMove) -> None:
        """Take note that a move was recorded, with what `changes` returned for it."""
        ...


class EventSource(Protocol):
    """Where the events of a range come from."""

    @property
    def progress(self) -> InboxProgress | None:
        """The memory of a consumer, for its records; None: they have nothing but the move of the range."""
        ...

    @property
    def backlog(self) -> int | None:
        """Number of messages of a broker that are not handled; None: it is not known, or the events are in the log."""
        ...

    async def wait(self, after: int) -> None:
        """Wait until there may be an event after a position."""
        ...

    async def read(self, after: int, query: Query, limit: int) -> Page | None:
        """Return the next events after a position, at most `limit`; None if the lease is to be given up.

        It is, once the registration was changed: a type may have been added, whose events the page would lack.
        """
        ...

    async def read_failed(self, failure: KeyFailure, query: Query, up_to: int, limit: int) -> FailedPage:
        """Return events of a key that failed; see `FailedEvents.read`."""
        ...

    async def close(self) -> None:
        """Release what it has opened. Never raises."""
        ...


OpenSource = Callable[[Lease], EventSource]
"""Returns the source of a range under a lease. It connects when it is first read."""


async def is_outdated(lease: Lease, registrations: Registrations) -> bool:
    """Whether the registration is not the one under which a lease was acquired: a type may have been added."""
    registration = await registrations.registration(lease.key.subscription)
    return registration is None or registration.revision != lease.revision


class LogSource:
    """The events of the log.

    Args:
        store: the store of the log.
        reader: reads it for all ranges of the subscription.
        lease: the lease of the range.
        by_stream: whether the order key is the stream.
    """

    def __init__(self, store: Store, reader: PageReader, lease: Lease, *, by_stream: bool) -> None:
        self.progress: InboxProgress | None = None
        self.backlog: int | None = None
        self._registrations = store.registrations
        self._reader = reader
        self._lease = lease
        self._failed_events = FailedEvents(store.log, by_stream=by_stream)
        self._revisions: int | None = None  # of all registrations, when that of the lease was last compared
        self.wait = store.log.wait_for_events
        self.read_failed = self._failed_events.read

    async def read(self, after: int, query: Query, limit: int) -> Page | None:
        """Return the next events, unless they may follow one of a type that was added."""
        page = await self._reader.read(after, query, limit, self._lease)
        # fault: added-type-noticed-by-a-record
        if page.events and query.types and not await self._precedes_changes(page):
            return None
        return page

    async def _precedes_changes(self, page: Page) -> bool:
        """Whether the registration had the revision of the lease when the events of a page were stored."""
        if page.revisions is None or page.revisions != self._revisions:
            if await is_outdated(self._lease, self._registrations):
                return False
            self._revisions = page.revisions
        return True

    async def close(self) -> None:
        """Do nothing: the log belongs to the store."""
