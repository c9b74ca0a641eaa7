"""A program that stops (SIGSTOP) in the middle of an append, with its transaction open.

external   after an append in an external transaction
copying    when half of a bulk append is sent
loaded     after the events of a bulk append are inserted, before the commit
"""

import asyncio
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import asyncpg

from fait._store.open import open_store
from fait._store.postgres import bulk as bulk_appends
from tests.faults.appends import append_external, write

IDLE_MS = 1500
"""Idle timeout of its transaction."""


def stop() -> None:
    print("stopped", flush=True)
    os.kill(os.getpid(), signal.SIGSTOP)


async def external(url: str, schema: str, stream: str) -> None:
    connection = await asyncpg.connect(url, server_settings={"search_path": schema})
    await connection.execute("BEGIN")
    await append_external(connection, stream, IDLE_MS)
    stop()


async def bulk(url: str, schema: str, stream: str) -> None:
    store = await open_store(f"{url}?schema={schema}")
    await store.log.append([write(stream, count=10_000)])


def stop_while_copying() -> None:
    copy = asyncpg.Connection.copy_records_to_table

    async def half(connection: Any, table: str, *, records: Sequence[Any], **options: Any) -> Any:
        def sent() -> Iterator[Any]:
            yield from records[: len(records) // 2]
            stop()

        return await copy(connection, table, records=sent(), **options)

    asyncpg.Connection.copy_records_to_table = half


def stop_when_loaded() -> None:
    fetch = asyncpg.Connection.fetch

    async def and_stop(connection: Any, sql: str, *values: Any, **options: Any) -> Any:
        rows = await fetch(connection, sql, *values, **options)
        if "fait_append_bulk_1" in sql:
            stop()
        return rows

    asyncpg.Connection.fetch = and_stop
    vars(bulk_appends)["IDLE_TIMEOUT_MS"] = IDLE_MS


if __name__ == "__main__":
    what, *where = sys.argv[1:]
    match what:
        case "external":
            asyncio.run(external(*where))
        case "copying":
            stop_while_copying()
            asyncio.run(bulk(*where))
        case "loaded":
            stop_when_loaded()
            asyncio.run(bulk(*where))
        case other:
            raise SystemExit(f"unknown place to stop: {other}; expected external, copying or loaded")
