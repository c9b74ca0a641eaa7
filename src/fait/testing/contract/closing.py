"""The part of the contract on `Store.close`."""
# ruff: noqa: D102 - a test is documented by its name

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Final

import pytest

from fait._clock import ManualClock
from fait._decisions.snapshot import Snapshot
from fait._errors import StoreUnavailable
from fait._events.append import Appended
from fait._store.open import open_store
from fait._store.ports.failures import FailureRequest
from fait._store.ports.inbox import MarkKey, MessageId
from fait._store.ports.leases import Lease, Range, Worker
from fait._store.ports.registrations import RangeKey
from fait._store.ports.store import Store
from fait.testing.contract.leases import NOTES, acquired, registration_of, work_of
from fait.testing.contract.store import Opener, StoreContract, added, everything, new, soon, write

__all__ = ["ClosingContract"]

_EARLY: Final = datetime(2020, 1, 1, tzinfo=UTC)
_LEASE: Final = Lease(RangeKey("s"), "me", 1, 0, 1, ())
_SEEN: Final = Range(RangeKey("s"), 0, "", 1, None)

CALLS: Final[dict[str, Callable[[Store], Awaitable[object]]]] = {
    "append": lambda store: store.log.append([write("a")]),
    "read": lambda store: store.log.read(0),
    "read_stream": lambda store: store.log.read_stream("a"),
    "history": lambda store: store.log.history("a"),
    "histories": lambda store: store.log.histories([("a", 0)]),
    "find": lambda store: store.log.find([new().id]),
    "streams": lambda store: store.log.streams(),
    "head": lambda store: store.log.head(),
    "last_position": lambda store: store.log.last_position(),
    "epochs": lambda store: store.log.epochs(),
    "expire messages": lambda store: store.log.expire("t", _EARLY, 9),
    "expired_position": lambda store: store.log.expired_position(),
    "oldest_messages": lambda store: store.log.oldest_messages(0),
    "wait_for_events": lambda store: store.log.wait_for_events(9),
    "registrations": lambda store: store.registrations.registrations(),
    "registration": lambda store: store.registrations.registration("s"),
    "definition": lambda store: store.registrations.definition("s"),
    "register": lambda store: store.registrations.register(registration_of("s"), 0),
    "widen": lambda store: store.registrations.widen("s", ["t"]),
    "pause": lambda store: store.registrations.pause("s", by="me", reason=""),
    "resume": lambda store: store.registrations.resume("s", by="me", reason=""),
    "accept": lambda store: store.registrations.accept(registration_of("s")),
    "rename": lambda store: store.registrations.rename("s", "t"),
    "forget": lambda store: store.registrations.forget("s"),
    "reset": lambda store: store.registrations.reset(registration_of("s"), NOTES, 0),
    "ranges": lambda store: store.leases.ranges(),
    "range": lambda store: store.leases.range(RangeKey("s")),
    "acquire": lambda store: store.leases.acquire(_SEEN, "me", "", ""),
    "heartbeat": lambda store: store.leases.heartbeat(Worker("me")),
    "release": lambda store: store.leases.release(_LEASE),
    "report": lambda store: store.leases.report(_LEASE, ""),
    "split": lambda store: store.leases.split(_LEASE, 9),
    "merge": lambda store: store.leases.merge(_LEASE, _LEASE),
    "workers": lambda store: store.leases.workers(),
    "expire worker": lambda store: store.leases.expire("me", 1),
    "deregister": lambda store: store.leases.deregister("me"),
    "failures": lambda store: store.failures.failures(),
    "requested": lambda store: store.failures.requested(),
    "request": lambda store: store.failures.request(FailureRequest("s", ("a",), "redriving", "me")),
    "record_action": lambda store: store.failures.record_action("skip", "s", "{}", "me", ""),
    "actions": lambda store: store.failures.actions(),
    "marks": lambda store: store.inbox.marks("s", [MarkKey("source", "key")]),
    "known_ids": lambda store: store.inbox.known_ids("s", [MessageId("source", "1")]),
    "forget_ids": lambda store: store.inbox.forget_ids("s", _EARLY.date()),
    "offsets": lambda store: store.inbox.offsets("s"),
    "messages": lambda store: store.inbox.messages("s", "a", after=0, limit=1),
    "count_messages": lambda store: store.inbox.count_messages("s"),
    "create_table": lambda store: store.tables.create_table(NOTES),
    "rows": lambda store: store.tables.rows(NOTES, [1]),
    "select": lambda store: store.tables.select(NOTES),
    "load_snapshots": lambda store: store.snapshots.load_snapshots(["a"]),
    "save_snapshot": lambda store: store.snapshots.save_snapshot(Snapshot("a", 1, new().id, "hash", "{}")),
}


class ClosingContract(StoreContract):
    """The contract of `Store.close`."""

    async def test_calls_to_a_closed_store_raise_store_unavailable(self, opener: Opener) -> None:
        async with opener() as store:
            await added(store.log, write("a"))
            await store.tables.create_table(NOTES)

        errors = {name: await _error(call(store)) for name, call in CALLS.items()}

        assert [name for name, error in errors.items() if "the store is closed" not in error.reason] == []
        assert {error.outcome for error in errors.values()} == {"not_written"}

    async def test_work_recorded_in_a_closed_store_raises_store_unavailable(self, opener: Opener) -> None:
        async with opener() as store:
            lease = await acquired(store, "s")

        with pytest.raises(StoreUnavailable, match="the store is closed"):
            await store.recorder.record(work_of(lease, 5))

    async def test_close_waits_for_all_appends(self, opener: Opener, url: str, clock: ManualClock) -> None:
        store = await open_store(url, clock=clock)
        appends = [asyncio.create_task(store.log.append([write(f"s-{n % 7}", 20)])) for n in range(200)]
        await asyncio.sleep(0)

        async with soon():
            await store.close()
        results = await asyncio.gather(*appends)

        assert all(isinstance(each, Appended) for each in results)
        if store.log.features.durable:
            async with opener() as again:
                assert len(await everything(again.log)) == 4000

    async def test_store_can_be_closed_twice(self, url: str, clock: ManualClock) -> None:
        store = await open_store(url, clock=clock)

        await store.close()
        await store.close()


async def _error(call: Awaitable[object]) -> StoreUnavailable:
    with pytest.raises(StoreUnavailable) as refused:
        async with soon():
            await call
    return refused.value
