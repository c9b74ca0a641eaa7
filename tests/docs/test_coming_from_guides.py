"""The guides for teams that come from elsewhere: their commands print what the pages say, on real servers."""

import asyncio
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import apsw
import psycopg
import pytest
from typer.testing import CliRunner

import fait
from fait._tools.cli.commands import fait as command_line
from fait.broker import Message, Topology, open_broker
from tests.inbox.topics import Topic, foreign, idle, until
from tests.relay.published import MemoryUnderTest, until_published
from tests.servers.postgres import PostgresServer, installations
from tests.servers.redis import RedisServer

ROOT = Path(__file__).parents[2]
GUIDES = ROOT / "docs" / "coming-from"
EXAMPLES = ROOT / "examples" / "coming_from"


def blocks(guide: str, section: str = "") -> Iterator[tuple[str, str]]:
    """Iterate over the code blocks of a guide, or of one of its sections: language and text."""
    text = (GUIDES / f"{guide}.md").read_text("utf-8")
    if section:
        text = text.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    for match in re.finditer(r"^( *)```(\w+)\n(.*?)^ *```$", text, re.DOTALL | re.MULTILINE):
        yield match[2], re.sub(f"^{match[1]}", "", match[3], flags=re.MULTILINE)


def files(guide: str) -> dict[str, str]:
    """Return the files of a guide: each block that begins with a comment that is a name."""
    named = (re.match(r"(?:#|--) (\w+\.(?:py|sql))\n", text) and text.split("\n", 1) for _, text in blocks(guide))
    return {each[0].split()[1]: each[1] for each in named if each}


class Page:
    """A guide in a folder of its own: its files, and its commands in their order.

    Args:
        guide: name of the guide.
        folder: its folder.
        replaced: values of variables, in place of those that the page exports.
    """

    def __init__(self, guide: str, folder: Path, replaced: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
        self._guide = guide
        self._replaced = replaced
        self._monkeypatch = monkeypatch
        self.files = files(guide)
        for name, text in self.files.items():
            (folder / name).write_text(text, "utf-8")
        monkeypatch.chdir(folder)
        programs = [Path(sys.executable).parent, *([installations()[18]] if 18 in installations() else [])]
        monkeypatch.setenv("PATH", os.pathsep.join([*map(str, programs), os.environ["PATH"]]))
        monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))

    def run(self, section: str = "") -> None:
        """Run all commands, or those of a section, and compare what they print."""
        for language, block in blocks(self._guide, section):
            if language == "console":
                for step in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
                    command, _, expected = step.partition("\n")
                    self._run(command, expected)

    def _run(self, command: str, expected: str) -> None:
        if command.startswith("export "):
            name, _, value = command.removeprefix("export ").partition("=")
            self._monkeypatch.setenv(name, self._replaced.get(name, value))
            return
        printed = output_of(command, len(expected.splitlines()))
        if command.startswith("fait broker check"):  # what it prints depends on the broker
            return
        assert re.fullmatch(".*".join(map(re.escape, expected.split("…"))), printed), f"{command}\n{printed}"


def output_of(command: str, lines: int) -> str:
    if command.startswith("fait run "):
        return output_of_worker(command, lines)
    if command.startswith("fait "):  # in this process: half a second less
        answer = CliRunner().invoke(command_line, shlex.split(os.path.expandvars(command))[1:])
        assert answer.exit_code == 0, f"{command}\n{answer.output}"
        return answer.stdout
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stderr}"
    return done.stdout


