"""The folder of locks: each event name has a path everywhere, and a file that is no valid lock is reported."""

import os
import subprocess
import sys
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fait
from fait._events.event import is_event_name
from fait._evolution.locks.folder import MAX_FOLDER_CHARS, MAX_LOCK_BYTES, LockFolder, encoded_name
from fait._evolution.locks.lock import Lock, encode_lock
from tests.evolution.lock_examples import declared_as, lock_of

NAME = "shop.order-placed"


@pytest.fixture
def lock() -> Lock:
    return lock_of(declared_as(NAME))


@pytest.fixture
def folder(tmp_path: Path) -> LockFolder:
    return LockFolder(tmp_path / "events")


# Paths

names = st.text(min_size=1, max_size=200).filter(is_event_name)
WINDOWS_DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))}


@given(names)
def test_folder_of_every_event_name_is_legal_on_all_systems(name: str) -> None:
    encoded = encoded_name(name)

    assert encoded.isascii()
    assert not set(encoded) & set('<>:"/\\|?* ')
    assert encoded[0] != "."
    assert encoded[-1] != "."
    assert encoded.partition(".")[0].lower() not in WINDOWS_DEVICES
    assert len(encoded) <= MAX_FOLDER_CHARS


@given(names, names)
def test_folders_of_two_event_names_differ(one: str, other: str) -> None:
    assert (encoded_name(one) == encoded_name(other)) == (one == other)


@pytest.mark.parametrize(
    ("name", "encoded"),
    [
        (NAME, NAME),
        ("größe", "gr%C3%B6%C3%9Fe"),
        ("a b", "a%20b"),
        ("a/b", "a%2Fb"),
        ("100%", "100%25"),
        ("con", "%63on"),
        ("Com1.placed", "%43om1.placed"),
        ("console", "console"),
        (".", "%2E"),
        ("..", "%2E%2E"),
        (".git", "%2Egit"),
        ("placed.", "placed%2E"),
    ],
)
def test_event_name_is_encoded(name: str, encoded: str) -> None:
    assert encoded_name(name) == encoded


def test_long_event_name_is_shortened_with_a_hash() -> None:
    one, other = encoded_name("x" * 200), encoded_name("x" * 199)

    assert one.startswith("x" * 102 + "%-")
    assert one != other


# Writing


def test_written_locks_are_read(folder: LockFolder) -> None:
    first = lock_of(declared_as(NAME, n=int))
    second = lock_of(declared_as(NAME, 2, n=int, m=str), first)
    other = lock_of(declared_as("größe"))

    paths = [folder.write(each) for each in (second, other, first)]

    locks, violations = folder.read()
    assert (locks, violations) == ({NAME: {1: first, 2: second}, "größe": {1: other}}, [])
    assert [list(each) for each in locks.values()] == [[1], [1, 2]]
    assert [str(each.relative_to(folder.path)) for each in paths] == [
        "shop.order-placed/v2.json", "gr%C3%B6%C3%9Fe/v1.json", "shop.order-placed/v1.json"
    ]  # fmt: skip


def test_lock_is_never_overwritten(folder: LockFolder, lock: Lock) -> None:
    path = folder.write(lock)

    with pytest.raises(fait.UsageError, match="exists, and a lock is never overwritten"):
        folder.write(msgspec.structs.replace(lock, locked_on="2027-01-01"))

    assert path.read_bytes() == encode_lock(lock)
    assert [each.name for each in path.parent.iterdir()] == ["v1.json"]


