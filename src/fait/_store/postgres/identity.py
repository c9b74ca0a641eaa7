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
from fait._store.postgres.connection import Database, LogMoved, PostgresConnection
from fait._store.postgres.identifiers import quote

__all__ = [
    "ServerTimeline",
    "StoredLog",
    "adopt",
    "check_complete",
    "check_consistent",
    "check_not_moved",
    "check_sequence",
    "check_visible",
    "read_identity",
    "server_timeline",
]

MIN_SERVER_VERSION: Final = 150_000
"""Minimum server_version_num: PostgreSQL 15."""

OPEN_APPENDS_TIMEOUT_S: Final = 20
"""Timeout of an adoption for the end of open appends."""


class ServerTimeline(Struct, frozen=True):
    """A cluster's system identifier ("" if this role may not read it) and its timeline."""

    cluster: str
    timeline: int


class StoredLog(Struct, frozen=True):
    """The log as its tables and its sequence describe it.

    Attributes:
        identity: the log's identity.
        confirmed: the cluster and timeline where it was last confirmed.
        is_consistent: whether the functions that compare epoch and timeline have those of the table.
        sequence: oid of the sequence of positions.
        last_position: position of the last event; 0 for an empty log.
        last_value: last value of the sequence; None if this role may not read it.
    """

    identity: Identity
    confirmed: ServerTimeline
    is_consistent: bool
    sequence: int
    last_position: int
    last_value: int | None


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


async def read_identity(database: Database, connection: PostgresConnection) -> StoredLog:
    """Return the identity and the state of the log. Raises StoreUnavailable if it cannot be used by this role."""
    await check_visible(database, connection)
    rows = await connection.fetch(database.sql["identity"])
    schema = quote(database.schema)
    if not rows:
        raise StoreUnavailable(
            f"the log at {database.options.redacted_url} has no identity: {schema}.fait_log is empty. Restore its row "
            "from a backup."
        )
    [(log_id, epoch_id, cluster, timeline, is_consistent, sequence, cache, last_position, last_value)] = rows
    if cache != 1:
        raise StoreUnavailable(
            f"the sequence of {database.options.redacted_url} has CACHE {cache}, with which readers would skip events. "
            f"Run ALTER SEQUENCE {schema}.fait_position CACHE 1."
        )
    identity, confirmed = Identity(log_id, epoch_id), ServerTimeline(cluster, timeline)
    return StoredLog(identity, confirmed, is_consistent, sequence, last_position, last_value)


async def check_visible(database: Database, connection: PostgresConnection) -> None:
    """Raise StoreUnavailable if row-level security can hide events: readers would pass them without a sign."""
    # fault: row-level-security-hides-events
    if names := [name for (name,) in await connection.fetch(database.sql["hidden_tables"], database.schema)]:
        raise StoreUnavailable(
            f"row-level security of {database.options.redacted_url} can hide rows of {', '.join(names)}, which "
            "readers would skip. Disable it with ALTER TABLE ... DISABLE ROW LEVEL SECURITY, or use a role with "
            "BYPASSRLS. Separate tenants by schema."
        )


def check_sequence(stored: StoredLog, location: str) -> None:
    """Raise StoreUnavailable if new events would get positions at or below the last event."""
    # fault: sequence-below-last-event-at-open
    if stored.last_value is not None and stored.last_value < stored.last_position:
        raise StoreUnavailable(
            f"the sequence of the log at {location} is at {stored.last_value}, below its last event at position "
            f"{stored.last_position}: readers would skip new events. The events were copied without the sequence, or "
            "it was changed by hand. Stop all processes, and then raise it and start a new epoch with "
            f"{command_hint('log adopt --in-place', location)}."
        )


async def check_complete(database: Database, connection: PostgresConnection) -> None:
    """Raise StoreUnavailable if events lack their stream's version or a tag: appends would pass wrong conditions."""
    # fault: events-without-tags-at-open
    if position := await connection.fetchval(database.sql["incomplete_event"]):
        location = database.options.redacted_url
        raise StoreUnavailable(
            f"the tables fait_streams and fait_tags of {location} lack rows, for example of the event at position "
            f"{position}: appends would not notice a conflict with it. Some tables were restored without the others. "
            "Stop all processes, and then restore all tables from one backup, or add the missing rows and start a new "
            f"epoch with {command_hint('log adopt --in-place', location)}."
        )


def check_not_moved(confirmed: ServerTimeline, current: ServerTimeline, location: str) -> None:
    """Raise LogMoved if the log is in another cluster, or on another timeline, than last confirmed."""
    if confirmed.cluster and current.cluster and confirmed.cluster != current.cluster:
        reason = "was copied or restored into another cluster"
    elif confirmed.timeline != current.timeline:
        reason = f"was restored or failed over: its timeline changed from {confirmed.timeline} to {current.timeline}"
    else:
        return
    raise LogMoved(_moved(location, reason))


def check_consistent(stored: StoredLog, location: str) -> None:
    """Raise LogMoved if the table of the log's identity was restored or replicated without its functions."""
    if not stored.is_consistent:
        raise LogMoved(_moved(location, "was copied without its functions, which belong to an earlier epoch"))


def _moved(location: str, reason: str) -> str:
    return (
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
            adopted = await _adopt(database, connection, in_place=in_place, dry_run=dry_run)
        except BaseException:
            await transaction.rollback()
            raise
        await (transaction.rollback() if dry_run else transaction.commit())
        return adopted


async def _adopt(database: Database, connection: PostgresConnection, *, in_place: bool, dry_run: bool) -> Adoption:
    # At other levels, the snapshot could be older than an adoption that held the lock before.
    await connection.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
    # Without the lock, two concurrent adoptions would each start an epoch.
    await connection.execute(database.sql["lock_schema"])
    # Without it, an open append could commit in the new epoch, with a position that the repair of the sequence passes.
    await connection.execute(f"SET LOCAL lock_timeout = '{OPEN_APPENDS_TIMEOUT_S}s'")
    # fault: adoption-with-open-append
    await connection.execute(database.sql["lock_log"])
    current = await server_timeline(database, connection)
    stored = await read_identity(database, connection)
    previous, head = stored.identity, stored.last_position
    if stored.confirmed == current and stored.is_consistent and not in_place:
        raise UsageError(
            f"nothing to adopt: the log at {database.options.redacted_url} is still in the same cluster and timeline. "
            "Nothing was changed. If the log was restored in place, run: "
            f"{command_hint('log adopt --in-place', database.options.redacted_url)}"
        )
    new = await connection.fetchval(database.sql["adopt_log"], head, current.cluster, current.timeline)
    await connection.fetch(database.sql["confirm_log"])
    await connection.fetch(database.sql["lock_registration"], None)  # the next statement sees both halves of each split
    rows = await connection.fetch(database.sql["adopt_registrations"], previous.log_id, previous.epoch_id, new, head)
    if not dry_run:
        await _repair(database, connection, head)
    carried = [CarriedCheckpoint(*row) for row in rows]
    return Adoption(previous, Identity(previous.log_id, new), head, carried)


async def _repair(database: Database, connection: PostgresConnection, head: int) -> None:
    """Derive the sequence, and rows that are missing from fait_streams and fait_tags, from the events."""
    # fault: adoption-leaves-sequence
    await connection.fetch(database.sql["repair_sequence"], head)
    if await connection.fetchval(database.sql["incomplete_event"]):
        await connection.fetch(database.sql["repair_streams"])
        await connection.fetch(database.sql["repair_tags"])