def output_of_worker(command: str, lines: int) -> str:
    """Run a worker until it has printed a number of lines. They are sorted, as keys have no order."""
    with subprocess.Popen(shlex.split(command), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        printed = [worker.stdout.readline() for _ in range(lines)]
        worker.send_signal(signal.SIGINT)
        rest, errors = worker.communicate(timeout=30)
    assert worker.returncode == 0, errors
    return "".join([*sorted(printed), rest])


@pytest.fixture
def database(postgres_servers: Callable[..., PostgresServer]) -> str:
    """The URL of a new database."""
    server, name = postgres_servers(), f"guide_{uuid4().hex}"
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return server.url.removesuffix("postgres") + name


@pytest.mark.parametrize(("guide", "number"), [("bullmq", 9), ("celery", 10)])
def test_guide_exports_jobs_of_the_library_and_handles_them(
    guide: str, number: int, tmp_path: Path, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    Page(guide, tmp_path, {"JOBS": f"{redis_server.url}/{number}"}, monkeypatch).run()


@pytest.mark.parametrize("guide", ["bullmq", "celery"])
def test_guide_shows_the_example(guide: str) -> None:
    name = f"export_{guide}.py"

    assert files(guide)[name] == (EXAMPLES / name).read_text("utf-8")


def test_links_of_the_guides_exist() -> None:
    for guide in GUIDES.glob("*.md"):
        for link in re.findall(r"\]\((?!http)([^)#]+)(?:#[^)]*)?\)", guide.read_text("utf-8")):
            assert (GUIDES / link).exists(), f"{guide.name}: {link}"


# Outbox tables


@pytest.fixture
def shop(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Page]:
    """Return the page of an outbox table on PostgreSQL: its variables name a new database and a broker in memory."""
    variables = {"FAIT_STORE": database, "ORDERS_BROKER": f"memory:{uuid4().hex}"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return lambda guide: Page(guide, tmp_path, variables, monkeypatch)


def insert(connection: psycopg.Connection, *orders: str, published_at: str | None) -> None:
    for number, order in enumerate(orders):
        data = json.dumps({"customer": "ada", "cups": number})
        connection.execute(
            "INSERT INTO outbox_events (aggregate_type, aggregate_id, event_type, payload, published_at)"
            " VALUES ('order', %s, 'shop.order-placed', %s, %s)",
            [order, data, published_at],
        )


def unnamed(guide: str, language: str) -> str:
    """Return the blocks of a language that are no files."""
    return "".join(text for each, text in blocks(guide) if each == language and not re.match(r"(#|--) \w", text))


def rows(connection: psycopg.Connection, query: str) -> list[str]:
    return [str(id) for (id,) in connection.execute(query)]


def exported_ids(store: str) -> list[str]:
    done = CliRunner().invoke(command_line, ["export", "--store", store])
    assert done.exit_code == 0, done.output
    return [json.loads(line)["id"] for line in done.stdout.splitlines()]


def test_outbox_table_is_imported_with_its_ids_and_the_relay_publishes_the_unpublished_rows(
    database: str, shop: Callable[[str], Page]
) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(unnamed("outbox-table", "sql").encode())
        insert(connection, "2", published_at="2026-01-01T12:00:01Z")
        insert(connection, "1", published_at="2026-01-01T12:00:00Z")
        page = shop("outbox-table")
        page.run("The switch")
        insert(connection, "3", published_at=None)
        page.run("With stopped writers")
        ids = rows(connection, "SELECT id FROM outbox_events ORDER BY published_at NULLS LAST, seq")
        assert rows(connection, "SELECT to_fait FROM outbox_switch") == ["True"]

    assert asyncio.run(relayed_ids(database)) == (ids, ids[2:])


async def relayed_ids(database: str) -> tuple[list[str], list[str]]:
    """Run the relay; return the ids of the events in the log, and of those that it has published."""
    broker = MemoryUnderTest(os.environ["ORDERS_BROKER"])
    await broker.prepare()
    async with loaded("outbox-table", "shop.py")["shop"].open(database) as system:
        await system.wait(timeout_s=20)
        ids = [each.id async for each in system.events()]
    return ids, [each.headers["ce-id"] for each in await broker.messages()]


async def test_switch_loses_repeats_and_reorders_nothing(database: str, shop: Callable[[str], Page]) -> None:
    published, stop = list[tuple[str, int]](), threading.Event()
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(unnamed("outbox-table", "sql").encode())
    page = shop("outbox-table")
    names = loaded("outbox-table", "shop.py")
    broker = MemoryUnderTest(os.environ["ORDERS_BROKER"])
    await broker.prepare()
    async with names["shop"].open(database, run="elsewhere") as system:
        await system.store.registrations.pause("relay-orders", by="test", reason="the poller publishes")
        with ThreadPoolExecutor() as threads:
            writers = [threads.submit(write, database, names, order, stop) for order in ("1", "2", "3")]
            poller = threads.submit(poll, database, published, stop)
            await until(lambda: len(published) > 20)
            with psycopg.connect(database, autocommit=True) as connection:
                await asyncio.to_thread(connection.execute, page.files["switch.sql"].encode())
            await until_events(system, 20)
            stop.set()
            written = [await asyncio.wrap_future(each) for each in writers]
            await asyncio.wrap_future(poller)
        await system.store.registrations.resume("relay-orders", by="test", reason="")
    async with names["shop"].open(database) as system:
        await until_published(system, broker)
        relayed = [(each.key or "", json.loads(each.body)["cups"]) for each in await broker.messages()]

    assert len(relayed) >= 20
    for order, count in zip(("1", "2", "3"), written, strict=True):
        from_poller = [number for each, number in published if each == order]
        from_relay = [number for each, number in relayed if each == f"order-{order}"]
        assert from_poller + from_relay == list(range(count)), order


def loaded(guide: str, name: str) -> dict[str, Any]:
    """Run a file of a guide, and return its names."""
    names: dict[str, Any] = {"__name__": "guide"}
    exec(compile(files(guide)[name], name, "exec"), names)
    return names


def write(database: str, names: dict[str, Any], order: str, stop: threading.Event) -> int:
    """Place orders in transactions of their own; return their number."""
    count = 0
    with psycopg.connect(database) as connection:
        while not stop.is_set():
            names["publish"](connection, order, names["OrderPlaced"]("ada", count))
            connection.commit()
            count += 1
    return count


def poll(database: str, published: list[tuple[str, int]], stop: threading.Event) -> None:
    """Publish the rows of the table as a usual poller does, until it is empty."""
    with psycopg.connect(database) as connection:
        while not stop.is_set() or connection.execute(LEFT).fetchone() != (0,):
            found = connection.execute(
                "SELECT id, aggregate_id, payload FROM outbox_events WHERE published_at IS NULL"
                " ORDER BY seq LIMIT 10 FOR UPDATE SKIP LOCKED"
            ).fetchall()
            published += [(order, payload["cups"]) for _, order, payload in found]
            connection.execute(
                "UPDATE outbox_events SET published_at = now() WHERE id = ANY(%s)", [[id for id, _, _ in found]]
            )
            connection.commit()


LEFT = "SELECT count(*) FROM outbox_events WHERE published_at IS NULL"


async def until_events(system: fait.System, count: int) -> None:
    """Wait until the log has a number of events."""
    async with asyncio.timeout(20):
        while len([each async for each in system.events()]) < count:  # noqa: ASYNC110 - other threads append
            await asyncio.sleep(0.02)


def test_outbox_table_on_sqlite_is_exported_in_order_with_its_ids(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Page("outbox-table", tmp_path, {}, monkeypatch)
    connection = apsw.Connection("shop.db")
    connection.execute(SQLITE_ROWS)
    connection.close()
    for published in ("published", "unpublished"):
        output_of(f"python export_outbox.py shop.db {published} > {published}.jsonl", 0)
        assert output_of(f"fait import {published}.jsonl --store sqlite:///shop.db", 1).startswith("2 events written")

    assert exported_ids("sqlite:///shop.db") == [f"00000000-0000-4000-8000-00000000000{n}" for n in (2, 1, 3, 4)]


def test_store_in_a_busy_file_on_sqlite_fails_and_is_created_later_in_wal_mode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    call = ["db", "init", "--store", "sqlite:///shop.db"]
    with subprocess.Popen([sys.executable, "-c", WRITER], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdin is not None
        assert writer.stdout is not None
        writer.stdout.readline()
        with monkeypatch.context() as patched:
            patched.setattr("fait._store.sqlite.connection.BusyHandler.__call__", lambda *_: False)  # not for a minute
            busy = CliRunner().invoke(command_line, call)
        writer.stdin.close()
        writer.wait()
    is_wal = (tmp_path / "shop.db").read_bytes()[18:20] == b"\x02\x02"
    created = CliRunner().invoke(command_line, call)

    assert (busy.exit_code, is_wal) == (1, False)
    assert "another process holds the write lock" in busy.stderr
    assert created.exit_code == 0, created.output
    assert (tmp_path / "shop.db").read_bytes()[18:20] == b"\x02\x02"


WRITER = """
import sqlite3, sys
connection = sqlite3.connect("shop.db", isolation_level=None)
connection.execute("CREATE TABLE orders (id TEXT)")
connection.execute("BEGIN IMMEDIATE")
print("ready", flush=True)
sys.stdin.read()
"""

SQLITE_ROWS = """
CREATE TABLE outbox_events (
    seq INTEGER PRIMARY KEY, id TEXT, aggregate_type TEXT, aggregate_id TEXT, event_type TEXT, payload TEXT,
    created_at TEXT, published_at TEXT
);
WITH rows(n, published_at) AS (
    VALUES (1, '2026-01-02T00:00:00.000Z'), (2, '2026-01-01T00:00:00.000Z'), (3, NULL), (4, NULL)
)
INSERT INTO outbox_events (id, aggregate_type, aggregate_id, event_type, payload, created_at, published_at)
SELECT '00000000-0000-4000-8000-00000000000' || n, 'order', '7', 'shop.order-placed', '{"cups": 1.50}',
    '2026-01-01T00:00:00.000Z', published_at
FROM rows;
"""


# Debezium

DEBEZIUM_TABLE = """
CREATE TABLE outbox (
    id uuid PRIMARY KEY, aggregatetype varchar(255) NOT NULL, aggregateid varchar(255) NOT NULL,
    type varchar(255) NOT NULL, payload jsonb, seq bigserial, created_at timestamptz DEFAULT clock_timestamp()
);
INSERT INTO outbox SELECT gen_random_uuid(), 'Order', n, 'OrderPlaced', json_build_object('order', n::text, 'cups', n)
FROM generate_series(1, 2) AS n;
"""


async def test_consumer_takes_messages_of_debezium_and_of_the_relay_once(
    redis_servers: Callable[..., RedisServer], store_url: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    broker_url = redis_servers().url
    monkeypatch.setenv("ORDERS_BROKER", broker_url)
    shop, stock = loaded("debezium", "shop.py"), loaded("debezium", "stock.py")
    broker = await open_broker(broker_url)
    await broker.check(Topology({"outbox.event.order": 3}), create=True)
    ids = [str(uuid4()) for _ in range(4)]
    topic = Topic(broker_url, "outbox.event.order", broker)
    await topic.send(
        [routed(ids[0], "1", '{"order": "1", "cups": 1}'), routed(ids[1], "2", '{"order": "2", "cups": 2}')]
    )
    await topic.send([routed(ids[1], "2", '{"order": "2", "cups": 2}')])  # repeated after a restart of the connector
    await topic.send([routed(ids[2], "1", json.dumps('{"order": "1", "cups": 3}')), routed(ids[3], "1", "{}", "Other")])
    async with shop["shop"].open(store_url("memory")) as orders, stock["stock"].open(store_url("memory")) as system:
        for id, cups in ((ids[2], 3), (str(uuid4()), 4)):  # Debezium has published the first one, too
            await orders.publish(shop["OrderPlaced"]("1", cups), stream="order-1", id=id)
        await idle(system, 7, "reserve")
        reserved = [(each.stream, each.event.cups) async for each in system.events()]
    await broker.close()

    assert sorted(reserved) == [("order-1", 1), ("order-1", 3), ("order-1", 4), ("order-2", 2)]


async def test_malformed_messages_of_debezium_are_parked_at_once(
    store_url: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    broker_url = f"memory:{uuid4().hex}"
    monkeypatch.setenv("ORDERS_BROKER", broker_url)
    broker = await open_broker(broker_url)
    await broker.check(Topology({"outbox.event.order": 1}), create=True)
    malformed = {"1": "{", "2": "[]", "3": '{"order": "3"}', "4": '{"order": "4", "cups": "two"}', "5": '"{"'}
    untyped = foreign("6", {"id": str(uuid4())}, b'{"order": "6", "cups": 1}')
    messages = [*(routed(str(uuid4()), key, body) for key, body in malformed.items()), untyped]
    await Topic(broker_url, "outbox.event.order", broker).send(messages)
    async with loaded("debezium", "stock.py")["stock"].open(store_url("memory")) as system:
        await idle(system, len(messages), "reserve")
        failures = await system.store.failures.failures("reserve")
    await broker.close()

    assert [(each.state, each.error_type, each.attempts) for each in failures] == [
        ("parked", "fait.MalformedMessage", 1)
    ] * len(messages)


def routed(id: str, key: str, body: str, type: str = "OrderPlaced") -> Message:
    """Return a message as the event router of Debezium publishes it."""
    return foreign(key, {"id": id, "eventType": type}, body.encode())


def test_table_of_debezium_is_exported_in_order_with_its_ids(database: str, shop: Callable[[str], Page]) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(DEBEZIUM_TABLE.encode())
        shop("debezium").run()

        assert exported_ids(database) == rows(connection, "SELECT id FROM outbox ORDER BY seq")