def test_of_many_processes_one_writes_a_lock(folder: LockFolder, lock: Lock) -> None:
    program = (
        "import sys, msgspec; from fait._evolution.locks.lock import Lock;"
        "from fait._evolution.locks.folder import LockFolder;"
        "lock = msgspec.json.decode(sys.argv[2], type=Lock); print('ready', flush=True); sys.stdin.read();"
        "LockFolder(sys.argv[1]).write(lock)"
    )
    arguments = [sys.executable, "-c", program, str(folder.path), encode_lock(lock).decode()]
    started = [
        subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    for each in started:
        assert each.stdout is not None
        each.stdout.readline()

    outcomes = [each.communicate()[1] for each in started]

    assert sorted(each.returncode for each in started) == [0, 1, 1], outcomes
    assert folder.read() == ({NAME: {1: lock}}, [])


def test_lock_is_written_without_hard_links(folder: LockFolder, lock: Lock, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)

    folder.write(lock)

    assert folder.read() == ({NAME: {1: lock}}, [])
    with pytest.raises(FileExistsError):
        folder.write(lock)


def test_crash_before_the_link_leaves_no_lock(folder: LockFolder, lock: Lock, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(source: Path, _: object) -> None:
        assert LockFolder(source.parents[1]).read() == ({}, [])  # the temporary file is not reported
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "link", link)

    with pytest.raises(KeyboardInterrupt):
        folder.write(lock)

    assert list((Path(str(folder.path)) / NAME).iterdir()) == []


def test_name_that_differs_only_in_case_is_refused(folder: LockFolder, lock: Lock) -> None:
    folder.write(lock)

    with pytest.raises(fait.UsageError, match=r"cannot lock in .*Shop\.order-placed: shop\.order-placed has locks"):
        folder.write(lock_of(declared_as("Shop.order-placed")))


def test_replaced_lock_keeps_its_permissions(folder: LockFolder, lock: Lock) -> None:
    path = folder.write(lock)
    path.chmod(0o640)

    folder.replace(msgspec.structs.replace(lock, locked_on="2027-01-01"))

    assert (path.stat().st_mode & 0o777, folder.read()[0][NAME][1].locked_on) == (0o640, "2027-01-01")


# Reading


def changed(change: Callable[[dict[str, Any]], Any]) -> Callable[[bytes], bytes]:
    def apply(content: bytes) -> bytes:
        data = msgspec.json.decode(content)
        change(data)
        return msgspec.json.encode(data)

    return apply


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda content: content[:-20], "it is no lock: Input data was truncated"),
        (lambda content: b"", "it is no lock: Input data was truncated"),
        (lambda content: b"\xef\xbb\xbf" + content, "it is no lock: JSON is malformed"),
        (lambda content: content.replace(b"text", b"te\xff"), "it is no lock: "),
        (lambda content: b"[" * 100_000, "it is no lock: "),
        (lambda content: content + b" " * MAX_LOCK_BYTES, "it has more than 4 MiB"),
        (
            lambda content: b"<<<<<<< HEAD\n" + content + b"=======\n" + content + b">>>>>>> branch\n",
            "it has conflict markers of a merge: two branches locked this version",
        ),
        (changed(lambda data: data.update(owner="me")), "Object contains unknown field `owner`"),
        (changed(lambda data: data.pop("samples") and data.pop("fingerprint")), "missing required field `fingerprint`"),
        (changed(lambda data: data.update(type="shop.paid")), "the lock of 'shop.paid', whose folder is shop.paid"),
        (changed(lambda data: data.update(type="")), "its type is no event name"),
        (changed(lambda data: data.update(version=2)), "it is the lock of version 2, whose file is v2.json"),
        (changed(lambda data: data.update(locked_on="2020-01-01")), "it was edited: its checksum"),
        (changed(lambda data: data["samples"].append({"customer": "a"})), "it was edited: its checksum"),
        (changed(lambda data: data.update(fingerprint="f1:0")), "its description was edited"),
        (
            changed(lambda data: data["description"]["records"]["Placed"]["members"].pop("amount")),
            "its description was edited",
        ),
        (changed(lambda data: data.update(json_schema={})), "it was edited: its checksum is not that of its content"),
        (changed(lambda data: data.update(reserved=["amount"])), "it was edited: its checksum"),
        (changed(lambda data: data["description"]["records"].clear()), "its description refers to 'Placed', which it"),
        (
            changed(lambda data: data.update(fingerprint="f2:0", description={"form": 2})),
            "its description has the form f2, and this version of fait reads f1",
        ),
    ],
)  # fmt: skip
def test_file_that_is_no_lock_of_its_path_is_reported(
    change: Callable[[bytes], bytes], reason: str, folder: LockFolder, lock: Lock
) -> None:
    path = folder.write(lock)
    path.write_bytes(change(path.read_bytes()))

    locks, (violation,) = folder.read()

    assert locks == {}
    assert reason in violation.details[0]
    assert (violation.rule, violation.type, violation.version, violation.place) == ("FAIT102", NAME, 1, str(path))
    assert all("{" not in each for each in violation.advice)


