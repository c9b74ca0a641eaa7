"""A log that is made to be tried and thrown away, beside a user's own, which is not touched."""

import asyncio
import secrets
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress

from fait._errors import FaitError, UsageError
from fait._store.open import StoreAdmin, open_admin, sibling_url

__all__ = ["scratch_store", "scratch_url"]


def scratch_url(url: str) -> tuple[str, str]:
    """A URL beside the given one, and a name that nobody else has: of the schema, or the file."""
    if url.lower().startswith("memory:"):
        raise UsageError("memory: belongs to one process: there is nothing that could go wrong between several")
    name = f"fait_verify_{secrets.token_hex(5)}"
    return sibling_url(url, name), name


@asynccontextmanager
async def scratch_store(url: str, warn: Callable[[str], None]) -> AsyncGenerator[StoreAdmin]:
    """An empty log for the length of a block, and then nothing; `warn` is told if it could not be removed."""
    schema = open_admin(url)
    try:
        await schema.migrate()
    except BaseException as problem:
        with suppress(FaitError):
            await schema.drop()
        if isinstance(problem, UsageError) and problem.__cause__:  # refused by the server, not by us
            raise UsageError(
                f"the log to be tried could not be made: {problem.__cause__} In PostgreSQL it needs a role that may "
                "create a schema: GRANT CREATE ON DATABASE … TO …"
            ) from problem
        raise
    try:
        yield schema
    finally:
        await _dropped(schema, warn)


async def _dropped(schema: StoreAdmin, warn: Callable[[str], None]) -> None:
    """Remove it, also when the caller is cancelled meanwhile."""
    dropping = asyncio.ensure_future(schema.drop())
    try:
        await asyncio.shield(dropping)
    except asyncio.CancelledError:
        await asyncio.wait([dropping])
        raise
    except FaitError as problem:
        warn(str(problem))
