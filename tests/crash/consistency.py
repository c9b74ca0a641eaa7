"""Checks of a reopened store: the invariants of the log, and the agreement of read models and effects with it."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import apsw
import msgspec

import fait
from fait._errors import UsageError
from fait._events.envelope import RecordedEvent
from fait._store.sqlite.store import SqliteStore
from fait._subscriptions.read_model import definition_of
from fait.testing.contract.store import everything
from tests.crash.counting import Counted, Totals

COUNTED = "counting.counted"


def effecting_app() -> fait.App:
    """A reactor that inserts into a table without a key, so that a repeated effect would be visible."""
    app = fait.App("effecting")

    @app.on(Counted, start="beginning")
    async def effect(event: Counted, ctx: fait.Context) -> None:
        ctx.execute("CREATE TABLE IF NOT EXISTS effects (event_id TEXT, position INTEGER)")
        ctx.execute("INSERT INTO effects VALUES ($1, $2)", ctx.envelope.id, ctx.envelope.position)

    return app


async def consistent(store: SqliteStore, path: Path) -> tuple[list[RecordedEvent], dict[str, int]]:
    """Check the whole store. Return its events, and the checkpoint position of each subscription."""
    assert [each for each in await store.examine() if each.status == "problem"] == []
    events = await everything(store.log)
    ends = {each.key.subscription: each.position for each in await store.leases.ranges()}
    connection = apsw.Connection(str(path))
    assert connection.pragma("integrity_check") == "ok"
    found = _rows(connection, "effects")
    connection.close()
    assert found == [(each.id, each.position) for each in _counted(events, ends.get("effect", 0))]
    await _check_totals(store, events, ends.get("totals", 0))
    return events, ends


def _rows(connection: apsw.Connection, table: str) -> list[Any]:
    if not connection.table_exists("main", table):
        return []
    return connection.execute(f"SELECT * FROM {table} ORDER BY rowid").fetchall()


async def _check_totals(store: SqliteStore, events: Sequence[RecordedEvent], checkpoint: int) -> None:
    expected = defaultdict[str, list[int]](list)
    for each in _counted(events, checkpoint):
        expected[each.stream.partition("-")[2]].append(msgspec.json.decode(each.data)["by"])
    try:
        rows = await store.tables.select(definition_of(Totals).table)
    except UsageError:  # killed before the table was created
        rows = []
    assert {row[0]: row[1:] for row in rows} == {name: (sum(all), len(all)) for name, all in expected.items()}


def _counted(events: Sequence[RecordedEvent], until: int) -> list[RecordedEvent]:
    return [each for each in events if each.type == COUNTED and each.position <= until]