def test_another_json_schema_is_no_edit(folder: LockFolder, lock: Lock) -> None:
    folder.write(msgspec.structs.replace(lock, json_schema={"type": "object"}))

    assert folder.read()[1] == []


@pytest.mark.parametrize("path", ["README.md", f"{NAME}/v01.json", f"{NAME}/v1.json.orig", f"{NAME}/deep/v1.json"])
def test_stray_file_is_reported(path: str, folder: LockFolder, lock: Lock) -> None:
    folder.write(lock)
    stray = Path(str(folder.path)) / path
    stray.parent.mkdir(exist_ok=True)
    stray.write_bytes(encode_lock(lock))

    locks, (violation,) = folder.read()

    assert list(locks) == [NAME]
    assert violation.details == ("locks are files <event type>/v<version>.json; this is none",)


def test_hidden_files_are_ignored(folder: LockFolder, lock: Lock) -> None:
    path = folder.write(lock)
    path.with_name(".v2.json.swp").touch()
    path.parent.with_name(".DS_Store").touch()

    assert folder.read() == ({NAME: {1: lock}}, [])


def test_symbolic_links_are_reported(folder: LockFolder, lock: Lock, tmp_path: Path) -> None:
    path = folder.write(lock)
    path.rename(tmp_path / "v1.json")
    path.symlink_to(tmp_path / "v1.json")
    path.parent.with_name("other").symlink_to(path.parent)

    locks, violations = folder.read()

    assert (locks, [each.details for each in violations]) == (
        {},
        [("it is a symbolic link, but a lock is a file",)] * 2,
    )


@pytest.mark.skipif(os.name == "nt", reason="Windows has no named pipes in folders")
def test_named_pipe_is_reported_and_not_opened(folder: LockFolder, lock: Lock) -> None:
    path = folder.write(lock)
    path.unlink()
    os.mkfifo(path)

    assert len(folder.read()[1]) == 1


def test_missing_folder_has_no_locks(folder: LockFolder) -> None:
    assert (folder.exists, folder.read()) == (False, ({}, []))


def test_folder_in_a_package_is_read(tmp_path: Path, lock: Lock, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "package_with_locks"
    LockFolder(package / "events").write(lock)
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))

    folder = LockFolder(files("package_with_locks") / "events")

    assert folder.read() == ({NAME: {1: lock}}, [])
    assert (folder.fingerprint(NAME, 1), folder.fingerprint(NAME, 2)) == (lock.fingerprint, None)


def test_two_branches_that_lock_one_version_conflict_in_git(tmp_path: Path) -> None:
    def git(*arguments: str) -> subprocess.CompletedProcess[str]:
        identity = ["-c", "user.name=test", "-c", "user.email=test@example.org", "-c", "init.defaultBranch=main"]
        return subprocess.run(["git", *identity, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False)

    folder = LockFolder(tmp_path / "events")
    first = lock_of(declared_as(NAME, n=int))
    git("init")
    folder.write(first)
    git("add", "."), git("commit", "-m", "first")
    for branch, fields in (("one", {"n": int, "a": str}), ("other", {"n": int, "b": str})):
        git("checkout", "-b", branch, "main")
        folder.write(lock_of(declared_as(NAME, 2, **fields), first))
        git("add", "."), git("commit", "-m", branch)

    merge = git("merge", "one")

    assert "CONFLICT (add/add)" in merge.stdout
    locks, (violation,) = folder.read()
    assert (locks, violation.version) == ({NAME: {1: first}}, 2)
    assert violation.advice[1].endswith("fait schema new-version shop.order-placed")


@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_damaged_lock_is_reported_or_has_the_same_description(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = LockFolder(tmp_path_factory.mktemp("damaged"))
    lock = lock_of(declared_as(NAME, n=int, m=str))
    path = folder.write(lock)
    content = path.read_bytes()
    start = data.draw(st.integers(0, len(content)))
    damage = data.draw(st.binary(max_size=3) | st.sampled_from([b'"', b"{", b"null", b"1e999", b"\xed\xa0\x80", b"-0"]))
    path.write_bytes(content[:start] + damage + content[start + data.draw(st.integers(0, 4)) :])

    locks, violations = folder.read()

    assert len(violations) == 1 or locks[NAME][1].description.fingerprint == lock.fingerprint
