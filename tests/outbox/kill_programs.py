"""Programs that change rows and add events in one transaction, to be killed at any step; one or more for each library.

A step is a call of a Python or C function, in any thread, from the first statement of the transaction to the end of the
program: in fait, in the library or in the driver.
"""

import asyncio
import os
import signal
import sqlite3
import sys
import threading
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import aiosqlite
import asyncpg
import psycopg
from django.db import connections, transaction
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from tests.outbox.clients import Changed, Place, Placed, shop
from tests.outbox.django_clients import configured
from tests.outbox.sqlalchemy_clients import address
from tests.outbox.sqlalchemy_clients import engine as engine_of


class Steps:
    """Counts the steps of this process, and kills it at a given one."""

    def __init__(self, last: int) -> None:
        self.count = 0
        self._last = last

    def begin(self) -> None:
        """Start counting in this thread."""
        sys.setprofile(self._step)

    def begin_in_threads(self) -> None:
        """Count in all threads started later."""
        threading.setprofile(self._step)

    def _step(self, *_: object) -> None:
        self.count += 1
        if self.count == self._last:
            os.kill(os.getpid(), signal.SIGKILL)


def insert(place: Place, order: str) -> str:
    return f"INSERT INTO {place.orders} (name, count) VALUES ('{order}', 1)"


def update(place: Place, order: str) -> str:
    return f"UPDATE {place.orders} SET count = 2 WHERE name = '{order}'"


def on_sqlite3(place: Place, order: str, steps: Steps) -> None:
    connection = sqlite3.connect(place.address, isolation_level=None)
    steps.begin()
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(insert(place, order))
    shop.outbox(connection).add(Placed(1), stream=order)
    connection.execute(update(place, order))
    shop.outbox(connection).add(Changed(2), stream=order)
    connection.commit()


def on_sqlite3_in_a_block(place: Place, order: str, steps: Steps) -> None:
    connection = sqlite3.connect(place.address)
    steps.begin()
    with shop.outbox(connection).transaction() as outbox:
        outbox.add(Placed(1), stream=order)
        connection.execute(insert(place, order))
        connection.execute(update(place, order))
        outbox.add(Changed(2), stream=order)


async def on_aiosqlite(place: Place, order: str, steps: Steps) -> None:
    steps.begin_in_threads()
    async with aiosqlite.connect(place.address) as connection:
        steps.begin()
        async with shop.outbox(connection).transaction() as outbox:
            await connection.execute(insert(place, order))
            await outbox.add(Placed(1), stream=order)
            await connection.execute(update(place, order))
            await outbox.add(Changed(2), stream=order)


async def on_asyncpg(place: Place, order: str, steps: Steps) -> None:
    connection = await asyncpg.connect(place.address, server_settings={"application_name": place.schema})
    steps.begin()
    async with connection.transaction():
        await connection.execute(insert(place, order))
        await shop.outbox(connection, schema=place.schema).add(Placed(1), stream=order)
        await connection.execute(update(place, order))
        await shop.outbox(connection, schema=place.schema).add(Changed(2), stream=order)


async def on_asyncpg_in_a_block(place: Place, order: str, steps: Steps) -> None:
    connection = await asyncpg.connect(place.address, server_settings={"application_name": place.schema})
    steps.begin()
    async with shop.outbox(connection, schema=place.schema).transaction() as outbox:
        await outbox.add(Placed(1), stream=order)
        await connection.execute(insert(place, order))
        await connection.execute(update(place, order))
        await outbox.add(Changed(2), stream=order)


def on_psycopg(place: Place, order: str, steps: Steps) -> None:
    connection = psycopg.connect(place.address, application_name=place.schema)
    steps.begin()
    connection.execute(insert(place, order).encode())
    shop.outbox(connection, schema=place.schema).add(Placed(1), stream=order)
    connection.execute(update(place, order).encode())
    shop.outbox(connection, schema=place.schema).add(Changed(2), stream=order)
    connection.commit()


async def on_psycopg_async(place: Place, order: str, steps: Steps) -> None:
    connection = await psycopg.AsyncConnection.connect(place.address, application_name=place.schema)
    steps.begin()
    await connection.execute(insert(place, order).encode())
    await shop.outbox(connection, schema=place.schema).add(Placed(1), stream=order)
    await connection.execute(update(place, order).encode())
    await shop.outbox(connection, schema=place.schema).add(Changed(2), stream=order)
    await connection.commit()


async def on_psycopg_in_a_block(place: Place, order: str, steps: Steps) -> None:
    connection = await psycopg.AsyncConnection.connect(place.address, application_name=place.schema)
    steps.begin()
    async with shop.outbox(connection, schema=place.schema).transaction() as outbox:
        await outbox.add(Placed(1), stream=order)
        await connection.execute(insert(place, order).encode())
        await connection.execute(update(place, order).encode())
        await outbox.add(Changed(2), stream=order)


def on_django(place: Place, order: str, steps: Steps) -> None:
    with _in_django(place) as connection:
        steps.begin()
        with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
            cursor.execute(insert(place, order))
            shop.outbox(connection, schema=place.schema).add(Placed(1), stream=order)
            cursor.execute(update(place, order))
            shop.outbox(connection, schema=place.schema).add(Changed(2), stream=order)


