"""Mistakes with the outbox: every line with a mark is refused by both type checkers, and no other."""

import sqlite3

import aiosqlite
import psycopg

import fait


@fait.event("typed.sent")
class Sent:
    to: str


shop = fait.App("typed")


async def use(waits: psycopg.AsyncConnection, threads: aiosqlite.Connection, connection: psycopg.Connection) -> None:
    shop.outbox(waits).add(Sent("c-1"), stream="mail-1")  # E: nothing is stored without await
    shop.outbox(threads).add(Sent("c-1"), stream="mail-1")  # E: the same
    await shop.outbox(connection).add(Sent("c-1"), stream="mail-1")  # E: nothing to wait for
    with shop.outbox(waits).transaction():  # E: it waits
        pass


def mistake(connection: sqlite3.Connection) -> None:
    shop.outbox(connection).add(Sent("c-1"))  # E: no stream
    shop.outbox(connection).add(Sent("c-1"), stream="mail-1", expected="new")  # E: no such word
    shop.outbox(connection.cursor())  # E: a cursor is no connection
    shop.outbox("shop.db")  # E: nor is a path
