"""Processes are killed (-9) at each step of each transaction: each is atomic, and all acknowledgements are true."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest
from typer.testing import CliRunner

import fait
from fait._events.append import Appended, StreamWrite
from fait._events.envelope import RecordedEvent
from fait._store.open import open_store
from fait._store.sqlite.store import SqliteStore
from fait._tools.cli.commands import fait as command_line
from fait.testing.contract.store import added
from tests.crash.consistency import consistent, effecting_app
from tests.crash.counting import counting_app
from tests.crash.stepping import APPENDS, BEFORE, COUNTS, ONE_MORE, passed

ROOT = Path(__file__).parents[2]
MIN_STEPS = {
    "open": 15, "single": 6, "several streams": 12, "tagged": 10, "conditional": 8, "batch": 22,
    "projection": 35, "reactor": 35, "import": 40,
}  # fmt: skip
LINES = [
    f'{{"stream":"case-{n % 4}","type":"received","time":"2024-01-15T12:00:00Z","tags":["item:{n % 3}"],"data":{n}}}\n'
    for n in range(12)
]

Run = tuple[Path, int]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, "Future[Run]"]]:
    """Run all scenarios, two at a time."""
    pool = ThreadPoolExecutor(2)
    yield {name: pool.submit(_run, name, tmp_path_factory.mktemp("steps")) for name in MIN_STEPS}
    pool.shutdown(cancel_futures=True)


def _run(name: str, directory: Path) -> Run:
    (directory / "facts.jsonl").write_text("".join(LINES))
    command = [sys.executable, "-m", "tests.crash.stepping", name, str(directory)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return directory, int(done.stdout)


def _killed_runs(run: "Future[Run]", min_steps: int) -> Iterator[tuple[Path, list[str]]]:
    """For each killed process, its file and its acknowledgements."""
    directory, kills = run.result()
    print(kills, "steps")
    assert kills >= min_steps
    for number in range(1, kills + 1):
        acks = directory / f"{number}.acks"
        yield directory / f"{number}.db", acks.read_text().splitlines() if acks.exists() else []


@asynccontextmanager
async def _opened(path: Path) -> AsyncIterator[SqliteStore]:
    store = cast("SqliteStore", await open_store(f"sqlite:///{path}"))
    try:
        yield store
    finally:
        await store.close()


def _ids(*writes: StreamWrite) -> list[str]:
    return [event.id for each in writes for event in each.events]


def _in_order(events: list[RecordedEvent], wanted: list[str]) -> list[str]:
    return [event.id for event in events if event.id in wanted]


async def test_killed_creation_of_a_store_is_repeated(runs: dict[str, "Future[Run]"]) -> None:
    for path, _ in _killed_runs(runs["open"], MIN_STEPS["open"]):
        async with _opened(path) as store:
            assert await consistent(store, path) == ([], {})
            await added(store.log, *BEFORE)


@pytest.mark.parametrize("name", APPENDS)
async def test_killed_append_is_stored_completely_or_not_at_all(runs: dict[str, "Future[Run]"], name: str) -> None:
    seen: set[int] = set()
    for path, acks in _killed_runs(runs[name], MIN_STEPS[name]):
        async with _opened(path) as store:
            events, _ = await consistent(store, path)
            stored = [each.id for each in events]
            assert stored[:2] == _ids(*BEFORE)
            stored_whole = [_in_order(events, _ids(*each.writes)) == _ids(*each.writes) for each in APPENDS[name]]
            assert len(stored) == 2 + sum(
                len(_ids(*each.writes))
                for each, was_stored in zip(APPENDS[name], stored_whole, strict=True)
                if was_stored
            )
            assert all(stored_whole[int(number)] for number in acks)
            seen.add(sum(stored_whole))
            for append, was_stored in zip(APPENDS[name], stored_whole, strict=True):
                repetition = await store.log.append(append.writes, append.condition)
                assert isinstance(repetition, Appended)
                assert repetition.repeated == was_stored
            events, _ = await consistent(store, path)
            assert sorted(each.id for each in events) == sorted(_ids(*BEFORE, *_all_writes(name)))
    assert {0, len(APPENDS[name])} <= seen


def _all_writes(name: str) -> list[StreamWrite]:
    return [write for each in APPENDS[name] for write in each.writes]


@pytest.mark.parametrize(
    ("name", "app", "subscription"),
    [("projection", counting_app(), "totals"), ("reactor", effecting_app(), "effect")],
    ids=["projection", "reactor"],
)
async def test_killed_subscription_handles_each_event_once(
    runs: dict[str, "Future[Run]"], name: str, app: fait.App, subscription: str
) -> None:
    found: set[int] = set()
    for path, acks in _killed_runs(runs[name], MIN_STEPS[name]):
        async with _opened(path) as store:
            events, ends = await consistent(store, path)
            assert [each.id for each in events][:3] == _ids(*COUNTS)
            assert ("one more" in acks) <= (len(events) == 4)
            done = [int(line.split()[1]) for line in acks if line.startswith(subscription)]
            assert ends.get(subscription, 0) >= max(done, default=0)
            found.add(ends.get(subscription, 0))

            await added(store.log, ONE_MORE)
            async with app.open(f"sqlite:///{path}", lease_s=0.1), asyncio.timeout(30):
                await passed(store, subscription, 4)
            await consistent(store, path)
    assert {0, 3, 4} <= found


def test_killed_import_continues_where_it_ended(runs: dict[str, "Future[Run]"]) -> None:
    found: set[int] = set()
    for path, acks in _killed_runs(runs["import"], MIN_STEPS["import"]):
        stored = asyncio.run(_imported(path))
        assert stored == list(range(len(stored)))
        assert ("imported" in acks) <= (len(stored) == len(LINES))
        found.add(len(stored))
        _fait("import", str(path.with_name("facts.jsonl")), "-s", f"sqlite:///{path}")
        assert _fait("export", "-s", f"sqlite:///{path}") == "".join(LINES)
    assert len(found) > 3


async def _imported(path: Path) -> list[int]:
    async with _opened(path) as store:
        events, _ = await consistent(store, path)
        return [int(each.data) for each in events]


def _fait(*arguments: str) -> str:
    done = CliRunner().invoke(command_line, arguments)
    assert done.exit_code == 0, done.output
    return done.stdout
