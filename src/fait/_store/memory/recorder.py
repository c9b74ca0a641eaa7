"""Records units of work in memory."""

from msgspec.structs import replace

from fait._errors import UsageError
from fait._store.memory.inbox import change_inbox, is_inbox_expected
from fait._store.memory.log import MemoryLog
from fait._store.memory.state import MemoryState
from fait._store.ports.failures import FailureChange, FailureState, are_expected
from fait._store.ports.unit_of_work import RangeMove, RecordResult, UnitOfWork

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
        if not are_expected(work.failures, self._states(work)):
            return "refused"
        if work.inbox and not is_inbox_expected(self._state, move.key.subscription, work.inbox):
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
        moved = replace(current, position=move.position, frontier=move.frontier, health="")
        self._state.put(moved, move.pending)
        for change in work.failures:
            self._change_failure(move, change)
        if work.inbox:
            change_inbox(self._state, move.key.subscription, work.inbox)
        if work.append is not None:
            self._log.store(work.append)
        return "recorded"

    def _states(self, work: UnitOfWork) -> dict[str, FailureState]:
        """Return the states of the failures that the work changes, by key."""
        stored = (self._state.failures.get(_failure_id(work.move, change)) for change in work.failures)
        return {each.key: each.state for each in stored if each}

    def _change_failure(self, move: RangeMove, change: FailureChange) -> None:
        self._state.failures.pop(_failure_id(move, change), None)
        if change.failure:
            self._state.failures[_failure_id(move, change)] = change.failure

    def _write_rows(self, work: UnitOfWork) -> None:
        tables = [self._state.rows_of(change.table.name) for change in work.rows]  # fails before any is changed
        for rows, change in zip(tables, work.rows, strict=True):
            key_index = change.table.index_of(change.table.key)
            rows.update({row[key_index]: tuple(row) for row in change.upserts})
            for key in change.deletes:
                rows.pop(key, None)


def _failure_id(move: RangeMove, change: FailureChange) -> tuple[str, int, str]:
    return move.key.subscription, move.key.generation, change.key
