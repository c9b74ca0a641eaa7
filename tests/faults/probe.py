"""Does a log keep its promises while several processes write to it, hold transactions open and are killed?

    python -m tests.faults.probe --minutes 10 --server 18
    python -m tests.faults.probe --seconds 30 --url postgresql://user@host/database

    writers   processes of many callers each, appending on their own streams and on contended ones, with conditions,
              and inside transactions of their own that stay open for a while, some of which are rolled back;
              now and then one of the processes is killed and another one takes its place
    readers   processes that follow the log live: one hears news, one is deaf and looks
    foreign   a transaction that writes, and changes the schema, held open from the beginning to the end

At the end, what the readers were given and what the writers were told is compared with what is stored. The last line is
the report as JSON; the program fails if a promise is broken. `--bad-mark` breaks the readers on purpose: a probe that
does not find that out is worth nothing.
"""

import argparse
import asyncio
import json
import math
import random
import subprocess
import sys
import tempfile
import threading
import time
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import msgspec

from fait.errors import FaitError
from fait.events.append import AppendCondition, Appended, ConditionFailed, Conflict, Write
from fait.events.envelope import NewEvent, StoredEvent
from fait.events.query import Query
from fait.store.open import Store, open_store
from tests.servers.postgres import PostgresServer

SHARED = 40
"""Streams that all writers append to."""

ANY, NO_STREAM = -1, 0
PLAIN, JOINED, SOLD, TURN = "probe.happened", "probe.joined", "probe.sold", "probe.turn"

OPEN_S = 0.02
"""How long a transaction stays open after its append, at most."""

ROLLED_BACK = 0.3
"""How many of them are rolled back."""

PATIENCE_S = 60.0
"""How long actors may take to finish what they have in hand."""


class Plan(msgspec.Struct, frozen=True):
    """What is to be done.

    Attributes:
        url: of a log that nobody else uses.
        database: the URL without our own options.
        schema: where the log is in it.
        seconds: how long writers write.
        seed: what chance depends on.
        writers, callers, transactions: processes, and in each, callers and open transactions at a time.
        kill_every_s: how often a writer is killed, on average.
        bad_mark: let the readers take the last number given for the end of what is final.
    """

    database: str
    schema: str
    seconds: float
    seed: int
    writers: int = 3
    callers: int = 16
    transactions: int = 2
    kill_every_s: float = 2.0
    bad_mark: bool = False

    @property
    def url(self) -> str:
        return f"{self.database}{'&' if '?' in self.database else '?'}schema={self.schema}"


class Report(msgspec.Struct):
    """What was found.

    Attributes:
        stored: events.
        acknowledged: writes of appends.
        refused: events that are certainly not stored.
        delay_p50_ms, delay_p99_ms: from an acknowledgement until a reader had the event.
        broken: promises, and how often each was broken.
        examples: of each of those.
    """

    seed: int
    seconds: float
    stored: int
    acknowledged: int
    refused: int
    killed: int
    delivered: dict[str, int]
    delay_p50_ms: dict[str, float]
    delay_p99_ms: dict[str, float]
    broken: dict[str, int]
    examples: dict[str, Any]

    @property
    def good(self) -> bool:
        return not self.broken

    def line(self) -> str:
        found = ", ".join(f"{count} {name}" for name, count in self.broken.items()) or "nothing missed or out of order"
        return (
            f"{'GOOD' if self.good else 'BAD'}: {found}; {self.stored} events stored, {self.acknowledged} appends "
            f"acknowledged, {self.killed} writers killed, in {self.seconds:.0f} s (seed {self.seed})"
        )


