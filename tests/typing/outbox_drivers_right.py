"""A user's program that both type checkers accept: the outbox on connections of drivers."""

import sqlite3
from datetime import UTC, datetime
from typing import Any, assert_type

import aiosqlite
import asyncpg
import psycopg
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool, ConnectionPool

import fait
from fait._delivery.outbox.outbox import AsyncOutbox, Outbox


@fait.event("typed.sent")
class Sent:
    to: str


shop = fait.App("typed")
shop.include(Sent)


def on_sqlite3(connection: sqlite3.Connection) -> None:
    assert_type(shop.outbox(connection), Outbox)
    with shop.outbox(connection).transaction() as outbox:
        assert_type(outbox, Outbox)
        outbox.add(Sent("c-1"), stream="mail-1", expected=0, tags=["customer:c-1"], occurred_at=datetime.now(UTC))


def on_psycopg(connection: psycopg.Connection, rows: psycopg.Connection[DictRow], pool: ConnectionPool) -> None:
    assert_type(shop.outbox(connection), Outbox)
    shop.outbox(rows, schema="shop").add(Sent("c-1"), stream="mail-1", key="request-7")
    with pool.connection() as pooled, shop.outbox(pooled).transaction() as outbox:
        pooled.execute("SELECT 1")
        outbox.add(fait.Untyped("from elsewhere", {"a": 1}), stream="mail-1")


async def on_async_psycopg(connection: psycopg.AsyncConnection, pool: AsyncConnectionPool) -> None:
    assert_type(shop.outbox(connection), AsyncOutbox)
    await shop.outbox(connection).add(Sent("c-1"), stream="mail-1", expected="no_stream")
    async with pool.connection() as pooled, shop.outbox(pooled).transaction() as outbox:
        assert_type(outbox, AsyncOutbox)
        await outbox.add(Sent("c-1"), stream="mail-1")
    async with await psycopg.AsyncConnection[DictRow].connect("", row_factory=dict_row) as rows:
        await shop.outbox(rows).add(Sent("c-1"), stream="mail-1")


async def on_asyncpg(connection: "asyncpg.Connection[Any]", pool: "asyncpg.Pool[Any]") -> None:
    async with connection.transaction():
        assert_type(shop.outbox(connection), AsyncOutbox)
        await shop.outbox(connection).add(Sent("c-1"), stream="mail-1", id=fait.new_id())
    async with pool.acquire() as pooled, shop.outbox(pooled).transaction() as outbox:
        await outbox.add(Sent("c-1"), stream="mail-1")


async def on_aiosqlite(connection: aiosqlite.Connection) -> None:
    assert_type(shop.outbox(connection), AsyncOutbox)
    async with shop.outbox(connection).transaction() as outbox:
        await connection.execute("SELECT 1")
        await outbox.add(Sent("c-1"), stream="mail-1")
