"""An import stores a file exactly, can be repeated at any time, and reports invalid lines."""

import gzip
import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from fait._tools.cli import source

Write = Callable[..., Path]
Run = Callable[..., Any]


def event(number: int, **changes: Any) -> dict[str, Any]:
    line = {"stream": f"case-{number % 7}", "type": "counted", "time": "2024-01-01T00:00:00Z", "data": {"n": number}}
    return {**line, **changes}


def test_repeated_import_stores_nothing(run: Run, store: str, jsonl: Write) -> None:
    file = jsonl([event(n) for n in range(500)])

    first = run("import", file, "-s", store, "--json")
    second = run("import", file, "-s", store, "--json")

    assert first.exit_code == second.exit_code == 0
    assert json.loads(first.stdout)["written"] == 500
    assert (json.loads(second.stdout)["written"], json.loads(second.stdout)["already_stored"]) == (0, 500)
    assert run("export", "-s", store).stdout_bytes == file.read_bytes()


@pytest.mark.parametrize("batch", [1, 7, 1000])
@pytest.mark.parametrize("seed", range(3))
def test_imports_of_growing_file_keep_its_order(run: Run, tmp_path: Path, jsonl: Write, seed: int, batch: int) -> None:
    chance, store = random.Random(seed), f"sqlite:///{tmp_path}/events.db"
    lines = [event(n, stream=f"case-{chance.randrange(30)}") for n in range(700)]

    for length in (*sorted(chance.sample(range(700), 3)), 700):
        result = run("import", jsonl(lines[:length]), "-s", store, "--batch-size", batch)
        assert result.exit_code == 0, result.stderr

    assert run("export", "-s", store).stdout_bytes == jsonl(lines).read_bytes()


def test_line_whose_id_is_stored_is_not_stored_again_in_another_file(run: Run, store: str, jsonl: Write) -> None:
    lines = [{"id": str(UUID(int=n)), **event(n, time="2024-01-01T00:00:00.000000Z")} for n in range(1, 7)]
    assert run("import", jsonl(lines[:4]), "-s", store).exit_code == 0

    again = run("import", jsonl(lines[2:], "later.jsonl"), "-s", store, "--json")

    assert (json.loads(again.stdout)["written"], json.loads(again.stdout)["already_stored"]) == (2, 2)
    assert run("export", "-s", store).stdout_bytes == jsonl(lines).read_bytes()


def test_line_with_the_id_of_another_event_ends_the_import(run: Run, store: str, jsonl: Write) -> None:
    lines = [event(n, id=str(UUID(int=n))) for n in (1, 2)]
    assert run("import", jsonl(lines), "-s", store).exit_code == 0

    result = run("import", jsonl([lines[0], {**lines[1], "data": {"n": 3}}], "other.jsonl"), "-s", store)

    assert result.exit_code == 1
    assert f"line 2: its id {UUID(int=2)} belongs to another event, at position 2 of the store" in result.stderr


def test_two_lines_with_one_id_end_the_import(run: Run, store: str, jsonl: Write) -> None:
    lines = [event(n, id=str(UUID(int=1))) for n in (1, 2)]

    result = run("import", jsonl(lines), "-s", store)

    assert result.exit_code == 1
    assert f"lines 1 and 2 have the same id, {UUID(int=1)}. An id belongs to one event" in result.stderr
    assert result.stderr.strip().endswith("Nothing was written.")


def test_store_url_can_come_from_environment(run: Run, store: str, jsonl: Write) -> None:
    result = run("import", jsonl([event(1)]), env={"FAIT_STORE": store})

    assert result.exit_code == 0
    assert result.stdout.startswith("1 event written")


def test_invalid_line_ends_the_import_with_its_number(run: Run, store: str, jsonl: Write) -> None:
    lines: list[Any] = [event(n) for n in range(100)]
    good = jsonl(lines)
    lines[60] = event(60, time="2024-01-01T00:00:00")
    bad = jsonl(lines, "bad.jsonl")

    result = run("import", bad, "-s", store)

    assert result.exit_code == 1
    assert 'line 61: "time" has no time zone' in result.stderr
    stored = run("export", "-s", store).stdout_bytes
    assert bad.read_bytes().startswith(stored)
    assert f"The first {len(stored.splitlines())} events of the file are stored" in result.stderr

    bad.write_bytes(good.read_bytes())  # the line is corrected
    assert run("import", bad, "-s", store).exit_code == 0
    assert run("export", "-s", store).stdout_bytes == good.read_bytes()


def test_invalid_first_line_writes_nothing(run: Run, store: str, jsonl: Write) -> None:
    result = run("import", jsonl([{}]), "-s", store)

    assert (result.exit_code, result.stderr.strip().endswith(". Nothing was written.")) == (1, True)


def test_skipped_lines_are_written_to_a_file(run: Run, store: str, jsonl: Write) -> None:
    long = b'"' + b"x" * source.MAX_LINE_BYTES + b'"'
    file = jsonl([event(0), b"nonsense \xff", event(1), long, event(2)])

    result = run("import", file, "-s", store, "--skip-invalid", "--json")
    again = run("import", file, "-s", store, "--skip-invalid", "--json")

    summary = json.loads(result.stdout)
    assert (result.exit_code, summary["written"], summary["invalid_lines"]) == (0, 3, 2)
    assert json.loads(again.stdout)["already_stored"] == 3
    skipped = [json.loads(line) for line in Path(summary["invalid_line_file"]).read_bytes().splitlines()]
    assert [(each["line"], each["text"][:11]) for each in skipped] == [(2, "nonsense \\x"), (4, '"xxxxxxxxxx')]
    assert "longer than 2,097,152 bytes" in skipped[1]["reason"]
    assert len(skipped[1]["text"]) == 1000


