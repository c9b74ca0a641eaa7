"""The backend of stores in memory, for tests and examples."""

from fait._clock import Clock
from fait._errors import UsageError
from fait._store.backend import Backend
from fait._store.memory.store import MemoryStore
from fait._store.ports.store import Store
from fait._store.store_url import refuse_url

__all__ = ["MemoryBackend", "backend"]


class MemoryBackend(Backend):
    """Stores in the memory of this process. Each `open` creates one."""

    async def open(self, url: str, clock: Clock, *, create: bool) -> Store:
        """Return a new, empty store."""
        if url.partition(":")[2]:
            refuse_url(url, "a store in memory has no name and no options. Write memory:")
        if not create:
            raise UsageError("there is no store to open: a store in memory is new, and of the process that opens it.")
        return MemoryStore(clock)


backend = MemoryBackend()