class Writer:
    """One process that appends, until its standard input ends. Says what it was told, a line for each append."""

    def __init__(self, plan: Plan, name: str) -> None:
        self._plan = plan
        self._name = name
        self._chance = random.Random(f"{plan.seed} {name}")
        self._versions: defaultdict[str, int] = defaultdict(int)
        self._ended = asyncio.Event()

    async def run(self) -> None:
        store = await open_store(self._plan.url, create=False)
        say("open")
        ending = asyncio.create_task(self._end())
        callers = [self._call(store, number) for number in range(self._plan.callers)]
        joiners = [self._join(number) for number in range(self._plan.transactions)]
        await asyncio.gather(*callers, *joiners)
        await store.close()
        await ending

    async def _end(self) -> None:
        await asyncio.to_thread(sys.stdin.read)
        self._ended.set()

    async def _call(self, store: Store, caller: int) -> None:
        count = 0
        while not self._ended.is_set():
            count += 1
            writes, condition = self._next(caller, count)
            try:
                verdict = await store.log.append(writes, condition)
            except FaitError as problem:
                say("problem", type(problem).__name__, str(problem))
            else:
                self._tell(writes, condition, verdict)
            await asyncio.sleep(self._chance.random() * 0.01)

    def _next(self, caller: int, count: int) -> tuple[list[Write], AppendCondition | None]:
        chance = self._chance.random()
        own = f"own-{self._name}-{caller}-{count // 50}"
        if chance < 0.55:
            return [self._write(own)], None
        if chance < 0.85:
            return [self._write(f"shared-{self._chance.randrange(SHARED)}")], None
        if chance < 0.90:
            both = sorted({f"shared-{self._chance.randrange(SHARED)}", own})
            return [self._write(stream) for stream in both], None
        if chance < 0.98:  # a seat is sold once: everybody tries the same ones
            seat = f"seat:{int(time.time() * 20)}"
            return [Write(own, (event(SOLD, seat),), ANY)], AppendCondition((Query((SOLD,), (seat,)),), 0)
        turn = f"{TURN}-{int(time.time() * 4)}"  # one turn at a time, told by its type alone
        return [Write(own, (event(turn),), ANY)], AppendCondition((Query((turn,)),), 0)

    def _write(self, stream: str) -> Write:
        expected = self._versions[stream] if self._chance.random() < 0.5 else ANY
        return Write(stream, tuple(event(PLAIN) for _ in range(self._chance.choice((1, 1, 2, 3)))), expected)

    def _tell(self, writes: Sequence[Write], condition: AppendCondition | None, verdict: Any) -> None:
        match verdict:
            case Appended(_, versions, repeated=False):
                for write, version in zip(writes, versions, strict=True):
                    self._versions[write.stream] = version
                    say("stored", time.time(), write.stream, version, [each.id for each in write.events])
            case Conflict(stream, expected, actual) if expected not in (ANY, actual):
                self._versions[stream] = actual
                say("refused", [each.id for write in writes for each in write.events])
            case ConditionFailed(events) if condition and any(condition.queries[0].matches(each) for each in events):
                say("refused", [each.id for write in writes for each in write.events])
            case _:
                say("problem", "UntrueVerdict", repr(verdict))

    async def _join(self, number: int) -> None:
        """Appends as an outbox does: in a transaction that goes on for a while, and may be taken back."""
        connection = await asyncpg.connect(
            self._plan.database, server_settings={"search_path": f'"{self._plan.schema}"'}
        )
        while not self._ended.is_set():
            shared = self._chance.random() < 0.3
            stream = f"shared-{self._chance.randrange(SHARED)}" if shared else f"joined-{self._name}-{number}"
            event_id = str(uuid4())
            await connection.execute("BEGIN")
            [row] = await connection.fetch(
                "SELECT * FROM fait_append_1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, joined => 5000)",
                [stream], [ANY], [1], [1], [1], [event_id], [JOINED], [1], ["{}"], ["{}"],
            )  # fmt: skip
            await asyncio.sleep(self._chance.random() * OPEN_S)
            if self._chance.random() < ROLLED_BACK:
                await connection.execute("ROLLBACK")
                say("refused", [event_id])
            else:
                await connection.execute("COMMIT")
                say("stored", time.time(), stream, row["last_version"], [event_id])
        await connection.close()


