"""The folder of locks: `events/<event type>/v<version>.json` in the repository of an application.

Reading is strict. A file that is not exactly a lock of this path is reported, because a lock that is ignored protects
nothing. Only names that begin with a dot are ignored: no path of a lock does.

Paths are percent-encoded, so each event type has a folder on Linux, macOS and Windows. A folder is never decoded: the
file contains the event type, and its path follows from it.
"""

import errno
import os
import re
from collections.abc import Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from fait._errors import UsageError
from fait._events.event import is_event_name
from fait._evolution.locks.lock import Lock, Locks, checksum_of, encode_lock
from fait._evolution.locks.rules import make_violation
from fait._evolution.locks.violation import RuleViolation

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable  # slow to import

__all__ = ["LockFolder", "encoded_name", "lock_path", "replace_file"]

MAX_LOCK_BYTES: Final = 4 << 20
"""Maximum size of a lock file."""

MAX_FOLDER_CHARS: Final = 120
"""Maximum length of a folder's name. Paths of Windows have 260 characters."""

_FILE: Final = re.compile(r"v([1-9][0-9]{0,8})\.json")
_CONFLICT: Final = re.compile(rb"^(<<<<<<<|>>>>>>>) ", re.MULTILINE)
_DEVICE: Final = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\.|$)", re.IGNORECASE)
_PLAIN: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")


class LockFolder:
    """A folder of locks, which need not exist.

    Args:
        path: the folder; to read, also one of a package: `importlib.resources.files("shop") / "events"`.
    """

    def __init__(self, path: "str | Path | Traversable") -> None:
        self.path = Path(path) if isinstance(path, str) else path

    @property
    def exists(self) -> bool:
        """Whether there is such a folder. Without one, no event type is a draft."""
        return self.path.is_dir()

    def read(self) -> tuple[Locks, list[RuleViolation]]:
        """Return all locks, and a violation (FAIT102) for each file that is no valid lock of its path."""
        locks: dict[str, dict[int, Lock]] = {}
        violations: list[RuleViolation] = []
        for folder, file in self._files():
            try:
                lock = _read_lock(folder, file)
            except _InvalidLock as error:
                violations.append(_violation(folder, file, error))
            else:
                locks.setdefault(lock.type, {})[lock.version] = lock
        return {name: dict(sorted(locks[name].items())) for name in sorted(locks)}, violations

    def fingerprint(self, type: str, version: int) -> str | None:
        """Return the fingerprint in a lock file without checking the file; None if there is no such lock."""
        try:
            header = _decode_header(self.path.joinpath(encoded_name(type), f"v{version}.json").read_bytes())
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
            return None
        # On a file system that ignores case, it may be the lock of another type.
        return header.fingerprint if (header.type, header.version) == (type, version) else None

    def write(self, lock: Lock) -> Path:
        """Write a new lock file and return its path. A crash leaves the whole file or none.

        Raises:
            UsageError: the file exists, perhaps because another process has just written it, or there is a folder whose
                name differs only in case.
        """
        target = self.path_of(lock)
        self._check_case(target.parent)
        target.parent.mkdir(parents=True, exist_ok=True)
        # fault: lock-overwritten
        _write_new(target, encode_lock(lock))
        return target

    def replace(self, lock: Lock) -> Path:
        """Replace the file of a lock, and return its path."""
        target = self.path_of(lock)
        replace_file(target, encode_lock(lock))
        return target

    def path_of(self, lock: Lock) -> Path:
        """Return the path of a lock's file, which need not exist."""
        return Path(str(self.path)) / lock_path(lock.type, lock.version)

    def _check_case(self, folder: Path) -> None:
        for each in _visible(folder.parent) if folder.parent.is_dir() else ():
            if each.name != folder.name and each.name.casefold() == folder.name.casefold():
                raise UsageError(
                    f"cannot lock in {folder}: {each.name} has locks already, and for some file systems both names are "
                    "one. The lock was not written. Choose an event name that differs in more than its case."
                )

    def _files(self) -> "Iterator[tuple[str, Path | Traversable]]":
        """Yield all files with the name of their folder, and whatever is in the place of a folder."""
        for entry in _visible(self.path) if self.exists else ():
            if _is_link(entry) or not entry.is_dir():
                yield "", entry
            else:
                yield from ((entry.name, each) for each in _visible(entry))


def encoded_name(type: str) -> str:
    """Return the name of an event type's folder: percent-encoded, and shortened with a hash if it is long."""
    name = "".join(each if each in _PLAIN else _percent(each) for each in type)
    if name[0] == "." or _DEVICE.match(name):  # hidden, or a device on Windows
        name = _percent(name[0]) + name[1:]
    if name[-1] == ".":  # Windows removes it
        name = name[:-1] + _percent(".")
    if len(name) > MAX_FOLDER_CHARS:
        digest = sha256(type.encode()).hexdigest()[:16]
        return f"{name[: MAX_FOLDER_CHARS - 18]}%-{digest}"  # no encoded name contains "%-"
    return name


def lock_path(type: str, version: int) -> str:
    """Return the path of a lock in its folder."""
    return f"{encoded_name(type)}/v{version}.json"


def _percent(char: str) -> str:
    return "".join(f"%{byte:02X}" for byte in char.encode())


