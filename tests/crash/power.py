"""Simulates power failures: records the file operations of SQLite, and reconstructs the files at any point in time.

After a power failure a file contains everything written before its last sync. Of later writes it contains any subset,
in any order, torn between sectors. A process that is merely killed loses none of its writes.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Literal, NamedTuple

import apsw

SECTOR = 512
WAL_HEADER, FRAME_HEADER, PAGE = 32, 24, 4096
JOURNALS = ("-wal", "-journal")


class Operation(NamedTuple):
    file: str
    kind: Literal["write", "truncate", "sync", "delete", "sync directory"]
    offset: int = 0
    data: bytes = b""

    @property
    def is_wal_sync(self) -> bool:
        return self.kind == "sync" and self.file.endswith("-wal")

    @property
    def is_commit(self) -> bool:
        """Whether this writes the header of a commit frame: only there the database size is not 0."""
        frame = self.kind == "write" and self.file.endswith("-wal") and len(self.data) == FRAME_HEADER
        return frame and (self.offset - WAL_HEADER) % (FRAME_HEADER + PAGE) == 0 and self.data[4:8] != bytes(4)


class Disk(apsw.VFS):
    """The default VFS of this process's SQLite during a test. It records operations, and can fail.

    With `writes_left` or `syncs_left`, that many more succeed and all later ones fail. Nothing is really synced: this
    would only cost time, as the machine does not lose its power.
    """

    def __init__(self) -> None:
        super().__init__("recorded", "unix", makedefault=True)
        self.operations: list[Operation] = []
        self.writes_left: int | None = None
        self.syncs_left: int | None = None

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:
        return _File(self, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        super().xDelete(filename, syncdir)
        self.operations.append(Operation(Path(filename).name, "delete"))
        if syncdir:
            self.operations.append(Operation("", "sync directory"))

    def since(self, start: int, which: Callable[[Operation], bool]) -> int:
        """Number of matching operations from `start` on."""
        return sum(map(which, self.operations[start:]))


class _File(apsw.VFSFile):
    def __init__(self, disk: Disk, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        super().__init__("unix", name, flags)
        self._disk = disk
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        self._name = Path(path or "temporary").name
        # SQLite's unix VFS syncs the directory with the first sync of a journal that it may have created.
        self._syncs_directory = self._name.endswith(JOURNALS)

    def xWrite(self, data: bytes, offset: int) -> None:
        if self._disk.writes_left is not None:
            if self._disk.writes_left == 0:
                raise apsw.FullError("the disk is full")
            self._disk.writes_left -= 1
        self._disk.operations.append(Operation(self._name, "write", offset, bytes(data)))
        super().xWrite(data, offset)

    def xTruncate(self, newsize: int) -> None:
        self._disk.operations.append(Operation(self._name, "truncate", newsize))
        super().xTruncate(newsize)

    def xSync(self, flags: int) -> None:
        if self._disk.syncs_left is not None:
            if self._disk.syncs_left == 0:
                raise apsw.IOError("the device has failed")
            self._disk.syncs_left -= 1
        self._disk.operations.append(Operation(self._name, "sync"))
        if self._syncs_directory:
            self._syncs_directory = False
            self._disk.operations.append(Operation("", "sync directory"))


@contextmanager
def recorded(wal_autocheckpoint: int | None = None) -> Iterator[Disk]:
    """Use a `Disk` for all connections opened in the block, with this WAL checkpoint threshold in pages."""

    def configure(connection: apsw.Connection) -> None:
        if wal_autocheckpoint is not None:
            connection.wal_autocheckpoint(wal_autocheckpoint)

    disk = Disk()
    apsw.connection_hooks.append(configure)
    try:
        yield disk
    finally:
        apsw.connection_hooks.remove(configure)
        disk.unregister()


class Platter:
    """The durable content of each file, and the operations after it that are not durable yet."""

    def __init__(self) -> None:
        self._safe: dict[str, bytearray | None] = {}
        self._pending: dict[str, list[Operation]] = {}

    def apply(self, operation: Operation) -> None:
        match operation.kind:
            case "sync":
                self._make_durable(operation.file, len(self._pending.get(operation.file, [])))
            case "sync directory":
                for file, pending in self._pending.items():
                    deletes = [at for at, each in enumerate(pending, 1) if each.kind == "delete"]
                    self._make_durable(file, max(deletes, default=0))
            case _:
                self._pending.setdefault(operation.file, []).append(operation)

    def write_out(self, directory: Path, chance: random.Random, kept: float) -> None:
        """Write the files as after a power failure. `kept`: the probability that an unsynced operation survives."""
        for earlier in directory.iterdir():
            earlier.unlink()
        for file in self._safe.keys() | self._pending.keys():
            content = self._after_power_loss(file, chance, kept)
            if content is not None:
                (directory / file).write_bytes(content)

    def _make_durable(self, file: str, count: int) -> None:
        content, pending = self._safe.get(file), self._pending.get(file, [])
        for operation in pending[:count]:
            content = _apply_operation(content, operation)
        self._safe[file] = content
        del pending[:count]

    def _after_power_loss(self, file: str, chance: random.Random, kept: float) -> bytearray | None:
        safe = self._safe.get(file)
        content = None if safe is None else bytearray(safe)
        for operation in self._pending.get(file, []):
            if chance.random() < kept:
                for part in _surviving_parts(operation, chance) if kept < 1 else [operation]:
                    content = _apply_operation(content, part)
            elif operation.kind == "delete":
                break  # later writes are to a new file, which the directory does not contain
        return content


def _apply_operation(content: bytearray | None, operation: Operation) -> bytearray | None:
    if operation.kind == "delete":
        return None
    content = bytearray() if content is None else content
    offset, data = operation.offset, operation.data
    if operation.kind == "truncate":
        del content[offset:]
        return content
    content.extend(bytes(max(0, offset - len(content))))
    content[offset : offset + len(data)] = data
    return content


def _surviving_parts(operation: Operation, chance: random.Random) -> Sequence[Operation]:
    """The surviving sectors of a write: in most cases all."""
    if operation.kind != "write" or chance.random() < 0.7:
        return [operation]
    start, end = operation.offset, operation.offset + len(operation.data)
    bounds = [start, *range((start // SECTOR + 1) * SECTOR, end, SECTOR), end]
    return [
        operation._replace(offset=low, data=operation.data[low - start : high - start])
        for low, high in pairwise(bounds)
        if chance.random() < 0.5
    ]