class Reader:
    """One process that follows the log as subscriptions do, until it has reached the position it is told to.

    Says at the end what it saw of order and delay; the positions it was given are left in a file.
    """

    def __init__(self, plan: Plan, *, deaf: bool, given: Path) -> None:
        self._plan = plan
        self._deaf = deaf
        self._file = given
        self._given = array("q")
        self._given_at = array("d")
        self._versions: defaultdict[str, int] = defaultdict(int)
        self._reordered = 0
        self._versions_broken = 0
        self._goal = math.inf

    async def run(self) -> None:
        store = await open_store(self._plan.url, create=False)
        log: Any = store.log
        if self._deaf:
            log._watcher.announcer.start = lambda: None
        if self._plan.bad_mark:
            last = f"coalesce(pg_sequence_last_value('\"{self._plan.schema}\".fait_position'), 0)"
            log._database.sql["mark"] = f"SELECT {last}, {last}"
        ending = asyncio.create_task(self._end())
        say("open")
        position = 0
        while position < self._goal:
            page = await log.read(position)
            self._take(page.events)
            position = page.position
            if not page.more and position < self._goal:
                await asyncio.wait(
                    [ending, waiting := asyncio.create_task(log.changed(position))], return_when="FIRST_COMPLETED"
                )
                waiting.cancel()
        self._file.write_bytes(self._given.tobytes() + self._given_at.tobytes())
        say("read", self._reordered, self._versions_broken)
        await store.close()

    async def _end(self) -> None:
        self._goal = int(await asyncio.to_thread(sys.stdin.readline) or 0)

    def _take(self, events: Iterable[StoredEvent]) -> None:
        now = time.time()
        for each in events:
            self._reordered += bool(self._given) and each.position <= self._given[-1]
            self._given.append(each.position)
            self._versions_broken += each.version != self._versions[each.stream] + 1
            self._versions[each.stream] = each.version
            self._given_at.append(now)


class Actor:
    """A child process of the probe, whose lines are taken in as they come.

    Attributes:
        begun: set when it has said something, or has ended.
    """

    def __init__(self, plan: Plan, take: Callable[[list[Any]], None], *role: str) -> None:
        self.begun = threading.Event()
        self._take = take
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.probe", "--actor", msgspec.json.encode(plan), *role],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.endswith("\n"):  # a killed process may leave half a line: that was not acknowledged
                self._take(json.loads(line))
                self.begun.set()
        self.begun.set()

    def tell(self, line: str = "") -> None:
        """Say a last line to it."""
        assert self._process.stdin is not None
        self._process.stdin.write(line)
        self._process.stdin.close()

    def kill(self) -> None:
        self._process.kill()
        self.ended()

    def ended(self) -> int:
        """Wait until it has ended and everything it said was taken in; its exit code."""
        assert self._process.stdout is not None
        code = self._process.wait(PATIENCE_S)
        self._listener.join()
        self._process.stdout.close()
        assert self._process.stdin is not None
        if not self._process.stdin.closed:
            self._process.stdin.close()
        return code


