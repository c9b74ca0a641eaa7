"""Which log this is, and whether the database is still where the log was: positions are used again after a restore.

A log remembers the cluster it lies in and the timeline that the cluster wrote. A copy in another cluster, a restore to
a moment and a fail-over change one of them; then nothing is appended or read until somebody has said so:
`fait log adopt` begins a new epoch.
"""

from typing import Final

from msgspec import Struct

from fait._errors import StoreUnavailable, UsageError
from fait._store.adoption import Adopted, Carried
from fait._store.log import Identity
from fait._store.postgres.connection import Connection, Database

__all__ = ["Place", "adopt", "confirm", "identify", "place_of"]

MIN_SERVER: Final = 150_000
"""PostgreSQL 15."""


class Place(Struct, frozen=True):
    """Where a server writes: its cluster ("" if this role may not know), and the timeline."""

    cluster: str
    timeline: int


async def place_of(database: Database, connection: Connection) -> Place:
    """Where the server writes. Refuses a standby, and a server that is too old."""
    [(version, standby, timeline, may_ask)] = await connection.fetch(database.sql["server"])
    if version < MIN_SERVER:
        raise StoreUnavailable(f"{database.address.shown} runs PostgreSQL {version // 10_000}: 15 or newer is needed.")
    if standby:
        raise StoreUnavailable(f"{database.address.shown} is a standby: connect to the primary.")
    cluster = await connection.fetchval(database.sql["cluster"]) if may_ask else ""
    return Place(cluster, timeline)


async def identify(database: Database, connection: Connection) -> tuple[Identity, int, Place]:
    """The log's identity, the oid of its sequence, and the place it was confirmed at."""
    rows = await connection.fetch(database.sql["identity"])
    if not rows:
        raise StoreUnavailable(
            f"the log at {database.address.shown} has lost its identity: somebody emptied {database.schema}.fait_log. "
            "Restore that row from a backup."
        )
    [(log_id, epoch, cluster, timeline, sequence, cache)] = rows
    if cache != 1:
        raise StoreUnavailable(
            f"the sequence fait_position in {database.address.shown} has CACHE {cache}: readers would skip events. "
            f"Run: ALTER SEQUENCE fait_position CACHE 1"
        )
    return Identity(log_id, epoch), sequence, Place(cluster, timeline)


def confirm(was: Place, found: Place, where: str) -> None:
    """Refuse a log that has been moved since it was last confirmed."""
    if was.cluster and found.cluster and was.cluster != found.cluster:
        what = "was copied or restored into another cluster"
    elif was.timeline != found.timeline:
        what = f"is on timeline {found.timeline}, and was on {was.timeline}: it was restored, or failed over"
    else:
        return
    raise StoreUnavailable(
        f"the log at {where} {what}. Its last events may be missing, and their positions may be used again. Make sure "
        "that nothing else still writes to the old one, then begin a new epoch: fait log adopt."
    )


async def adopt(database: Database, *, in_place: bool, rehearse: bool) -> Adopted:
    """Begin a new epoch at the place where the log is now.

    Args:
        database: where the log is.
        in_place: also when it seems not to have been moved.
        rehearse: only say what would be done.
    """
    async with database.connection() as connection:
        transaction = connection.transaction()
        await transaction.start()
        try:
            adopted = await _adopt(database, connection, in_place)
        except BaseException:
            await transaction.rollback()
            raise
        await (transaction.rollback() if rehearse else transaction.commit())
        return adopted


async def _adopt(database: Database, connection: Connection, in_place: bool) -> Adopted:
    await connection.execute(database.sql["lock_schema"])  # two at once would each begin an epoch
    place = await place_of(database, connection)
    old, _, was = await identify(database, connection)
    if was == place and not in_place:
        raise UsageError(
            f"the log at {database.address.shown} is in the cluster and on the timeline where it was: there is nothing "
            "to adopt. Nothing was changed. If it was restored or copied there all the same: fait log adopt --in-place"
        )
    [(log_id, epoch)] = await connection.fetch(database.sql["adopt_log"], place.cluster, place.timeline)
    head = await connection.fetchval(database.sql["head"], (1 << 63) - 1)
    rows = await connection.fetch(database.sql["adopt_checkpoints"], log_id, old.epoch, epoch, head)
    carried = [Carried(name, position, found == epoch) for name, position, found in rows]
    return Adopted(old, Identity(log_id, epoch), head, carried)
