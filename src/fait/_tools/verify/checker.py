"""Compares what writers were told and readers were given with what is stored."""

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from itertools import accumulate
from typing import Any, Final

import msgspec

from fait._events.envelope import RecordedEvent
from fait._store.health import Finding
from fait._tools.verify.order import OrderCheck
from fait._tools.verify.plan import CLOSED, ENTERED, JOINED, limit_of, name_of
from fait._tools.verify.report import (
    CONDITION,
    DUPLICATED,
    MISSED,
    MOVED,
    NOT_STORED,
    REFUSED_STORED,
    ROLLED_BACK,
    TORN,
    UNKNOWN,
    Fault,
    FeedReport,
    feed,
)

__all__ = ["Checker"]

MAX_EXAMPLES: Final = 5

_Told = tuple[str, int | None, float]
"""Stream, version if it is known, and the moment."""


class Checker:
    """Takes in what is said while it goes on, and compares at the end.

    Attributes:
        acknowledged, refused, rolled_back: how many events, so far.
        errors: that callers may be given, by kind: how often, and the last.
        delivered: events given to each reader, so far.
        unsafe: what was found against a user's own connection.
    """

    def __init__(self) -> None:
        self.errors: dict[str, tuple[int, str]] = {}
        self.delivered: dict[str, int] = {}
        self.unsafe: list[Finding] = []
        self.broken: Counter[Fault] = Counter()
        self.examples: defaultdict[Fault, list[Any]] = defaultdict(list)
        self._seen: dict[str, dict[Fault, tuple[int, str]]] = {}
        self._told: dict[bytes, _Told] = {}
        self._refused: set[bytes] = set()
        self._rolled_back: dict[bytes, float] = {}
        self._rows: set[bytes] = set()
        self._stored: dict[bytes, int] = {}
        self._with_row: set[bytes] = set()
        self._order = OrderCheck()
        self._taken: Counter[str] = Counter()
        self._closed: dict[str, int] = {}

    @property
    def acknowledged(self) -> int:
        """Events that somebody was told are stored."""
        return len(self._told)

    @property
    def refused(self) -> int:
        """Events that somebody was told are not stored."""
        return len(self._refused)

    @property
    def rolled_back(self) -> int:
        """Transactions that were rolled back."""
        return len(self._rolled_back)

    @property
    def stored(self) -> int:
        """Events in the log, once it has been read."""
        return len(self._stored)

    @property
    def faults(self) -> int:
        """How many are known so far."""
        return self.broken.total() + sum(count for each in self._seen.values() for count, _ in each.values())

    def report(self, fault: Fault, example: Any, count: int = 1) -> None:
        """A promise was broken."""
        self.broken[fault] += count
        if len(self.examples[fault]) < MAX_EXAMPLES:
            self.examples[fault].append(example)

    def add(self, said: list[Any], reader: str = "") -> None:
        """Something that a process said."""
        match said:
            case ["stored", moment, stream, version, names]:
                for place, name in enumerate(reversed(names)):
                    self._told[_key(name)] = (stream, version and version - place, moment)
            case ["refused", names]:
                self._refused.update(map(_key, names))
            case ["rolled back", moment, [name]]:
                self._rolled_back[_key(name)] = moment
            case ["given", count, faults]:
                self.delivered[reader], self._seen[reader] = count, faults
            case ["rows", names]:
                for key in map(_key, names):
                    if key in self._rows:
                        self.report(TORN, f"row {key.hex()} is there twice")
                    self._rows.add(key)
            case ["error", kind, text]:
                self.errors[kind] = (self.errors.get(kind, (0, ""))[0] + 1, text)
            case ["fault", fault, example]:
                self.report(fault, example)
            case ["unsafe", text]:
                self.unsafe = [Finding("your own connections", "finding", text)]
            case _:
                pass

    def add_recorded(self, event: RecordedEvent) -> None:
        """The next event of the log, as it is read when all is over."""
        key = _key(name_of(event))
        where = f"{event.type} {event.id} at position {event.position}, {event.stream} version {event.version}"
        if fault := self._order.add(event):
            self.report(fault, where)
        if key in self._stored:
            self.report(DUPLICATED, f"stored twice: {where}")
        self._stored[key] = event.position
        if event.type in (JOINED, CLOSED):
            self._with_row.add(key)
        told = self._told.get(key)
        if told and (told[0] != event.stream or told[1] not in (None, event.version)):
            self.report(MOVED, f"{where}, and not {told[0]} version {told[1]}")
        if key in self._refused:
            self.report(REFUSED_STORED, where)
        self._check_conditions(event, where)

    def _check_conditions(self, event: RecordedEvent, where: str) -> None:
        """Whether the conditions that events were appended on still hold when they are looked at in order."""
        if event.type == CLOSED:
            self._closed[event.tags[0]] = event.position
        elif event.type == ENTERED:
            after, closed = msgspec.json.decode(event.data)["after"], self._closed.get(event.tags[0], 0)
            if closed > after:
                self.report(CONDITION, f"{where}, on what was known at {after}, but {event.tags[0]} closed at {closed}")
        elif limited := limit_of(event):
            what, limit = limited
            self._taken[what] += 1
            if self._taken[what] > limit:
                self.report(CONDITION, f"{where}: {what} for the {self._taken[what]}. time, and there is {limit}")

    def finish(self) -> None:
        """All of the log, and all rows, were taken in."""
        for key, (stream, version, _) in self._told.items():
            if key not in self._stored:
                self.report(NOT_STORED, f"{key.hex()} in {stream}, version {version or 'unknown'}")
        for key in self._rolled_back.keys() & self._stored.keys():
            self.report(ROLLED_BACK, f"{key.hex()} at position {self._stored[key]}")
        for key in self._rows - self._stored.keys():
            self.report(TORN, f"the row {key.hex()} has no event")
        for key in self._with_row - self._rows:
            self.report(TORN, f"the event {key.hex()} has no row")

    def finish_reader(self, name: str, given: Iterable[tuple[int, float, bytes]]) -> FeedReport:
        """Compare what one reader was given with what is stored."""
        moments: dict[bytes, float] = {}
        for position, moment, key in given:
            if self._stored.get(key) != position:
                self.report(ROLLED_BACK if key in self._rolled_back else UNKNOWN, f"{name}: {key.hex()} at {position}")
            moments.setdefault(key, moment)
        self._report_reader(name, self._stored.keys() - moments.keys())
        told = sorted((self._told[key][2], moment) for key, moment in moments.items() if key in self._told)
        delays = [max(0.0, moment - told_at) for told_at, moment in told]
        return feed(len(moments), delays, self._after_rollback(told))

    def _report_reader(self, name: str, missed: Collection[bytes]) -> None:
        for key in missed:
            self.report(MISSED, f"{name}: {key.hex()} at position {self._stored[key]}")
        for fault, (count, example) in self._seen.pop(name, {}).items():
            if fault != MISSED:  # a gap; what is missing is known by now
                self.report(fault, f"{name}: {example}", count)

    def _after_rollback(self, told: list[tuple[float, float]]) -> list[float]:
        """After each rollback, how long until everything was delivered that had been acknowledged before it."""
        acknowledged = [told_at for told_at, _ in told]
        complete = list(accumulate((moment for _, moment in told), max))
        places = [(moment, bisect_right(acknowledged, moment)) for moment in self._rolled_back.values()]
        return [max(0.0, complete[place - 1] - moment) for moment, place in places if place]


def _key(name: str) -> bytes:
    """Sixteen bytes instead of the text, as there are many."""
    return bytes.fromhex(name.replace("-", ""))
