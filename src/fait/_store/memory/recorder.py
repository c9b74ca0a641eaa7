"""Records units of work in memory."""

from msgspec.structs import replace

from fait._errors import UsageError
from fait._store.memory.state import MemoryState
from fait._store.ports.unit_of_work import UnitOfWork

__all__ = ["MemoryRecorder"]


class MemoryRecorder:
    """The port `Recorder`."""

    def __init__(self, state: MemoryState) -> None:
        self._state = state

    async def record(self, work: UnitOfWork) -> bool:
        current = self._state.ranges.get(work.range)
        registration = self._state.registrations.get(work.range.subscription)
        if current is None or registration is None:
            return False
        if (current.fencing_token, registration.revision) != (work.fencing_token, work.revision):
            return False
        if work.statements:
            raise UsageError(
                "a memory: store runs no SQL, but a handler called ctx.execute(...). Nothing was recorded. Use a "
                "sqlite: or postgresql: store."
            )
        self._write_rows(work)
        self._state.ranges[work.range] = replace(current, position=work.position)
        return True

    def _write_rows(self, work: UnitOfWork) -> None:
        tables = [self._state.tables[change.table.name] for change in work.rows]  # fails before any is changed
        for rows, change in zip(tables, work.rows, strict=True):
            key_index = change.table.index_of(change.table.key)
            rows.update({row[key_index]: tuple(row) for row in change.upserts})
            for key in change.deletes:
                rows.pop(key, None)
