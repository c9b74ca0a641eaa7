"""An import stores a file exactly, can be run again at any time, and names what is wrong with it."""

import gzip
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fait._tools.cli import source

Write = Callable[..., Path]
Run = Callable[..., Any]


def event(number: int, **changes: Any) -> dict[str, Any]:
    line = {"stream": f"case-{number % 7}", "type": "counted", "time": "2024-01-01T00:00:00Z", "data": {"n": number}}
    return {**line, **changes}


def test_a_file_is_stored_and_a_second_time_changes_nothing(run: Run, store: str, jsonl: Write) -> None:
    file = jsonl([event(n) for n in range(500)])

    first = run("import", file, "-s", store, "--json")
    second = run("import", file, "-s", store, "--json")

    assert first.exit_code == second.exit_code == 0
    assert json.loads(first.stdout)["written"] == 500
    assert (json.loads(second.stdout)["written"], json.loads(second.stdout)["already_stored"]) == (0, 500)
    assert run("export", "-s", store).stdout_bytes == file.read_bytes()


@pytest.mark.parametrize("batch", [1, 7, 1000])
@pytest.mark.parametrize("seed", range(3))
def test_order_is_the_files_whatever_was_stored_before(
    run: Run, tmp_path: Path, jsonl: Write, seed: int, batch: int
) -> None:
    chance, store = random.Random(seed), f"sqlite:///{tmp_path}/facts.db"
    lines = [event(n, stream=f"case-{chance.randrange(30)}") for n in range(700)]

    for length in (*sorted(chance.sample(range(700), 3)), 700):
        done = run("import", jsonl(lines[:length]), "-s", store, "--batch", batch)
        assert done.exit_code == 0, done.stderr

    assert run("export", "-s", store).stdout_bytes == jsonl(lines).read_bytes()


def test_the_store_can_be_named_by_the_environment(run: Run, store: str, jsonl: Write) -> None:
    done = run("import", jsonl([event(1)]), env={"FAIT_STORE": store})

    assert done.exit_code == 0
    assert done.stdout.startswith("1 events written")


def test_a_bad_line_ends_the_import_with_its_number(run: Run, store: str, jsonl: Write) -> None:
    lines: list[Any] = [event(n) for n in range(100)]
    good = jsonl(lines)
    lines[60] = event(60, time="2024-01-01T00:00:00")
    bad = jsonl(lines, "bad.jsonl")

    done = run("import", bad, "-s", store)

    assert done.exit_code == 1
    assert 'line 61: its "time" has no zone' in done.stderr
    stored = run("export", "-s", store).stdout_bytes
    assert bad.read_bytes().startswith(stored)
    assert f"The first {len(stored.splitlines())} events of the file are stored" in done.stderr

    bad.write_bytes(good.read_bytes())  # the line is put right
    assert run("import", bad, "-s", store).exit_code == 0
    assert run("export", "-s", store).stdout_bytes == good.read_bytes()


def test_bad_lines_can_be_set_aside(run: Run, store: str, jsonl: Write) -> None:
    long = b'"' + b"x" * source.MAX_LINE_BYTES + b'"'
    file = jsonl([event(0), b"nonsense \xff", event(1), long, event(2)])

    done = run("import", file, "-s", store, "--skip-bad", "--json")
    again = run("import", file, "-s", store, "--skip-bad", "--json")

    told = json.loads(done.stdout)
    assert (done.exit_code, told["written"], told["bad"]) == (0, 3, 2)
    assert json.loads(again.stdout)["already_stored"] == 3
    aside = [json.loads(line) for line in Path(told["bad_file"]).read_bytes().splitlines()]
    assert [(each["line"], each["text"][:11]) for each in aside] == [(2, "nonsense \\x"), (4, '"xxxxxxxxxx')]
    assert "longer than 2,097,152 bytes" in aside[1]["reason"]
    assert len(aside[1]["text"]) == 1000


