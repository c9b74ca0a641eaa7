"""A program that stops in the middle of an append, its transaction open.

joined     after an append inside a transaction of its own
reserved   when room for very many events is reserved, and none was sent
copying    when half of very many events are sent
"""

import asyncio
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import asyncpg

from fait.store.open import open_store
from tests.faults.appends import join, write


def stop() -> None:
    print("stopped", flush=True)
    os.kill(os.getpid(), signal.SIGSTOP)


async def joined(url: str, schema: str, stream: str) -> None:
    connection = await asyncpg.connect(url, server_settings={"search_path": schema})
    await connection.execute("BEGIN")
    await join(connection, stream, 1500)
    stop()


async def bulk(url: str, schema: str, stream: str, after: int) -> None:
    send = asyncpg.Connection.copy_records_to_table

    async def send_and_stop(connection: Any, table: str, *, records: Sequence[Any], **options: Any) -> Any:
        def sent() -> Iterator[Any]:
            for number, record in enumerate(records):
                if number == after:
                    stop()
                yield record

        if not after:
            stop()
        return await send(connection, table, records=sent(), **options)

    asyncpg.Connection.copy_records_to_table = send_and_stop
    store = await open_store(f"{url}?schema={schema}")
    await store.log.append([write(stream, count=10_000)])


if __name__ == "__main__":
    what, *where = sys.argv[1:]
    match what:
        case "joined":
            asyncio.run(joined(*where))
        case "reserved":
            asyncio.run(bulk(*where, after=0))
        case "copying":
            asyncio.run(bulk(*where, after=5_000))
        case other:
            raise SystemExit(f"unknown: {other}")
