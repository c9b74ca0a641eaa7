"""Open appends, whose end readers wait for, and other holders of locks that appends need; how an operator ends them."""

from typing import Final

from msgspec import Struct

from fait._store.postgres.connection import Database
from fait._store.postgres.identifiers import literal

__all__ = ["OpenAppend", "describe_lock_holders", "open_appends"]

MIN_BLOCKING_AGE_S: Final = 1.0
"""Minimum age of a transaction that is named as a possible cause of a lock timeout."""


class OpenAppend(Struct, frozen=True):
    """A session or a prepared transaction that holds a lock which appends need.

    Attributes:
        appends: whether readers wait for it. If not, it is waiting itself, or has acquired the lock by hand.
        pid: process id of the session; None for a prepared transaction.
        role: the role of the session, or the owner of the prepared transaction.
        application: its application_name; None if this role may not read it or the address is unknown.
        address: address of its client.
        state: state of the session, such as "idle in transaction"; None if this role may not read it.
        gid: global identifier of the prepared transaction.
        age_s: time since its transaction began, or was prepared; None if this role may not read it, or if the session
            holds the lock outside of a transaction.
    """

    appends: bool
    pid: int | None
    role: str | None
    application: str | None
    address: str | None
    state: str | None
    gid: str | None
    age_s: float | None

    def describe(self) -> str:
        """Return which transaction it is, and since when it is open."""
        if self.gid is not None:
            return f"the prepared transaction {self.gid!r} of role {self.role!r}, prepared {self.age_s or 0:.1f} s ago"
        if self.state is None:
            return f"process {self.pid} of role {self.role!r}"
        age = f"transaction open for {self.age_s:.1f} s" if self.age_s is not None else "lock of its session"
        return (
            f"process {self.pid} ({self.application or 'no application_name'}) of role {self.role!r}, client "
            f"{self.address or 'on a local socket'}, {self.state}, {age}"
        )

    def end(self) -> str:
        """Return what ends it, if it hangs."""
        if self.gid is None:
            return f"If it hangs, run SELECT pg_terminate_backend({self.pid})"
        gid = literal(self.gid)
        return f"Its coordinator has not ended it: run COMMIT PREPARED {gid} or ROLLBACK PREPARED {gid} in its database"


async def open_appends(database: Database) -> list[OpenAppend]:
    """Return the open appends, the one with the oldest ticket first, and then other holders of locks."""
    return [OpenAppend(*row) for row in await database.fetch("health_ticket")]


async def describe_lock_holders(database: Database) -> str:
    """Return which sessions may have caused a lock timeout, and how to end them; "" if none is known."""
    holders = [
        each for each in await open_appends(database) if (each.age_s or MIN_BLOCKING_AGE_S) >= MIN_BLOCKING_AGE_S
    ]
    return "".join(f" A lock of the log is held by {each.describe()}. {each.end()}." for each in holders[:3])