def test_a_run_without_bad_lines_leaves_no_old_list_of_them(run: Run, store: str, jsonl: Write) -> None:
    file = jsonl([b"nonsense"])
    run("import", file, "-s", store, "--skip-bad")
    listed = file.with_name("facts.jsonl.bad.jsonl")
    assert listed.exists()

    jsonl([event(1)])
    run("import", file, "-s", store, "--skip-bad")

    assert not listed.exists()


def test_a_line_that_was_put_right_too_late_is_refused(run: Run, store: str, jsonl: Write) -> None:
    run("import", jsonl([event(0), b"nonsense", event(2)]), "-s", store, "--skip-bad")

    done = run("import", jsonl([event(0), event(1), event(2)]), "-s", store)

    assert done.exit_code == 1
    assert "line 2 is not stored, but line 3 is" in done.stderr
    assert len(run("export", "-s", store).stdout.splitlines()) == 2


def test_blank_lines_and_other_line_ends_are_no_events(run: Run, store: str, tmp_path: Path) -> None:
    file = tmp_path / "facts.jsonl"
    encoded = [json.dumps(event(n)).encode() for n in range(3)]
    file.write_bytes(b"\xef\xbb\xbf" + encoded[0] + b"\r\n\r\n  \n" + encoded[1] + b"\n" + encoded[2])

    assert run("import", file, "-s", store).stdout.startswith("3 events written")


def test_gzip_is_known_by_its_content(run: Run, store: str, jsonl: Write) -> None:
    file = jsonl([event(n) for n in range(10)])
    plain = file.read_bytes()
    file.write_bytes(gzip.compress(plain))

    assert run("import", file, "-s", store).exit_code == 0
    assert run("export", "-s", store).stdout_bytes == plain


@pytest.mark.parametrize("damage", [lambda data: data[:-20], lambda data: data[:40] + b"\0" * 9 + data[49:]])
def test_damaged_gzip_is_a_plain_failure(run: Run, store: str, jsonl: Write, damage: Callable[[bytes], bytes]) -> None:
    chance = random.Random(1)
    file = jsonl([event(n, data=chance.random()) for n in range(500)])
    file.write_bytes(damage(gzip.compress(file.read_bytes())))

    done = run("import", file, "-s", store)

    assert done.exit_code == 1
    assert "compressed data is damaged" in done.stderr


def test_expansion_is_limited_by_size(run: Run, store: str, jsonl: Write) -> None:
    file = jsonl([event(n) for n in range(200)])
    file.write_bytes(gzip.compress(file.read_bytes()))

    done = run("import", file, "-s", store, "--max-expanded", 10_000)

    assert done.exit_code == 1
    assert "--max-expanded" in done.stderr


def test_a_bomb_is_refused_by_its_ratio(run: Run, store: str, tmp_path: Path) -> None:
    file = tmp_path / "bomb.jsonl"
    with gzip.open(file, "wb", 1) as packed:
        for _ in range(80):
            packed.write(b" " * (1 << 20) + b"\n")

    done = run("import", file, "-s", store)

    assert done.exit_code == 1
    assert "more than 200 times its size" in done.stderr


def test_what_cannot_be_meant_exits_with_2(run: Run, tmp_path: Path, jsonl: Write) -> None:
    file = jsonl([event(1)])

    assert run("import", file).exit_code == 2
    assert run("import", tmp_path / "absent.jsonl", "-s", "memory:").exit_code == 2
    refused = run("import", file, "-s", "mysql://me:secret@host/db")
    assert refused.exit_code == 2
    assert "mysql://me:***@host/db" in refused.stderr
    assert "secret" not in refused.output


def test_no_password_is_shown_in_the_summary(run: Run, jsonl: Write) -> None:
    done = run("import", jsonl([event(1)]), "-s", "memory://me:secret@host", "--json")

    assert json.loads(done.stdout)["store"] == "memory://me:***@host"
