"""Schemas with unusual names, in every statement and driver that has to write the name."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Self
from urllib.parse import quote, urlencode
from uuid import uuid4

import asyncpg
import psycopg
import pytest
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import create_async_engine

import fait
from fait._store.open import open_admin, open_store
from fait.testing.contract.store import added, write
from tests.servers.postgres import installations

Fresh = Callable[..., str]

NAMES = [
    *("a?b", "50%", "a%sb", "%(a)s", "a$1", "$fait$", ":v1", "a:b", "a::b", r"a\b", r"a\:b", r"\'", "\\"),
    *(
        'a"?"b',
        "it's ? $1",
        "Shop",
        "the shop",
        "läden-\U0001f6d2",
        "a.b",
        "select",
        "user",
        "{schema}",
        "{0}",
        "x" * 63,
    ),
    *("x; DROP SCHEMA y; --", "-- ?", "/* ? */"),
]
"""Names with characters that SQL, a driver's placeholders or Python's formats give a meaning."""


@fait.event("names.placed")
class Placed:
    count: int


class Orders(fait.ReadModel, key="order"):
    order: str
    count: int

    @classmethod
    def evolve(cls, row: Self | None, event: Placed, at: fait.Envelope) -> Self:
        return cls(order=at.stream_id, count=event.count)


@pytest.fixture
async def url(postgres_url: Fresh, name: str) -> AsyncIterator[str]:
    address = postgres_url().partition("?")[0]
    url = f"{address}?{urlencode({'schema': name}, quote_via=quote)}"
    await open_admin(url).drop()
    yield url
    await open_admin(url).drop()


@asynccontextmanager
async def engine(url: str) -> AsyncIterator[Any]:
    made = create_async_engine(url)
    yield made
    await made.dispose()


@pytest.mark.parametrize("name", NAMES)
async def test_every_outbox_appends_to_a_schema_of_any_name(url: str, name: str) -> None:
    app = fait.App("names")
    app.include(Placed)
    store, address = await open_store(url), url.partition("?")[0]

    async def use(connection: Any) -> None:
        async with app.outbox(connection, schema=name).transaction() as outbox:
            await outbox.add(Placed(1), stream="order-1", tags=["a:?"])

    connection = await asyncpg.connect(address)
    await use(connection)
    async with connection.transaction():
        await app.outbox(connection, schema=name).add(Placed(1), stream="order-1", key=uuid4().hex)
    await connection.close()
    async with await psycopg.AsyncConnection.connect(address) as connection:
        await use(connection)
    with psycopg.connect(address) as connection:
        app.outbox(connection, schema=name).add(Placed(1), stream="order-1")
    for driver in ("asyncpg", "psycopg"):
        async with (
            engine(f"postgresql+{driver}{address.removeprefix('postgresql')}") as made,
            made.connect() as connection,
        ):
            await use(connection)
    for driver in ("psycopg", "psycopg2"):
        made = create_engine(f"postgresql+{driver}{address.removeprefix('postgresql')}")
        with made.begin() as connection:
            app.outbox(connection, schema=name).add(Placed(1), stream="order-1")
        made.dispose()

    assert len((await store.log.read_stream("order-1"))[0]) == 8
    await store.close()


@pytest.mark.parametrize(
    ("name", "conforming"),
    [
        *(pytest.param(name, "on", id=f"{number}-on") for number, name in enumerate(NAMES)),
        pytest.param(r"a\b", "off", id="backslash-off"),
        pytest.param(r"\'", "off", id="backslash_quote-off"),
    ],
)
async def test_store_in_a_schema_of_any_name_passes_its_checks(url: str, name: str, conforming: str) -> None:
    address, role = url.partition("?")[0], f"role_{uuid4().hex}"
    owner = await asyncpg.connect(address)
    await owner.execute(f"CREATE ROLE {role} SUPERUSER LOGIN")
    await owner.execute(f"ALTER ROLE {role} SET standard_conforming_strings = {conforming}")
    app = fait.App("names")
    app.include(Placed, Orders)
    try:
        async with app.open(url.replace("postgres@", f"{role}@")) as system:
            placed = await system.publish(Placed(2), stream="order-1")
            assert [row.count for row in await system.find(Orders, after=placed)] == [2]
        store = await open_store(url.replace("postgres@", f"{role}@"))
        await added(store.log, write("other-1", 600))
        findings = await store.examine()
        await store.close()
    finally:
        await open_admin(url).drop()
        await owner.execute(f"DROP ROLE {role}")
        await owner.close()

    assert [each for each in findings if each.status != "ok" and each.name != "fsync"] == []


@pytest.mark.parametrize("name", ["a$1", r"a\b", 'a"?"b', "it's ? $1", "$fait$", "x; DROP SCHEMA y; --", "x" * 63])
async def test_script_for_a_schema_of_any_name_creates_a_store(url: str, name: str) -> None:
    address = url.partition("?")[0]
    script = await open_admin(url).script(from_scratch=True)
    program = [installations()[18] / "psql", address, "-v", "ON_ERROR_STOP=1", "-q"]
    ran = await asyncio.to_thread(subprocess.run, program, input=script, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr

    store = await open_store(url, create=False)
    await added(store.log, write("order-1", 1))
    await store.close()
