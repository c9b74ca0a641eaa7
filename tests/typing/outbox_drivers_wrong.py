"""Mistakes with the outbox: each marked line must be rejected by both type checkers."""

import sqlite3

import aiosqlite
import psycopg

import fait


@fait.event("typed.sent")
class Sent:
    to: str


shop = fait.App("typed")


async def use(waits: psycopg.AsyncConnection, threads: aiosqlite.Connection, connection: psycopg.Connection) -> None:
    shop.outbox(waits).add(Sent("c-1"), stream="mail-1")  # E: add must be awaited
    shop.outbox(threads).add(Sent("c-1"), stream="mail-1")  # E: add must be awaited
    await shop.outbox(connection).add(Sent("c-1"), stream="mail-1")  # E: add is not async here
    with shop.outbox(waits).transaction():  # E: transaction is async here
        pass


def mistake(connection: sqlite3.Connection) -> None:
    shop.outbox(connection).add(Sent("c-1"))  # E: no stream
    shop.outbox(connection).add(Sent("c-1"), stream="mail-1", expected="new")  # E: no such literal
    shop.outbox(connection.cursor())  # E: a cursor is not a connection
    shop.outbox("shop.db")  # E: a path is not a connection
