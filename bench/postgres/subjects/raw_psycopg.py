"""Binary COPY with psycopg: the limit of inserting events into PostgreSQL."""

import asyncio
import time

import psycopg
from measure import Outcome, outcome
from order import EVENTS_PER_ORDER
from postgres.subjects.raw import Event, bare, events, layout, prepare, table

__all__ = ["WORKLOADS", "table"]


def copy(connection: psycopg.Connection, given: list[Event], url: str) -> None:
    form = layout(url)
    statement = f"COPY {form.table} ({', '.join(form.columns)}) FROM STDIN (FORMAT BINARY)"
    with connection.transaction(), connection.cursor().copy(statement) as rows:
        rows.set_types(form.types)
        for each in given:
            rows.write_row(form.row(each))


def w4_bulk(url: str, n: int) -> Outcome:
    asyncio.run(prepare(url))
    streams, warm_up = n // EVENTS_PER_ORDER, n // EVENTS_PER_ORDER // 10
    given, before = (
        events(range(streams), EVENTS_PER_ORDER),
        events(range(streams, streams + warm_up), EVENTS_PER_ORDER),
    )
    with psycopg.connect(bare(url), autocommit=True) as connection:
        copy(connection, before, url)
        started = time.perf_counter()
        copy(connection, given, url)
        seconds = time.perf_counter() - started
    return outcome(streams * EVENTS_PER_ORDER, seconds, stored=(streams + warm_up) * EVENTS_PER_ORDER)


WORKLOADS = {"W4-bulk": w4_bulk}
