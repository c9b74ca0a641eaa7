"""Records units of work in memory."""

from msgspec.structs import replace

from fait._errors import UsageError
from fait._store.memory.log import MemoryLog
from fait._store.memory.state import MemoryState
from fait._store.ports.unit_of_work import RecordResult, UnitOfWork

__all__ = ["MemoryRecorder"]


class MemoryRecorder:
    """The port `Recorder`."""

    def __init__(self, state: MemoryState, log: MemoryLog) -> None:
        self._state = state
        self._log = log

    async def record(self, work: UnitOfWork) -> RecordResult:
        move = work.move
        current = self._state.ranges.get(move.key)
        registration = self._state.registrations.get(move.key.subscription)
        if current is None or registration is None:
            return "refused"
        if (current.fencing_token, registration.revision) != (move.fencing_token, move.revision):
            return "refused"
        if work.statements:
            raise UsageError(
                "a memory: store runs no SQL, but a handler called ctx.execute(...). Nothing was recorded. Use a "
                "sqlite: or postgresql: store."
            )
        # fault: conflict-of-handler-ignored-in-memory
        if work.append is not None and (conflict := self._log.find_conflict(work.append)):
            return conflict
        self._write_rows(work)
        self._state.ranges[move.key] = replace(current, position=move.position)
        if work.append is not None:
            self._log.store(work.append)
        return "recorded"

    def _write_rows(self, work: UnitOfWork) -> None:
        tables = [self._state.rows_of(change.table.name) for change in work.rows]  # fails before any is changed
        for rows, change in zip(tables, work.rows, strict=True):
            key_index = change.table.index_of(change.table.key)
            rows.update({row[key_index]: tuple(row) for row in change.upserts})
            for key in change.deletes:
                rows.pop(key, None)
