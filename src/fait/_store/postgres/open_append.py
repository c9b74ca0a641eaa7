"""Open appends: the transactions whose end readers wait for, and how an operator ends them."""

from msgspec import Struct

from fait._store.postgres.connection import Database
from fait._store.postgres.identifiers import literal

__all__ = ["OpenAppend", "open_appends"]


class OpenAppend(Struct, frozen=True):
    """A session or a prepared transaction that holds an append ticket.

    Attributes:
        appends: whether readers wait for it. If not, it has only acquired the advisory lock of a ticket by hand.
        pid: process id of the session; None for a prepared transaction.
        role: the role of the session, or the owner of the prepared transaction.
        application: its application_name; None if this role may not read it or the address is unknown.
        address: address of its client.
        state: state of the session, such as "idle in transaction".
        gid: global identifier of the prepared transaction.
        age_s: time since its transaction began, or was prepared; None if this role may not read it.
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
        if self.age_s is None:
            return f"process {self.pid} of role {self.role!r}"
        return (
            f"process {self.pid} ({self.application or 'no application_name'}) of role {self.role!r}, client "
            f"{self.address or 'on a local socket'}, {self.state}, transaction open for {self.age_s:.1f} s"
        )

    def end(self) -> str:
        """Return what ends it, if it hangs."""
        if self.gid is None:
            return f"If it hangs, run SELECT pg_terminate_backend({self.pid})"
        gid = literal(self.gid)
        return f"Its coordinator has not ended it: run COMMIT PREPARED {gid} or ROLLBACK PREPARED {gid} in its database"


async def open_appends(database: Database) -> list[OpenAppend]:
    """Return the open appends, the one with the oldest ticket first, and then those that readers do not wait for."""
    return [OpenAppend(*row) for row in await database.fetch("health_ticket")]