class _InvalidLock(Exception):
    """A file that is no lock of its path: the reason, and what to do."""

    def __init__(self, reason: str, *advice: str) -> None:
        super().__init__(reason)
        self.advice = advice or (
            "Restore the file from version control: git restore --source=HEAD -- {path}",
            "The commits that changed it: git log --oneline -- {path}",
        )


class _Header(Struct):
    type: str
    version: int
    fingerprint: str


_decode_lock = msgspec.json.Decoder(Lock).decode
_decode_header = msgspec.json.Decoder(_Header).decode


def _read_lock(folder: str, file: Any) -> Lock:
    named = _FILE.fullmatch(file.name)
    if _is_link(file):
        raise _InvalidLock("it is a symbolic link, but a lock is a file", "Replace the link with the file.")
    if not (folder and named and file.is_file()):
        raise _InvalidLock("locks are files <event type>/v<version>.json; this is none", "Move it to another folder.")
    lock = _decoded(_content(file))
    if not is_event_name(lock.type):
        raise _InvalidLock("its type is no event name")
    if folder != encoded_name(lock.type):
        raise _InvalidLock(f"it is the lock of {lock.type!r}, whose folder is {encoded_name(lock.type)}")
    if int(named[1]) != lock.version:
        raise _InvalidLock(f"it is the lock of version {lock.version}, whose file is v{lock.version}.json")
    # fault: edited-content-accepted
    if lock.checksum != checksum_of(lock):
        raise _InvalidLock(_edit(lock))
    return replace(lock, checksum="")


def _content(file: Any) -> bytes:
    try:
        with file.open("rb") as opened:
            data: bytes = opened.read(MAX_LOCK_BYTES + 1)
    except OSError as error:
        raise _InvalidLock(f"it cannot be read: {error.strerror}", "Make the file readable.") from None
    if len(data) > MAX_LOCK_BYTES:
        raise _InvalidLock(f"it has more than {MAX_LOCK_BYTES >> 20} MiB")
    if _CONFLICT.search(data):
        raise _InvalidLock(
            "it has conflict markers of a merge: two branches locked this version",
            "Keep the file of the branch that was merged first: git checkout --ours -- {path}  (or --theirs)",
            "Make the change of the other branch the next version: fait schema new-version {type}",
        )
    return data


def _decoded(data: bytes) -> Lock:
    try:
        return _decode_lock(data)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        _check_form(data)
        raise _InvalidLock(f"it is no lock: {error}") from None


def _check_form(data: bytes) -> None:
    """Recognize the lock of a newer version of fait, whose description may have another form."""
    try:
        fingerprint = _decode_header(data).fingerprint
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return
    form = fingerprint.partition(":")[0]
    if re.fullmatch(r"f[0-9]+", form) and form != "f1":
        raise _InvalidLock(
            f"its description has the form {form}, and this version of fait reads f1", "Upgrade fait, or lock with it."
        )


def _edit(lock: Lock) -> str:
    """Return what is wrong with a lock whose checksum is not that of its content."""
    try:
        fingerprint = lock.description.fingerprint
    except KeyError as error:
        return f"its description refers to {error}, which it does not contain"
    except RecursionError:
        return "its description is nested too deeply"
    if fingerprint != lock.fingerprint:
        return f"its description was edited: it has the fingerprint {fingerprint}, and the file says {lock.fingerprint}"
    return "it was edited: its checksum is not that of its content"


def _violation(folder: str, file: Any, error: _InvalidLock) -> RuleViolation:
    named, path, type = _FILE.fullmatch(file.name), str(file), _type_of(folder)
    return make_violation(
        "FAIT102",
        type,
        int(named[1]) if named else 0,
        place=path,
        details=(str(error),),
        advice=tuple(each.format(path=path, type=type or "TYPE") for each in error.advice),
    )


def _type_of(folder: str) -> str:
    """Return the event type with this folder; empty if it is none, or if its name was shortened."""
    type = unquote(folder)
    return type if folder and encoded_name(type) == folder else ""


def _visible(folder: Any) -> Iterable[Any]:
    return sorted((each for each in folder.iterdir() if not each.name.startswith(".")), key=lambda each: each.name)


def _is_link(file: Any) -> bool:
    return isinstance(file, Path) and file.is_symlink()


def _write_new(target: Path, data: bytes) -> None:
    """Write a file that does not exist: as a whole, through a link to a complete temporary file."""
    temporary = _write_temporary(target, data)
    try:
        os.link(temporary, target)
    except FileExistsError:
        raise UsageError(
            f"{target} exists, and a lock is never overwritten. Nothing was written to it. Run the command again: "
            "another process may have locked the version."
        ) from None
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        with target.open("xb") as file:  # a crash may leave a part of the file here, which reading reports
            file.write(data)
    finally:
        temporary.unlink()
    _sync_folder(target.parent)


_NO_LINKS: Final = {errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK}
"""What file systems without hard links answer."""


def replace_file(target: Path, data: bytes) -> None:
    """Replace the content of a file. A crash leaves the old or the new one; permissions remain."""
    temporary = _write_temporary(target, data)
    temporary.chmod(target.stat().st_mode & 0o7777)
    temporary.replace(target)
    _sync_folder(target.parent)


def _write_temporary(target: Path, data: bytes) -> Path:
    temporary = target.with_name(f".{target.name}.{os.urandom(6).hex()}")
    with temporary.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return temporary


def _sync_folder(folder: Path) -> None:
    """Make a new name in a folder durable. Windows has no such call."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
