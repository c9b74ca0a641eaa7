"""An export writes imported lines unchanged, and replaces its file only when it is complete."""

import gzip
import json
import os
import socket
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

DATA = Path(__file__).parents[3] / "shared" / "data"

Write = Callable[..., Path]
Run = Callable[..., Any]


def event(number: int, stream: str) -> dict[str, Any]:
    return {"stream": stream, "type": "counted", "time": "2024-01-01T00:00:00Z", "data": {"n": number}}


@pytest.fixture
def three(run: Run, store: str, jsonl: Write) -> list[dict[str, Any]]:
    lines = [event(1, "case-1"), event(2, "order-1"), event(3, "case-2")]
    assert run("import", jsonl(lines), "-s", store).exit_code == 0
    return lines


def exported(result: Any) -> list[Any]:
    assert result.exit_code == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_export_can_be_limited_to_stream_or_category(run: Run, store: str, three: list[Any]) -> None:
    assert exported(run("export", "-s", store)) == three
    assert exported(run("export", "-s", store, "--category", "case")) == [three[0], three[2]]
    assert exported(run("export", "-s", store, "--stream", "order-1")) == [three[1]]
    assert exported(run("export", "-s", store, "--stream", "order-1", "--category", "case")) == []


@pytest.mark.parametrize(("name", "expand"), [("out.jsonl", bytes), ("out.jsonl.gz", gzip.decompress)])
def test_export_replaces_existing_file(
    run: Run, store: str, three: list[Any], tmp_path: Path, name: str, expand: Callable[[bytes], bytes]
) -> None:
    target = tmp_path / name
    target.write_bytes(b"old")

    result = run("export", "-s", store, "-o", target)

    assert (result.exit_code, result.stdout) == (0, "")
    assert "3 events written" in result.stderr
    assert expand(target.read_bytes()) == (tmp_path / "events.jsonl").read_bytes()


def test_failed_export_leaves_existing_file(
    run: Run, store: str, three: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> bytes:
        raise OSError(28, "No space left on device", "out.jsonl")

    monkeypatch.setattr("fait._tools.cli.transfer.format_line", fail)
    target = tmp_path / "out.jsonl"
    target.write_bytes(b"old")

    result = run("export", "-s", store, "-o", target)

    assert result.exit_code == 1
    assert "No space left" in result.stderr
    assert target.read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.glob("*out*")) == ["out.jsonl"]


@pytest.mark.parametrize(
    ("name", "reason"), [("missing/out.jsonl", "No such file"), ("directory", "it is not a plain file")]
)
def test_export_to_unusable_path_names_it(
    run: Run, store: str, three: list[Any], tmp_path: Path, name: str, reason: str
) -> None:
    (tmp_path / "directory").mkdir()
    before = sorted(tmp_path.iterdir())

    result = run("export", "-s", store, "-o", tmp_path / name)

    assert result.exit_code == 1
    assert result.stderr.startswith(f"fait: cannot write {tmp_path / name}: {reason}")
    assert ". Nothing was written." in result.stderr
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such files")
@pytest.mark.parametrize("name", ["pipe", "socket", "directory", "link to pipe", "link to directory"])
def test_export_leaves_what_is_not_a_plain_file(
    run: Run, store: str, three: list[Any], tmp_path: Path, name: str
) -> None:
    target = tmp_path / name.removeprefix("link to ")
    listener = socket.socket(socket.AF_UNIX)
    match target.name:
        case "pipe":
            os.mkfifo(target)
        case "socket":
            listener.bind(str(target))
        case _:
            target.mkdir()
    if name.startswith("link"):
        (tmp_path / name).symlink_to(target)
        target = tmp_path / name
    kind, files = stat.S_IFMT(target.lstat().st_mode), sorted(tmp_path.iterdir())

    result = run("export", "-s", store, "-o", target)

    listener.close()
    assert result.exit_code == 1
    assert f"cannot write {target}: it is not a plain file. Nothing was written." in result.stderr
    assert (stat.S_IFMT(target.lstat().st_mode), sorted(tmp_path.iterdir())) == (kind, files)


@pytest.mark.parametrize("exists", [True, False])
def test_export_through_a_link_replaces_the_file_that_it_names(
    run: Run, store: str, three: list[Any], tmp_path: Path, exists: bool
) -> None:
    folder, link = tmp_path / "elsewhere", tmp_path / "link.jsonl"
    folder.mkdir()
    link.symlink_to("elsewhere/out.jsonl")
    if exists:
        (folder / "out.jsonl").write_bytes(b"old")
        (folder / "out.jsonl").chmod(0o600)

    assert run("export", "-s", store, "-o", link).exit_code == 0

    assert link.is_symlink()
    assert link.read_bytes() == (tmp_path / "events.jsonl").read_bytes()
    if exists:
        assert stat.S_IMODE((folder / "out.jsonl").stat().st_mode) == 0o600
    assert [each.name for each in folder.iterdir()] == ["out.jsonl"]


@pytest.mark.parametrize(
    ("name", "options", "events"),
    [
        ("receipt-wabo.jsonl", (), 8577),
        ("ocel-order-management-simulated.jsonl.gz", ("--category", "order"), 22367),
    ],
)
def test_exported_public_log_is_identical_to_imported_file(
    run: Run, store: str, tmp_path: Path, name: str, options: tuple[str, ...], events: int
) -> None:
    file = DATA / name
    if not file.exists():
        pytest.skip(f"{file} is missing; it is not part of this project")
    target = tmp_path / name

    result = run("import", file, "-s", store, *options, "--json")
    assert json.loads(result.stdout)["written"] == events
    assert run("export", "-s", store, "-o", target).exit_code == 0

    expand = gzip.decompress if name.endswith(".gz") else bytes
    assert expand(target.read_bytes()) == expand(file.read_bytes())
