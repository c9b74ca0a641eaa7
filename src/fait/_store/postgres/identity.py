"""Which log this is, and whether the database is still where the log was: positions are used again after a restore.

A log remembers the cluster it lies in and the timeline that the cluster wrote. A copy in another cluster, a restore to
a moment and a fail-over change one of them; then nothing is appended or read until somebody has said so:
`fait log adopt` begins a new epoch.
"""

from typing import Final

from msgspec import Struct

from fait._errors import StoreUnavailable, UsageError
from fait._store.adoption import Adoption, CarriedCheckpoint
from fait._store.log import Identity
from fait._store.postgres.connection import Database, PostgresConnection

__all__ = ["ServerTimeline", "adopt", "check_not_moved", "read_identity", "server_timeline"]

MIN_SERVER_VERSION: Final = 150_000
"""PostgreSQL 15."""


class ServerTimeline(Struct, frozen=True):
    """Where a server writes: its cluster ("" if this role may not know), and the timeline."""

    cluster: str
    timeline: int


async def server_timeline(database: Database, connection: PostgresConnection) -> ServerTimeline:
    """Where the server writes. Refuses a standby, and a server that is too old."""
    [(version, standby, timeline, may_ask)] = await connection.fetch(database.sql["server_state"])
    if version < MIN_SERVER_VERSION:
        raise StoreUnavailable(
            f"{database.options.redacted_url} runs PostgreSQL {version // 10_000}: 15 or newer is needed."
        )
    if standby:
        raise StoreUnavailable(f"{database.options.redacted_url} is a standby: connect to the primary.")
    cluster = await connection.fetchval(database.sql["system_identifier"]) if may_ask else ""
    return ServerTimeline(cluster, timeline)


async def read_identity(database: Database, connection: PostgresConnection) -> tuple[Identity, int, ServerTimeline]:
    """The log's identity, the oid of its sequence, and the place it was confirmed at."""
    rows = await connection.fetch(database.sql["identity"])
    if not rows:
        raise StoreUnavailable(
            f"the log at {database.options.redacted_url} has lost its identity: somebody emptied {database.schema}.fait_log. "
            "Restore that row from a backup."
        )
    [(log_id, epoch, cluster, timeline, sequence, cache)] = rows
    if cache != 1:
        raise StoreUnavailable(
            f"the sequence fait_position in {database.options.redacted_url} has CACHE {cache}: readers would skip events. "
            f"Run: ALTER SEQUENCE fait_position CACHE 1"
        )
    return Identity(log_id, epoch), sequence, ServerTimeline(cluster, timeline)


def check_not_moved(was: ServerTimeline, found: ServerTimeline, where: str) -> None:
    """Refuse a log that has been moved since it was last confirmed."""
    if was.cluster and found.cluster and was.cluster != found.cluster:
        what = "was copied or restored into another cluster"
    # fault: earlier-timeline-not-noticed
    elif was.timeline != found.timeline:
        what = f"is on timeline {found.timeline}, and was on {was.timeline}: it was restored, or failed over"
    else:
        return
    raise StoreUnavailable(
        f"the log at {where} {what}. Its last events may be missing, and their positions may be used again. Make sure "
        "that nothing else still writes to the old one, then begin a new epoch: fait log adopt."
    )


async def adopt(database: Database, *, in_place: bool, dry_run: bool) -> Adoption:
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
        await (transaction.rollback() if dry_run else transaction.commit())
        return adopted


async def _adopt(database: Database, connection: PostgresConnection, in_place: bool) -> Adoption:
    # fault: adoption-without-lock
    await connection.execute(database.sql["lock_schema"])  # two at once would each begin an epoch
    place = await server_timeline(database, connection)
    old, _, was = await read_identity(database, connection)
    if was == place and not in_place:
        raise UsageError(
            f"the log at {database.options.redacted_url} is in the cluster and on the timeline where it was: there is nothing "
            "to adopt. Nothing was changed. If it was restored or copied there all the same: fait log adopt --in-place"
        )
    [(log_id, epoch)] = await connection.fetch(database.sql["adopt_log"], place.cluster, place.timeline)
    head = await connection.fetchval(database.sql["head"], (1 << 63) - 1)
    rows = await connection.fetch(database.sql["adopt_checkpoints"], log_id, old.epoch, epoch, head)
    carried = [CarriedCheckpoint(name, position, found == epoch) for name, position, found in rows]
    return Adoption(old, Identity(log_id, epoch), head, carried)
