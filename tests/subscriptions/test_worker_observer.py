"""A worker is expired when an observer has seen its heartbeat stand still, by the observer's own clock."""

from datetime import UTC, datetime

from fait._store.ports.leases import Range, RegisteredWorker, Worker
from fait._store.ports.registrations import RangeKey
from fait._subscriptions.worker_observer import IDLE_WORKER_TIMEOUT_S, MEMORY_S, WorkerObserver

LEASE_S = 5.0


def registered(id: str, heartbeat: int, *runs: str) -> RegisteredWorker:
    return RegisteredWorker(Worker(id, runs=dict.fromkeys(runs, "")), heartbeat, datetime(2030, 1, 1, tzinfo=UTC))


def owned_by(worker: str) -> Range:
    return Range(RangeKey("mail"), 0, worker, 1, 1)


def names(expired: list[RegisteredWorker]) -> list[str]:
    return [each.worker.id for each in expired]


def test_worker_is_expired_when_its_heartbeat_has_stood_still() -> None:
    observer = WorkerObserver("me", frozenset({"mail"}), LEASE_S)
    for now in (100.0, 104.9):
        assert observer.expired([registered("you", 1, "mail"), registered("me", 1, "mail")], [], now) == []
    assert observer.expires_at == 105.0

    assert observer.expired([registered("you", 2, "mail")], [], 105.0) == []
    assert observer.expired([registered("you", 2, "mail")], [], 109.9) == []
    assert names(observer.expired([registered("you", 2, "mail")], [], 110.0)) == ["you"]


def test_worker_that_returns_is_observed_from_its_return_on() -> None:
    observer = WorkerObserver("me", frozenset({"mail"}), LEASE_S)
    observer.expired([registered("you", 1, "mail")], [], 100.0)
    observer.expired([], [], 101.0)

    assert observer.expired([registered("you", 1, "mail")], [], 105.5) == []


def test_worker_that_was_expired_and_lives_has_twice_as_much_time_and_at_most_four_times() -> None:
    observer, now = WorkerObserver("me", frozenset({"mail"}), LEASE_S), 100.0
    for heartbeat, timeout_s in enumerate([LEASE_S, 2 * LEASE_S, 4 * LEASE_S, 4 * LEASE_S], start=1):
        worker = registered("you", heartbeat, "mail")
        assert observer.expired([worker], [], now) == []
        assert observer.expired([worker], [], now + timeout_s - 0.1) == []
        now += timeout_s
        assert names(observer.expired([worker], [], now)) == ["you"]
        assert observer.expired([], [], now + 1) == []  # its row is deleted, until it registers again
        now += 2


def test_own_heartbeat_is_not_observed() -> None:
    observer = WorkerObserver("me", frozenset({"mail"}), LEASE_S)
    observer.expired([registered("me", 1, "mail")], [], 100.0)

    assert observer.expired([registered("me", 1, "mail")], [], 900.0) == []


def test_worker_of_other_subscriptions_is_expired_after_a_minute() -> None:
    observer = WorkerObserver("me", frozenset({"mail"}), LEASE_S)
    other = [registered("other", 1, "invoices")]
    observer.expired(other, [], 100.0)

    assert observer.expired(other, [], 100.0 + IDLE_WORKER_TIMEOUT_S - 0.1) == []
    assert names(observer.expired(other, [], 100.0 + IDLE_WORKER_TIMEOUT_S)) == ["other"]


def test_owner_of_a_range_is_expired_after_the_lease_although_it_runs_nothing() -> None:
    observer = WorkerObserver("me", frozenset({"mail"}), LEASE_S)
    observer.expired([registered("tired", 1)], [owned_by("tired")], 100.0)

    assert names(observer.expired([registered("tired", 1)], [owned_by("tired")], 105.0)) == ["tired"]


def test_worker_that_is_gone_is_forgotten_after_an_hour() -> None:
    observer = WorkerObserver("me", frozenset({"mail"}), LEASE_S)
    for number in range(100):
        worker = registered(f"worker-{number}", 1, "mail")
        observer.expired([worker], [], 100.0)
        assert names(observer.expired([worker], [], 100.0 + LEASE_S)) == [worker.worker.id]
    late = registered("worker-0", 2, "mail")
    observer.expired([late], [], 110.0)
    assert len(observer._expired) == 99
    assert observer._late["worker-0"] == 1

    observer.expired([registered("me", 9, "mail")], [], 110.0 + MEMORY_S + 1)

    assert not observer._expired
    assert not observer._late
    assert list(observer._seen) == ["me"]
