"""The verification passes a store that keeps its promises, names each one that is broken, and leaves nothing behind."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from fait._errors import StoreUnavailable
from fait._events.envelope import RecordedEvent
from fait._store.open import open_admin, sibling_url
from fait._tools.verify.order import OrderCheck
from fait._tools.verify.report import FAULTS, REORDERED
from tests.servers.postgres import PostgresServer

Run = Callable[..., Any]
Servers = Callable[..., PostgresServer]

FAIT = (sys.executable, "-c", "from fait._tools.cli.main import run; run()")
SMALL = ("--processes", 1, "--callers", 8)
SEED = 31  # its first kill comes after 1.5 s, its second after at least 3 s


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest) -> str:
    if request.param == "sqlite":
        return request.getfixturevalue("store")
    return request.getfixturevalue("postgres_servers")().url


async def query(url: str, statement: str) -> list[Any]:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetch(statement)
    finally:
        await connection.close()


def left(place: str) -> list[str]:
    """What was made and is still there."""
    if place.startswith("sqlite:"):
        return sorted(os.listdir(Path(place.removeprefix("sqlite:///")).parent))
    schemas = asyncio.run(query(place, "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'fait_verify_%'"))
    return [row[0] for row in schemas]


def test_a_store_that_keeps_its_promises_passes(run: Run, place: str) -> None:
    done = run("verify-store", place, "--minutes", 0.05, "--processes", 2, "--seed", SEED, "--json")

    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert (found["good"], found["broken"], found["seed"], found["killed"]) == (True, {}, SEED, 1)
    assert min(found["refused"], found["rolled_back"]) > 0
    assert found["stored"] > found["acknowledged"] > 100  # the last event is the verification's own
    feeds = found["feeds"].values()
    assert [feed["delivered"] for feed in feeds] == [found["stored"]] * 2
    assert all(0 < feed["delay_p50_ms"] <= feed["delay_p99_ms"] < 5000 for feed in feeds)
    assert "fsync" in {each["name"] for each in found["unsafe"]} or place.startswith("sqlite:")
    assert left(place) == []
    assert "seed 31; 3 s on" in done.stderr


@pytest.mark.parametrize(
    "planted",
    [
        {"ack": "acknowledged but not stored", "order": "reordered", "torn": "row and event apart"},
        {"condition": "broken condition", "skip": "missed", "rollback": "rolled back but delivered"},
        {"duplicate": "duplicated", "time": "recorded time going back"},
    ],
    ids=" and ".join,
)
def test_planted_faults_are_found_and_named(run: Run, store: str, planted: dict[str, str]) -> None:
    plants = [word for plant in planted for word in ("--plant", plant)]

    done = run("verify-store", store, "--minutes", 0.03, *SMALL, *plants, "--json")

    assert done.exit_code == 1
    assert set(json.loads(done.stdout)["broken"]) == set(planted.values())
    assert left(store) == []


def test_events_of_several_streams_are_in_order_too() -> None:
    order, at = OrderCheck(), datetime(2024, 1, 15, tzinfo=UTC)

    given = [(1, "a", 1), (3, "b", 1), (2, "c", 1), (4, "a", 2)]

    found = [
        order.add(RecordedEvent(position, stream, version, "t", 1, "", "", "", (), at, at))
        for position, stream, version in given
    ]
    assert found == [None, None, REORDERED, None]


def test_a_reader_without_the_mark_is_found_to_miss_events(run: Run, postgres_servers: Servers) -> None:
    done = run("verify-store", postgres_servers().url, "--minutes", 0.03, *SMALL, "--plant", "mark")

    assert done.exit_code == 1
    assert "PROMISES WERE BROKEN: " in done.stdout
    broken = [line.split("\t")[0] for line in done.stdout.splitlines()[1:14] if line.split("\t")[1] != "0"]
    assert broken == ["missed"]


def test_ctrl_c_says_what_was_found_so_far_and_cleans_up(place: str) -> None:
    command = [*FAIT, "verify-store", place, "--json", *map(str, SMALL)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        until(lambda: bool(left(place)))
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        said, told = process.communicate()

    found = json.loads(said)
    assert (process.returncode, found["interrupted"], found["good"]) == (130, True, True)
    assert "Traceback" not in told
    assert left(place) == []


def test_a_log_that_is_there_is_not_touched_and_what_is_unsafe_is_said(
    run: Run, store: str, jsonl: Callable[..., Path]
) -> None:
    run("import", jsonl([{"stream": "a-1", "type": "t", "time": "2024-01-01T00:00:00Z", "data": 1}]), "-s", store)
    file = Path(store.removeprefix("sqlite:///"))
    before, names = file.read_bytes(), left(store)

    done = run("verify-store", f"{store}?synchronous=NORMAL", "--minutes", 0.02, *SMALL)

    assert done.exit_code == 0
    assert "unsafe: synchronous: NORMAL: the last commits may be lost on a power failure" in done.stdout
    assert "unsafe: see above" in done.stdout
    assert (file.read_bytes(), left(store)) == (before, names)


def test_a_role_that_may_not_create_a_schema_is_told_so(run: Run, postgres_servers: Servers) -> None:
    url = postgres_servers().url
    asyncio.run(query(url, "CREATE ROLE verify_poor LOGIN"))

    done = run("verify-store", url.replace("postgres@", "verify_poor@"))

    assert done.exit_code == 2
    assert "GRANT CREATE ON DATABASE" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["memory:"], "belongs to one process"),
        (["sqlite:///x.db", "--plant", "mark"], "can be planted in PostgreSQL"),
        (["sqlite:///x.db", "--plant", "doubt"], "what can be planted is ack, condition, duplicate"),
    ],
)
def test_what_cannot_be_meant_is_refused(run: Run, arguments: list[str], said: str) -> None:
    done = run("verify-store", *arguments)

    assert (done.exit_code, said in done.stderr) == (2, True)


async def test_a_schema_that_is_in_use_stays_and_the_message_says_how_to_remove_it(
    postgres_servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fait._store.postgres.admin.DROP_TIMEOUT_S", 0.1)
    schema = open_admin(sibling_url(postgres_servers().url, "verify used"))
    await schema.migrate()
    user = await asyncpg.connect(postgres_servers().url)
    try:
        await user.execute('BEGIN; LOCK TABLE "verify used".fait_events')
        with pytest.raises(StoreUnavailable, match=r'still there\. To remove it: DROP SCHEMA IF EXISTS "verify used"'):
            await schema.drop()
        await user.execute("ROLLBACK")
        await schema.drop()
        assert not any(each.applied_at for each in await schema.migrations())
    finally:
        await user.close()


def test_the_page_explains_each_fault() -> None:
    page = (Path(__file__).parents[2] / "docs" / "verify.md").read_text("utf-8")

    assert re.findall(r"^\| ([a-z ]+) \| ", page, re.MULTILINE) == ["name", *FAULTS]


def until(is_so: Callable[[], bool], timeout_s: float = 30.0) -> None:
    """Wait for a condition that another process brings about."""
    end = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)