def on_django_in_a_block(place: Place, order: str, steps: Steps) -> None:
    with _in_django(place) as connection:
        steps.begin()
        with shop.outbox(connection, schema=place.schema).transaction() as outbox, connection.cursor() as cursor:
            outbox.add(Placed(1), stream=order)
            cursor.execute(insert(place, order))
            cursor.execute(update(place, order))
            outbox.add(Changed(2), stream=order)


def on_sqlalchemy(place: Place, order: str, steps: Steps) -> None:
    engine = engine_of(place, "psycopg" if place.dialect == "postgresql" else "pysqlite", **_named(place))
    with Session(engine) as session:
        session.connection()
        steps.begin()
        session.execute(text(insert(place, order)))
        shop.outbox(session, schema=place.schema).add(Placed(1), stream=order)
        session.execute(text(update(place, order)))
        shop.outbox(session, schema=place.schema).add(Changed(2), stream=order)
        session.commit()


def on_a_connection_of_sqlalchemy(place: Place, order: str, steps: Steps) -> None:
    engine = engine_of(place, "psycopg" if place.dialect == "postgresql" else "pysqlite", **_named(place))
    with engine.connect() as connection:
        steps.begin()
        with connection.begin():
            connection.execute(text(insert(place, order)))
            shop.outbox(connection, schema=place.schema).add(Placed(1), stream=order)
            connection.execute(text(update(place, order)))
            shop.outbox(connection, schema=place.schema).add(Changed(2), stream=order)


async def on_sqlalchemy_async(place: Place, order: str, steps: Steps) -> None:
    async with AsyncSession(_async_engine(place, steps)) as session:
        await session.execute(text("SELECT 1"))
        await session.rollback()
        steps.begin()
        async with session.begin():
            await session.execute(text(insert(place, order)))
            await shop.outbox(session, schema=place.schema).add(Placed(1), stream=order)
            await session.execute(text(update(place, order)))
            await shop.outbox(session, schema=place.schema).add(Changed(2), stream=order)


async def on_a_connection_of_sqlalchemy_async(place: Place, order: str, steps: Steps) -> None:
    async with _async_engine(place, steps).connect() as connection:
        await connection.execute(text("SELECT 1"))
        await connection.rollback()
        steps.begin()
        async with connection.begin():
            await connection.execute(text(insert(place, order)))
            await shop.outbox(connection, schema=place.schema).add(Placed(1), stream=order)
            await connection.execute(text(update(place, order)))
            await shop.outbox(connection, schema=place.schema).add(Changed(2), stream=order)


def _async_engine(place: Place, steps: Steps) -> AsyncEngine:
    if place.dialect == "sqlite":
        steps.begin_in_threads()
        return create_async_engine(address(place, "aiosqlite"))
    named = {"connect_args": {"server_settings": {"application_name": place.schema}}}
    return create_async_engine(address(place, "asyncpg"), **named)


def _named(place: Place) -> dict[str, Any]:
    return {"connect_args": {"application_name": place.schema}} if place.dialect == "postgresql" else {}


@contextmanager
def _in_django(place: Place) -> Generator[Any]:
    options = {"application_name": place.schema} if place.dialect == "postgresql" else {}
    with configured(place, **options) as alias:
        connections[alias].ensure_connection()
        yield connections[alias]


Program = Callable[[Place, str, Steps], Any]
"""Inserts an order with count 1 and updates it to 2 in one transaction, and adds an event for each change."""

ON_POSTGRES: list[Program] = [
    on_asyncpg,
    on_asyncpg_in_a_block,
    on_django,
    on_django_in_a_block,
    on_psycopg,
    on_psycopg_async,
    on_psycopg_in_a_block,
    on_sqlalchemy,
    on_a_connection_of_sqlalchemy,
    on_sqlalchemy_async,
    on_a_connection_of_sqlalchemy_async,
]
ON_SQLITE: list[Program] = [
    on_sqlite3,
    on_sqlite3_in_a_block,
    on_aiosqlite,
    on_django,
    on_django_in_a_block,
    on_sqlalchemy,
    on_a_connection_of_sqlalchemy,
    on_sqlalchemy_async,
    on_a_connection_of_sqlalchemy_async,
]
PROGRAMS = {program.__name__: program for program in (*ON_POSTGRES, *ON_SQLITE)}


def run(program: Program, place: Place, order: str, last: int) -> int:
    """Run a program in a child process, killed at step `last`. Return its number of steps, or 0 if it was killed."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        steps = Steps(last)
        done = program(place, order, steps)
        if asyncio.iscoroutine(done):
            asyncio.run(done)
        sys.setprofile(None)
        os.write(writing, str(steps.count).encode())
        os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with os.fdopen(reading) as answer:
        return int(answer.read() or 0)


def main() -> None:
    """Run the programs named on standard input, one a line: the place, the program, the order, the last step."""
    warnings.simplefilter("ignore")
    for line in sys.stdin:
        *place, program, order, last = line.split()
        print(run(PROGRAMS[program], Place(*place), order, int(last)), flush=True)


if __name__ == "__main__":
    main()
