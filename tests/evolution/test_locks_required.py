"""An app with `locks=` refuses event types that are not locked, or differ from their lock, at `open` and `outbox`."""

import sqlite3
import time
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec
import pytest

import fait
from fait._evolution.locks.folder import LockFolder
from fait._evolution.locks.require_locks import require_locks
from tests.evolution.lock_examples import declared_as, lock_of, registry_of

TYPES = 500
MAX_SECONDS = 0.5
"""Maximum processor time for all types. Measured: 0.1 s; the rest is for slow machines."""


@pytest.fixture
def locks(tmp_path: Path) -> Path:
    return tmp_path / "events"


def app_of(locks: Any, *classes: type) -> fait.App:
    app = fait.App("shop", locks=locks)
    app.include(*classes)
    return app


async def test_app_with_locked_events_opens(locks: Path) -> None:
    placed, renamed = declared_as("placed"), declared_as("new", was=("old",))
    for each in (placed, declared_as("old")):
        LockFolder(locks).write(lock_of(each))

    async with app_of(locks, placed, renamed).open("memory:") as system:
        await system.append(fait.NewEvents("order-1", [placed("c", Decimal(1)), renamed("c", Decimal(1))]))


async def test_draft_is_refused_and_nothing_is_opened(locks: Path, tmp_path: Path) -> None:
    placed, changed, undescribed = declared_as("placed"), declared_as("changed", n=int), declared_as("draft", 3)
    LockFolder(locks).write(lock_of(placed))
    LockFolder(locks).write(lock_of(declared_as("changed", n=str)))
    app = app_of(str(locks), placed, changed, undescribed)

    with pytest.raises(fait.UnlockedEvents) as raised:
        async with app.open(f"sqlite:///{tmp_path}/shop.db"):
            pass

    assert list(raised.value.reasons) == ["changed", "draft"]
    assert raised.value.reasons["draft"] == "version 3 is not locked"
    assert raised.value.reasons["changed"].startswith("version 1 was changed after it was locked (f1:")
    assert str(raised.value) == (
        f"2 event type(s) do not match the locks in {locks}:\n"
        f"  changed: {raised.value.reasons['changed']}\n"
        "  draft: version 3 is not locked\n"
        "Nothing was opened or written. Deploy the folder with the code. Lock a draft with: fait schema lock. Make a "
        "change of a locked version the next version: fait schema new-version TYPE."
    )
    assert not (tmp_path / "shop.db").exists()


def test_outbox_refuses_drafts(locks: Path, tmp_path: Path) -> None:
    placed = declared_as("placed")
    app = app_of(locks, placed)
    with sqlite3.connect(tmp_path / "shop.db") as connection, pytest.raises(fait.UnlockedEvents):
        app.outbox(connection)
    connection.close()


def test_class_that_is_included_later_is_checked_too(locks: Path, tmp_path: Path) -> None:
    placed, draft = declared_as("placed"), declared_as("draft")
    LockFolder(locks).write(lock_of(placed))
    app = app_of(locks, placed)
    app._resolve_locked()
    app.include(draft)

    with pytest.raises(fait.UnlockedEvents, match="draft: version 1 is not locked"):
        app._resolve_locked()


def test_locks_of_a_package_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    placed = declared_as("placed")
    package = tmp_path / "package_of_shop"
    LockFolder(package / "events").write(lock_of(placed))
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))

    app_of(files("package_of_shop") / "events", placed)._resolve_locked()


async def test_app_without_locks_may_have_drafts() -> None:
    async with app_of(None, declared_as("draft")).open("memory:"):
        pass


def test_lock_of_another_name_at_the_same_path_is_none(locks: Path) -> None:
    placed = declared_as("placed")
    path = LockFolder(locks).write(lock_of(placed))
    path.write_bytes(path.read_bytes().replace(b'"placed"', b'"Placed"'))  # as on a file system that ignores case

    with pytest.raises(fait.UnlockedEvents, match="placed: version 1 is not locked"):
        require_locks(registry_of(placed), locks)


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b"<<<<<<< HEAD\n"])
def test_unreadable_lock_is_none(content: bytes, locks: Path) -> None:
    placed = declared_as("placed")
    LockFolder(locks).write(lock_of(placed)).write_bytes(content)

    with pytest.raises(fait.UnlockedEvents):
        require_locks(registry_of(placed), locks)


class Money(msgspec.Struct, frozen=True):
    amount: int
    currency: str = "EUR"


def test_many_types_are_checked_in_less_than_the_maximum_time(locks: Path) -> None:
    fields: dict[str, Any] = {f"field_{n}": kind for n, kind in enumerate([int, str, Money, list[Money], bool] * 2)}
    classes = [declared_as(f"type-{number}", **fields) for number in range(TYPES)]
    folder = LockFolder(locks)
    lock = lock_of(classes[0])
    for number in range(TYPES):
        path = folder.path.joinpath(f"type-{number}")
        Path(str(path)).mkdir(parents=True)
        folder.path.joinpath(f"type-{number}", "v1.json").write_bytes(
            msgspec.json.encode(msgspec.structs.replace(lock, type=f"type-{number}"))
        )
    registry = registry_of(*classes)

    started = time.process_time()
    require_locks(registry, locks)
    elapsed = time.process_time() - started

    print(f"{elapsed * 1000:.0f} ms")
    assert elapsed < MAX_SECONDS