class Probe:
    """Carries a plan out, and judges."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._chance = random.Random(plan.seed)
        self._lock = threading.Lock()
        self._stored: dict[str, tuple[str, int]] = {}
        self._stored_at: dict[str, float] = {}
        self._acknowledged = 0
        self._refused: set[str] = set()
        self._broken: Counter[str] = Counter()
        self._examples: dict[str, Any] = {}
        self._reads: dict[str, list[int]] = {}
        self._delays: dict[str, list[float]] = {}
        self._delivered: dict[str, int] = {}
        self._started = 0
        self._killed = 0

    async def run(self) -> Report:
        await (await open_store(self._plan.url)).close()
        with tempfile.TemporaryDirectory(prefix="fait-probe-") as directory:
            files = {name: Path(directory, name) for name in ("hearing", "deaf")}
            readers = {name: self._reader(name, file) for name, file in files.items()}
            foreign = await asyncpg.connect(self._plan.database)
            try:
                await foreign.execute(f'BEGIN; CREATE TABLE "{self._plan.schema}".foreign_rows (number integer)')
                await foreign.execute(f'INSERT INTO "{self._plan.schema}".foreign_rows VALUES (1)')
                await asyncio.to_thread(self._write, readers.values())
                head = await foreign.fetchval(f'SELECT coalesce(max(position), 0) FROM "{self._plan.schema}".fait_all')
                await asyncio.to_thread(self._finish, readers, head)
                await foreign.execute("ROLLBACK")
                rows = await foreign.fetch(
                    f'SELECT position, id::text, stream, version, type, tags FROM "{self._plan.schema}".fait_all '
                    "ORDER BY position"
                )
            finally:
                await foreign.close()
            self._judge(rows)
            for name, file in files.items():
                self._judge_reader(name, file, {row["position"]: row["id"] for row in rows})
        return self._report(len(rows))

    def _reader(self, name: str, file: Path) -> Actor:
        return Actor(self._plan, lambda said: self._take_in(said, name), "reader", name, str(file))

    def _writer(self) -> Actor:
        self._started += 1
        return Actor(self._plan, self._take_in, "writer", f"w{self._started}")

    def _write(self, readers: Iterable[Actor]) -> None:
        writers = [self._writer() for _ in range(self._plan.writers)]
        for actor in (*readers, *writers):
            actor.begun.wait(PATIENCE_S)
        end = time.monotonic() + self._plan.seconds
        while (left := end - time.monotonic()) > 0:
            pause = self._plan.kill_every_s * (0.5 + self._chance.random())
            time.sleep(min(left, pause))
            victim = self._chance.randrange(len(writers))
            if pause < left and writers[victim].begun.is_set():
                writers[victim].kill()
                self._killed += 1
                writers[victim] = self._writer()
        for writer in writers:
            writer.tell()
        for writer in writers:
            if writer.ended():
                self._break("writers failed", None)

    def _finish(self, readers: dict[str, Actor], head: int) -> None:
        for reader in readers.values():
            reader.tell(f"{head}\n")
        for name, reader in readers.items():
            try:
                code = reader.ended()
            except subprocess.TimeoutExpired:
                self._break("readers stuck", name)
                reader.kill()
            else:
                if code:
                    self._break("readers failed", name)

    def _take_in(self, said: list[Any], name: str = "") -> None:
        with self._lock:
            match said:
                case ["stored", moment, stream, version, ids]:
                    self._acknowledged += 1
                    for place, each in enumerate(reversed(ids)):
                        self._stored[each] = (stream, version - place)
                        self._stored_at[each] = moment
                case ["refused", ids]:
                    self._refused.update(ids)
                case ["read", *what]:
                    self._reads[name] = what
                case ["problem", kind, text]:
                    self._break(f"unexpected {kind}", text)
                case _:
                    pass

    def _judge(self, rows: Sequence[Any]) -> None:
        stored = {row["id"]: (row["stream"], row["version"]) for row in rows}
        for event_id, place in self._stored.items():
            if event_id not in stored:
                self._break("acknowledged and not stored", (event_id, place))
            elif stored[event_id] != place:
                self._break("stored elsewhere than acknowledged", (event_id, place, stored[event_id]))
        for event_id in self._refused & stored.keys():
            self._break("refused and stored", event_id)
        versions: defaultdict[str, int] = defaultdict(int)
        once: Counter[str] = Counter()
        for row in rows:
            if row["version"] != versions[row["stream"]] + 1:
                self._break("versions out of order", (row["stream"], row["version"], row["position"]))
            versions[row["stream"]] = row["version"]
            once.update(row["tags"] or ())
            once.update([row["type"]] if row["type"].startswith(TURN) else [])
        for name, count in once.items():
            if count > 1:
                self._break("conditions broken", (name, count))

    def _judge_reader(self, name: str, file: Path, ids: dict[int, str]) -> None:
        raw = file.read_bytes() if file.exists() else b""
        given, given_at = array("q", raw[: len(raw) // 2]), array("d", raw[len(raw) // 2 :])
        seen = Counter(given)
        missed = sorted(ids.keys() - seen.keys())
        self._break(f"missed by the {name} reader", missed[:5], len(missed))
        twice = [position for position, count in seen.items() if count > 1]
        self._break(f"given twice to the {name} reader", twice[:5], len(twice))
        unknown = sorted(seen.keys() - ids.keys())
        self._break(f"given to the {name} reader and not stored", unknown[:5], len(unknown))
        reordered, versions = self._reads.get(name, (0, 0))
        self._break(f"out of order for the {name} reader", None, reordered)
        self._break(f"versions out of order for the {name} reader", None, versions)
        delays = [
            moment - self._stored_at[ids[position]]
            for position, moment in zip(given, given_at, strict=True)
            if ids.get(position) in self._stored_at
        ]
        self._delays[name] = sorted(max(0.0, each) for each in delays)
        self._delivered[name] = len(given)

    def _break(self, what: str, example: Any, count: int = 1) -> None:
        if count:
            self._broken[what] += count
            self._examples.setdefault(what, example)

    def _report(self, stored: int) -> Report:
        return Report(
            seed=self._plan.seed,
            seconds=self._plan.seconds,
            stored=stored,
            acknowledged=self._acknowledged,
            refused=len(self._refused),
            killed=self._killed,
            delivered=self._delivered,
            delay_p50_ms={name: percentile(delays, 0.5) for name, delays in self._delays.items()},
            delay_p99_ms={name: percentile(delays, 0.99) for name, delays in self._delays.items()},
            broken=dict(self._broken),
            examples=self._examples,
        )


def event(type: str, *tags: str) -> NewEvent:
    return NewEvent(type, 1, str(uuid4()), '{"amount":1}', "{}", tags)


def percentile(delays: Sequence[float], share: float) -> float:
    """In milliseconds, of sorted seconds."""
    return round(delays[int(len(delays) * share)] * 1000, 1) if delays else 0.0


def say(*words: Any) -> None:
    print(json.dumps(words), flush=True)


def act(plan: Plan, role: Sequence[str]) -> None:
    """What a child process does."""
    match role:
        case ["writer", name]:
            asyncio.run(_started(lambda: Writer(plan, name)))
        case ["reader", name, file]:
            asyncio.run(_started(lambda: Reader(plan, deaf=name == "deaf", given=Path(file))))
        case _:
            raise SystemExit(f"unknown: {role}")


async def _started(make: Callable[[], Writer | Reader]) -> None:
    await make().run()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--actor", nargs="+", help=argparse.SUPPRESS)
    parser.add_argument("--url", help="a database; the log is made in a new schema, which is left for a look")
    parser.add_argument("--server", type=int, default=18, help="without --url: the version of the server to start")
    parser.add_argument("--minutes", type=float, default=0.0)
    parser.add_argument("--seconds", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    parser.add_argument("--bad-mark", action="store_true")
    chosen = parser.parse_args()
    if chosen.actor:
        act(msgspec.json.decode(chosen.actor[0], type=Plan), chosen.actor[1:])
        return 0
    with nullcontext() if chosen.url else PostgresServer(chosen.server) as server:
        plan = Plan(
            database=chosen.url or server.url,
            schema=f"probe_{uuid4().hex}",
            seconds=chosen.minutes * 60 + chosen.seconds or 10,
            seed=chosen.seed,
            bad_mark=chosen.bad_mark,
        )
        report = asyncio.run(Probe(plan).run())
    print(report.line())
    print(msgspec.json.encode(report).decode())
    return not report.good


if __name__ == "__main__":
    raise SystemExit(main())