def test_run_without_invalid_lines_removes_old_file_of_them(run: Run, store: str, jsonl: Write) -> None:
    file = jsonl([b"nonsense"])
    run("import", file, "-s", store, "--skip-invalid")
    listed = file.with_name("events.jsonl.invalid.jsonl")
    assert listed.exists()

    jsonl([event(1)])
    run("import", file, "-s", store, "--skip-invalid")

    assert not listed.exists()


@pytest.mark.parametrize("kind", ["file", "link", "broken link", "pipe", "folder"])
def test_file_that_no_import_has_written_is_not_replaced_by_invalid_lines(
    run: Run, store: str, jsonl: Write, kind: str
) -> None:
    file = jsonl([event(0), b"nonsense"])
    taken, other = file.with_name("events.jsonl.invalid.jsonl"), file.with_name("other.jsonl")
    if kind != "broken link":
        other.write_text('{"line": "mine"}\n')
    match kind:
        case "file":
            other.rename(taken)
        case "pipe":
            os.mkfifo(taken)
        case "folder":
            taken.mkdir()
        case _:
            taken.symlink_to(other)
    before = taken.lstat()

    result = run("import", file, "-s", store, "--skip-invalid")

    assert result.exit_code == 1
    assert "an earlier import has not written it. Nothing was changed." in " ".join(result.stderr.split())
    assert (taken.lstat().st_ino, taken.lstat().st_size) == (before.st_ino, before.st_size)
    assert run("streams", "-s", store).exit_code != 0  # there is no store


def test_line_corrected_after_it_was_skipped_is_rejected(run: Run, store: str, jsonl: Write) -> None:
    run("import", jsonl([event(0), b"nonsense", event(2)]), "-s", store, "--skip-invalid")

    result = run("import", jsonl([event(0), event(1), event(2)]), "-s", store)

    assert result.exit_code == 1
    assert "line 2 is not stored, but the later line 3 is" in result.stderr
    assert len(run("export", "-s", store).stdout.splitlines()) == 2


def test_blank_lines_and_other_line_endings_are_ignored(run: Run, store: str, tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    encoded = [json.dumps(event(n)).encode() for n in range(3)]
    file.write_bytes(b"\xef\xbb\xbf" + encoded[0] + b"\r\n\r\n  \n" + encoded[1] + b"\n" + encoded[2])

    assert run("import", file, "-s", store).stdout.startswith("3 events written")


def test_gzip_is_detected_by_content(run: Run, store: str, jsonl: Write) -> None:
    file = jsonl([event(n) for n in range(10)])
    plain = file.read_bytes()
    file.write_bytes(gzip.compress(plain))

    assert run("import", file, "-s", store).exit_code == 0
    assert run("export", "-s", store).stdout_bytes == plain


@pytest.mark.parametrize("damage", [lambda data: data[:-20], lambda data: data[:40] + b"\0" * 9 + data[49:]])
def test_damaged_gzip_is_reported(run: Run, store: str, jsonl: Write, damage: Callable[[bytes], bytes]) -> None:
    chance = random.Random(1)
    file = jsonl([event(n, data=chance.random()) for n in range(500)])
    file.write_bytes(damage(gzip.compress(file.read_bytes())))

    result = run("import", file, "-s", store)

    assert result.exit_code == 1
    assert "gzip data is damaged or truncated" in result.stderr


def test_decompressed_size_is_limited(run: Run, store: str, jsonl: Write) -> None:
    file = jsonl([event(n) for n in range(200)])
    file.write_bytes(gzip.compress(file.read_bytes()))

    result = run("import", file, "-s", store, "--max-decompressed", 10_000)

    assert result.exit_code == 1
    assert "--max-decompressed" in result.stderr


def test_decompression_bomb_is_rejected_by_its_ratio(run: Run, store: str, tmp_path: Path) -> None:
    file = tmp_path / "bomb.jsonl"
    with gzip.open(file, "wb", 1) as compressed:
        for _ in range(80):
            compressed.write(b" " * (1 << 20) + b"\n")

    result = run("import", file, "-s", store)

    assert result.exit_code == 1
    assert "more than 200 times its size" in result.stderr


def test_invalid_usage_exits_with_2(run: Run, tmp_path: Path, jsonl: Write) -> None:
    file = jsonl([event(1)])

    assert run("import", file).exit_code == 2
    assert run("import", tmp_path / "missing.jsonl", "-s", "memory:").exit_code == 2
    rejected = run("import", file, "-s", "mysql://me:secret@host/db")
    assert rejected.exit_code == 2
    assert "mysql://me:***@host/db" in rejected.stderr
    assert "secret" not in rejected.output


IN_MEMORY = """
import fait.store

class MyBackend(fait.store.Backend):
    async def open(self, url, clock, *, create):
        return await fait.store.open_store("memory:", clock=clock)

backend = MyBackend()
"""


def test_summary_contains_no_password(run: Run, jsonl: Write, install_backend: Callable[[str, str], Path]) -> None:
    install_backend("mystore", IN_MEMORY)
    result = run("import", jsonl([event(1)]), "-s", "mystore://me:secret@host", "--json")

    assert json.loads(result.stdout)["store"] == "mystore://me:***@host"
