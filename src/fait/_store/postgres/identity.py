"""The identity of the log, and a check that its database was not restored, copied or failed over.

After any of these, positions that readers have seen may be assigned again to other events. The log records the
system identifier of its cluster and the cluster's timeline. If one of them has changed, fait neither appends nor reads
until an operator runs `fait log adopt`, which starts a new epoch.
"""

from typing import Final

from msgspec import Struct

from fait._errors import StoreUnavailable, UsageError
from fait._store.adoption import Adoption, CarriedCheckpoint
from fait._store.command_hint import command_hint
from fait._store.ports.log import Identity
from fait._store.postgres.connection import Database, PostgresConnection
from fait._store.postgres.identifiers import quote

__all__ = ["ServerTimeline", "adopt", "check_not_moved", "read_identity", "server_timeline"]

MIN_SERVER_VERSION: Final = 150_000
"""Minimum server_version_num: PostgreSQL 15."""


class ServerTimeline(Struct, frozen=True):
    """A cluster's system identifier ("" if this role may not read it) and its timeline."""

    cluster: str
    timeline: int


async def server_timeline(database: Database, connection: PostgresConnection) -> ServerTimeline:
    """Return the server's cluster and timeline. Raises StoreUnavailable for a standby, and for an old server."""
    [(version, is_standby, timeline, may_read_identifier)] = await connection.fetch(database.sql["server_state"])
    url = database.options.redacted_url
    if version < MIN_SERVER_VERSION:
        raise StoreUnavailable(
            f"{url} runs PostgreSQL {version // 10_000}, but fait requires PostgreSQL 15 or newer. Upgrade the server."
        )
    if is_standby:
        raise StoreUnavailable(f"{url} is a standby, but fait requires the primary. Connect to the primary.")
    cluster = await connection.fetchval(database.sql["system_identifier"]) if may_read_identifier else ""
    return ServerTimeline(cluster, timeline)


async def read_identity(database: Database, connection: PostgresConnection) -> tuple[Identity, int, ServerTimeline]:
    """Return the log's identity, the oid of its sequence, and the cluster and timeline where it was last confirmed."""
    rows = await connection.fetch(database.sql["identity"])
    schema = quote(database.schema)
    if not rows:
        raise StoreUnavailable(
            f"the log at {database.options.redacted_url} has no identity: {schema}.fait_log is empty. Restore its row "
            "from a backup."
        )
    [(log_id, epoch_id, cluster, timeline, sequence, cache)] = rows
    if cache != 1:
        raise StoreUnavailable(
            f"the sequence of {database.options.redacted_url} has CACHE {cache}, with which readers would skip events. "
            f"Run ALTER SEQUENCE {schema}.fait_position CACHE 1."
        )
    return Identity(log_id, epoch_id), sequence, ServerTimeline(cluster, timeline)


def check_not_moved(confirmed: ServerTimeline, current: ServerTimeline, location: str) -> None:
    """Raise StoreUnavailable if the log is in another cluster, or on another timeline, than last confirmed."""
    if confirmed.cluster and current.cluster and confirmed.cluster != current.cluster:
        reason = "was copied or restored into another cluster"
    # fault: earlier-timeline-not-noticed
    elif confirmed.timeline != current.timeline:
        reason = f"was restored or failed over: its timeline changed from {confirmed.timeline} to {current.timeline}"
    else:
        return
    raise StoreUnavailable(
        f"the log at {location} {reason}. Its last events may be missing, and their positions may be assigned again. "
        "Make sure that nothing writes to the old database any more, then start a new epoch with "
        f"{command_hint('log adopt', location)}."
    )


async def adopt(database: Database, *, in_place: bool, dry_run: bool) -> Adoption:
    """Start a new epoch in the cluster and on the timeline where the log is now.

    Args:
        database: the database of the log.
        in_place: adopt the log even if its cluster and timeline are unchanged.
        dry_run: return what would be done, and change nothing.
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
    # At other levels, the snapshot could be older than an adoption that held the lock before.
    await connection.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
    # Without the lock, two concurrent adoptions would each start an epoch.
    # fault: adoption-without-lock
    await connection.execute(database.sql["lock_schema"])
    current = await server_timeline(database, connection)
    previous, _, confirmed = await read_identity(database, connection)
    if confirmed == current and not in_place:
        raise UsageError(
            f"nothing to adopt: the log at {database.options.redacted_url} is still in the same cluster and timeline. "
            "Nothing was changed. If the log was restored in place, run: "
            f"{command_hint('log adopt --in-place', database.options.redacted_url)}"
        )
    # The last visible event. The high-water mark can be lower: an open append holds it back.
    # fault: epoch-after-high-water-mark
    head = await connection.fetchval(database.sql["head"], (1 << 63) - 1)
    new = await connection.fetchval(database.sql["adopt_log"], head, current.cluster, current.timeline)
    rows = await connection.fetch(database.sql["adopt_registrations"], previous.log_id, previous.epoch_id, new, head)
    carried = [CarriedCheckpoint(*row) for row in rows]
    return Adoption(previous, Identity(previous.log_id, new), head, carried)
