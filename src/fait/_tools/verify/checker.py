"""Compares the appends that writers reported and the events that readers reported with the stored log."""

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from itertools import accumulate
from typing import Any, Final

import msgspec
from msgspec import Struct

from fait._events.envelope import RecordedEvent
from fait._store.ports.store import Finding
from fait._tools.verify.order import OrderCheck
from fait._tools.verify.plan import CLOSED, ENTERED, OUTBOX, event_key, limit_of
from fait._tools.verify.report import ReaderReport, Violation, reader_report

__all__ = ["Checker"]

MAX_EXAMPLES: Final = 5
"""Maximum number of examples kept of each violation."""


class Acknowledgment(Struct, frozen=True):
    """The acknowledgment of an event to a caller. The version is None if the caller does not know it."""

    stream: str
    version: int | None
    time: float


class Checker:
    """Collects the messages of the processes while they run, and compares them with the log at the end.

    Attributes:
        errors: errors that callers may receive, by exception type: how often, and the latest text.
        delivered: number of events delivered so far, by reader.
        unsafe_settings: findings about the connections of user programs.
        violations: number of occurrences of each violation.
        examples: some occurrences of each violation.
    """

    def __init__(self) -> None:
        self.errors: dict[str, tuple[int, str]] = {}
        self.delivered: dict[str, int] = {}
        self.unsafe_settings: list[Finding] = []
        self.violations: Counter[Violation] = Counter()
        self.examples: defaultdict[Violation, list[Any]] = defaultdict(list)
        self._reader_violations: dict[str, dict[Violation, tuple[int, str]]] = {}
        self._acknowledged: dict[bytes, Acknowledgment] = {}
        self._rejected: set[bytes] = set()
        self._rolled_back: dict[bytes, float] = {}
        self._rows: set[bytes] = set()
        self._stored: dict[bytes, int] = {}
        self._outbox_events: set[bytes] = set()
        self._order = OrderCheck()
        self._usage: Counter[str] = Counter()
        self._closed_gates: dict[str, int] = {}

    @property
    def acknowledged(self) -> int:
        """Number of events that were acknowledged."""
        return len(self._acknowledged)

    @property
    def rejected(self) -> int:
        """Number of events that were rejected."""
        return len(self._rejected)

    @property
    def rolled_back(self) -> int:
        """Number of transactions that were rolled back."""
        return len(self._rolled_back)

    @property
    def stored(self) -> int:
        """Number of events in the log, once it has been read."""
        return len(self._stored)

    @property
    def violation_count(self) -> int:
        """Number of violations so far."""
        by_readers = sum(count for each in self._reader_violations.values() for count, _ in each.values())
        return self.violations.total() + by_readers

    def report(self, violation: Violation, example: Any, count: int = 1) -> None:
        """Count a violation."""
        self.violations[violation] += count
        if len(self.examples[violation]) < MAX_EXAMPLES:
            self.examples[violation].append(example)

    def add_message(self, message: list[Any], reader: str = "") -> None:
        """Collect a message of a process; `reader` is the name of the reader that sent it."""
        match message:
            case ["stored", time, stream, version, keys]:
                for distance, key in enumerate(reversed(keys)):
                    self._acknowledged[_key(key)] = Acknowledgment(stream, version and version - distance, time)
            case ["rejected", keys]:
                self._rejected.update(map(_key, keys))
            case ["rolled back", time, [key]]:
                self._rolled_back[_key(key)] = time
            case ["delivered", count, violations]:
                self.delivered[reader] = count
                self._reader_violations[reader] = {Violation(each): seen for each, seen in violations.items()}
            case ["rows", keys]:
                for key in map(_key, keys):
                    if key in self._rows:
                        self.report(Violation.TORN_TRANSACTION, f"row {key.hex()} is stored twice")
                    self._rows.add(key)
            case ["error", kind, text]:
                self.errors[kind] = (self.errors.get(kind, (0, ""))[0] + 1, text)
            case ["violation", violation, example]:
                self.report(Violation(violation), example)
            case ["warning", text]:
                self.unsafe_settings = [Finding("connections of user programs", "problem", text)]
            case _:
                pass

    def add_recorded(self, event: RecordedEvent) -> None:
        """Check the next event of the log, which is read after all writers have ended."""
        key = _key(event_key(event))
        description = f"{event.type} {event.id} at position {event.position}, {event.stream} version {event.version}"
        if violation := self._order.add(event):
            self.report(violation, description)
        if key in self._stored:
            self.report(Violation.DUPLICATE_EVENT, f"stored twice: {description}")
        self._stored[key] = event.position
        if event.type in (OUTBOX, CLOSED):
            self._outbox_events.add(key)
        expected = self._acknowledged.get(key)
        if expected and (expected.stream != event.stream or expected.version not in (None, event.version)):
            acknowledged = f"acknowledged as {expected.stream} version {expected.version}"
            self.report(Violation.MISPLACED_EVENT, f"{description}; {acknowledged}")
        if key in self._rejected:
            self.report(Violation.REJECTED_EVENT_STORED, description)
        self._check_conditions(event, description)

    def _check_conditions(self, event: RecordedEvent, description: str) -> None:
        """Evaluate the append conditions again over the events in order of position."""
        if event.type == CLOSED:
            self._closed_gates[event.tags[0]] = event.position
        elif event.type == ENTERED:
            after, closed = msgspec.json.decode(event.data)["after"], self._closed_gates.get(event.tags[0], 0)
            if closed > after:
                detail = f"condition read at position {after}, {event.tags[0]} closed at {closed}"
                self.report(Violation.CONDITION_VIOLATED, f"{description}; {detail}")
        elif limited := limit_of(event):
            resource, limit = limited
            self._usage[resource] += 1
            if self._usage[resource] > limit:
                detail = f"{resource} taken {self._usage[resource]} times, limit {limit}"
                self.report(Violation.CONDITION_VIOLATED, f"{description}; {detail}")

    def finish(self) -> None:
        """Compare acknowledgments, rollbacks and rows with the log. All events and rows must have been added."""
        for key, expected in self._acknowledged.items():
            if key not in self._stored:
                version = expected.version or "unknown"
                self.report(Violation.LOST_EVENT, f"{key.hex()} in {expected.stream}, version {version}")
        for key in self._rolled_back.keys() & self._stored.keys():
            self.report(Violation.ROLLED_BACK_EVENT, f"{key.hex()} at position {self._stored[key]}")
        for key in self._rows - self._stored.keys():
            self.report(Violation.TORN_TRANSACTION, f"row {key.hex()} has no event")
        for key in self._outbox_events - self._rows:
            self.report(Violation.TORN_TRANSACTION, f"event {key.hex()} has no row")

    def finish_reader(self, name: str, deliveries: Iterable[tuple[int, float, bytes]]) -> ReaderReport:
        """Compare the deliveries to one reader with the log, and measure delays."""
        times: dict[bytes, float] = {}
        for position, time, key in deliveries:
            if self._stored.get(key) != position:
                rolled_back = key in self._rolled_back
                violation = Violation.ROLLED_BACK_EVENT if rolled_back else Violation.PHANTOM_EVENT
                self.report(violation, f"{name} reader: {key.hex()} at position {position}")
            times.setdefault(key, time)
        self._report_reader(name, self._stored.keys() - times.keys())
        pairs = sorted((self._acknowledged[key].time, time) for key, time in times.items() if key in self._acknowledged)
        delays_s = [max(0.0, delivered_at - acknowledged_at) for acknowledged_at, delivered_at in pairs]
        return reader_report(len(times), delays_s, self._rollback_delays(pairs))

    def _report_reader(self, name: str, missed: Collection[bytes]) -> None:
        for key in missed:
            self.report(Violation.MISSED_EVENT, f"{name} reader: {key.hex()} at position {self._stored[key]}")
        for violation, (count, example) in self._reader_violations.pop(name, {}).items():
            if violation != Violation.MISSED_EVENT:  # provisional; `missed` is the final answer
                self.report(violation, f"{name} reader: {example}", count)

    def _rollback_delays(self, pairs: list[tuple[float, float]]) -> list[float]:
        """Measure the time from each rollback until all events acknowledged before it were delivered.

        Args:
            pairs: times of acknowledgment and of delivery, in order.
        """
        acknowledged_at = [each for each, _ in pairs]
        all_delivered_at = list(accumulate((delivered_at for _, delivered_at in pairs), max))
        counts = [(time, bisect_right(acknowledged_at, time)) for time in self._rolled_back.values()]
        return [max(0.0, all_delivered_at[count - 1] - time) for time, count in counts if count]


def _key(text: str) -> bytes:
    """Convert a UUID to 16 bytes, to save memory."""
    return bytes.fromhex(text.replace("-", ""))
