"""A temporary log for a verification, in the same database or directory as the user's own store."""

import asyncio
import secrets
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress

from fait._errors import FaitError, UsageError
from fait._store.backend import StoreAdmin
from fait._store.open import backend_of, open_admin

__all__ = ["scratch_store", "scratch_url"]


def scratch_url(url: str) -> tuple[str, str]:
    """Return a URL in the same place with a new, unique name, and that name: of the schema or the file."""
    name = f"fait_verify_{secrets.token_hex(5)}"
    return backend_of(url).sibling_url(url, name), name


@asynccontextmanager
async def scratch_store(url: str, warn: Callable[[str], None]) -> AsyncGenerator[StoreAdmin]:
    """Create an empty log and remove it at the end of the block.

    Args:
        url: URL of the log; it must not exist.
        warn: called with a message if the log cannot be removed.
    """
    admin = open_admin(url)
    try:
        await admin.migrate()
    except BaseException as error:
        with suppress(FaitError):
            await admin.drop()
        if isinstance(error, UsageError) and error.__cause__:  # the server rejected it
            raise UsageError(
                f"cannot create the temporary log: {error.__cause__} On PostgreSQL the role needs the privilege to "
                "create a schema: GRANT CREATE ON DATABASE … TO …"
            ) from error
        raise
    try:
        yield admin
    finally:
        await _drop(admin, warn)


async def _drop(admin: StoreAdmin, warn: Callable[[str], None]) -> None:
    """Remove the log, even if the caller is canceled at the same time."""
    drop_task = asyncio.ensure_future(admin.drop())
    try:
        await asyncio.shield(drop_task)
    except asyncio.CancelledError:
        await asyncio.wait([drop_task])
        raise
    except FaitError as error:
        warn(str(error))
