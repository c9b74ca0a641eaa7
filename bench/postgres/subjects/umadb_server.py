"""UmaDB, an event store with its own server, through its Python client; the run starts the server."""

import threading
import time
from collections.abc import Sequence
from typing import Any

import msgspec
import umadb
from measure import Outcome, by_threads, check, outcome, timed
from order import EVENTS_PER_ORDER, order
from postgres.crowd import PART_CALLERS, Follower, begin, own_numbers, ready, report, wait_for_line
from postgres.subjects.raw import decode

__all__ = ["POSITION", "TABLE", "WORKLOADS"]

TABLE = POSITION = "position"
encode = msgspec.json.Encoder().encode
Append = tuple[str, list[Any]]


def made(streams: range, events: int) -> list[Append]:
    return [
        (f"order-{number}", [umadb.Event("Placed", encode(order(number)), tags=[f"order-{number}"])] * events)
        for number in streams
    ]


def query(stream: str) -> Any:
    return umadb.Query([umadb.QueryItem(tags=[stream])])


class Log:
    def __init__(self, url: str) -> None:
        self.client = umadb.Client(url)

    def append(self, given: Append) -> None:
        """Append to a stream that must be new."""
        stream, events = given
        self.client.append(events, umadb.AppendCondition(query(stream)))

    def load(self, stream: str) -> tuple[int, Any]:
        """Return the number of decoded events and the head."""
        found = self.client.read(query(stream))
        return len([decode(each.event.data) for each in found]), found.head()

    def fill(self, appends: Sequence[Append]) -> None:
        by_threads(self.append, appends)


def w1(url: str, n: int) -> Outcome:
    log = Log(url)
    timed(log.append, made(range(n, n + n // 10), 1))
    seconds, latencies = timed(log.append, made(range(n), 1))
    return outcome(n, seconds, latencies, stored=n + n // 10)


def w2(url: str, n: int) -> Outcome:
    log = Log(url)
    by_threads(log.append, made(range(n, n + n // 10), 1))
    seconds, latencies = by_threads(log.append, made(range(n), 1))
    return outcome(n, seconds, latencies, stored=n + n // 10)


def w3_part(url: str, n: int) -> dict[str, Any]:
    numbers = own_numbers(n + n // 10)
    log, warm_up, given = Log(url), made(numbers[n:], 1), made(numbers[:n], 1)
    by_threads(log.append, warm_up, PART_CALLERS)
    begin()
    return report(*by_threads(log.append, given, PART_CALLERS))


def w4(url: str, n: int) -> Outcome:
    log, streams, warm_up = Log(url), n // EVENTS_PER_ORDER, n // EVENTS_PER_ORDER // 10
    by_threads(log.append, made(range(streams, streams + warm_up), 10))
    seconds, latencies = by_threads(log.append, made(range(streams), 10))
    return outcome(streams * 10, seconds, latencies, stored=(streams + warm_up) * 10)


def w4_bulk(url: str, n: int) -> Outcome:
    """Append a thousand events of a hundred streams at a time."""
    client, streams, warm_up = umadb.Client(url), n // EVENTS_PER_ORDER, n // EVENTS_PER_ORDER // 10
    given = [event for _, events in made(range(streams), 10) for event in events]
    client.append([event for _, events in made(range(streams, streams + warm_up), 10) for event in events])
    seconds, _ = timed(client.append, [given[first : first + 1000] for first in range(0, len(given), 1000)])
    return outcome(streams * 10, seconds, stored=(streams + warm_up) * 10)


def w5_one(url: str, n: int) -> Outcome:
    log, loads = Log(url), 10
    [(_, events)] = made(range(1), n)
    for first in range(0, n, 1000):
        log.client.append(events[first : first + 1000])
    check("events decoded", log.load("order-0")[0], n)
    seconds, latencies = timed(log.load, ["order-0"] * loads)
    return outcome(loads * n, seconds, latencies, stored=n)


def w5_many(url: str, n: int) -> Outcome:
    log, decoded = Log(url), 0

    def load(number: int) -> None:
        nonlocal decoded
        decoded += log.load(f"order-{number}")[0]

    log.fill(made(range(n), EVENTS_PER_ORDER))
    timed(load, range(n // 10))
    decoded = 0
    seconds, latencies = timed(load, range(n))
    check("events decoded", decoded, n * EVENTS_PER_ORDER)
    return outcome(n * EVENTS_PER_ORDER, seconds, latencies, stored=n * EVENTS_PER_ORDER)


def w6(url: str, n: int) -> Outcome:
    log, streams = Log(url), 200
    log.fill(made(range(streams), 20))

    def act(change: Append) -> None:
        stream, events = change
        _, head = log.load(stream)
        log.client.append(events, umadb.AppendCondition(query(stream), after=head))

    changes = [made(range(number % streams, number % streams + 1), 1)[0] for number in range(n // 10 + n)]
    timed(act, changes[: n // 10])
    seconds, latencies = timed(act, changes[n // 10 :])
    return outcome(n, seconds, latencies, stored=streams * 20 + len(changes))


def w8(url: str, n: int) -> Outcome:
    log, handled, at, latencies = Log(url), threading.Event(), 0.0, list[float]()

    def follow_on() -> None:
        nonlocal at
        for each in log.client.subscribe():
            decode(each.event.data)
            at = time.perf_counter()
            handled.set()

    threading.Thread(target=follow_on, daemon=True).start()
    time.sleep(0.5)
    for given in made(range(n + n // 10), 1):
        time.sleep(0.01)
        handled.clear()
        started = time.perf_counter()
        log.append(given)
        check("handled in time", handled.wait(30), True)
        latencies.append(at - started)
    return outcome(n, None, latencies[n // 10 :], stored=n + n // 10)


def w8_notify(url: str, n: int) -> Outcome:
    log, latencies = Log(url), list[float]()
    with Follower("umadb", url) as follower:
        for given in made(range(n + n // 10), 1):
            time.sleep(0.02)
            started = time.perf_counter()
            log.append(given)
            latencies.append(follower.handled_at() - started)
    return outcome(n, None, latencies[n // 10 :], stored=n + n // 10)


def follow(url: str, _n: int) -> None:
    log = Log(url)  # keep a reference: the subscription ends with it
    ready()
    for each in log.client.subscribe():
        decode(each.event.data)
        print(time.perf_counter(), flush=True)


def probe_write(url: str, n: int) -> dict[str, Any]:
    numbers = own_numbers(n)
    log, appends = Log(url), [made(range(number, number + 1), 1 + number % 3)[0] for number in numbers]
    begin()
    by_threads(log.append, appends, PART_CALLERS)
    return {"acknowledged": sum(len(events) for _, events in appends)}


def probe_read(url: str, _n: int) -> dict[str, Any]:
    log, seen = Log(url), list[int]()

    def read() -> None:
        for each in log.client.subscribe():
            seen.append(each.position)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    time.sleep(0.2)
    ready()
    wait_for_line()
    check("the reader is running", reader.is_alive(), True)
    return {"seen": list(seen)}


def positions(url: str, _n: int) -> dict[str, Any]:
    """Return the positions of all events."""
    log = Log(url)
    return {"positions": [each.position for each in log.client.read()]}


WORKLOADS = {
    "positions": positions,
    "W1": w1,
    "W2": w2,
    "W3-part": w3_part,
    "W4": w4,
    "W4-bulk": w4_bulk,
    "W5-one": w5_one,
    "W5-many": w5_many,
    "W6": w6,
    "W8": w8,
    "W8-notify": w8_notify,
    "follow": follow,
    "probe-write": probe_write,
    "probe-read": probe_read,
}
