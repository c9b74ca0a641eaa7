"""The guide to imports is run as it stands, and its numbers are what the file says when it is counted without fait."""

import asyncio
import json
import os
import random
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import apsw
import pytest

from examples.permits.app import durations, open_on, permits
from fait._tools.cli.transfer import import_file

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "import.md"
DATA = ROOT.parent / "shared" / "data" / "receipt-wabo.jsonl"
SUMMER_TIME = timezone(timedelta(hours=2))
DAY = date(2011, 6, 1)


@pytest.fixture
def log() -> Path:
    if not DATA.exists():
        pytest.skip(f"{DATA} is not there, and is not part of this project")
    return DATA


def blocks() -> Iterator[tuple[str, str]]:
    """The guide's code blocks: language and text."""
    for match in re.finditer(r"^```(\w+)\n(.*?)^```$", GUIDE.read_text(), re.DOTALL | re.MULTILINE):
        yield match[1], match[2]


def steps(block: str) -> Iterator[tuple[str, str]]:
    """Commands of a console block, each with what it prints."""
    for step in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, printed = step.partition("\n")
        yield command, printed


def test_the_guide_does_what_it_says(log: Path, tmp_path: Path) -> None:
    shutil.copy(log, tmp_path)
    bin = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{bin}{os.pathsep}{os.environ['PATH']}", "LC_ALL": "C.UTF-8"}
    environment.pop("FAIT_STORE", None)
    for language, block in blocks():
        if language == "python":
            name = block.partition("\n")[0].removeprefix("# ")
            (tmp_path / name).write_text(block.partition("\n")[2])
        elif language == "console":
            for command, printed in steps(block):
                if command.startswith("export "):
                    name, _, value = command.removeprefix("export ").partition("=")
                    environment[name] = value
                    continue
                done = subprocess.run(
                    ["bash", "-c", command], check=False, cwd=tmp_path, env=environment, capture_output=True, text=True
                )
                assert done.returncode == 0, done.stderr
                expected = ".*".join(map(re.escape, printed.split("…")))
                assert re.fullmatch(expected, done.stdout), f"{command}\n{done.stdout}"
        elif language == "sql":
            connection = apsw.Connection(str(tmp_path / "permits.db"))
            assert connection.execute(block).get == 18
            connection.close()


def test_the_guide_shows_the_example_as_it_is() -> None:
    apps = [block for language, block in blocks() if language == "python" and block.startswith("# permits.py")]

    assert apps == ["# permits.py\n" + (ROOT / "examples" / "permits" / "app.py").read_text()]


def counted(file: Path) -> tuple[dict[str, list[timedelta]], set[str]]:
    """Durations by channel, and the cases open on the day, straight from the lines."""
    times: defaultdict[str, list[datetime]] = defaultdict(list)
    channels: dict[str, str] = {}
    for text in file.read_text().splitlines():
        line = json.loads(text)
        case = line["stream"].removeprefix("case-")
        times[case].append(datetime.fromisoformat(line["time"]))
        channels.setdefault(case, line["data"].get("case", {}).get("channel"))
    took: defaultdict[str, list[timedelta]] = defaultdict(list)
    for case, channel in channels.items():
        took[channel].append(times[case][-1] - times[case][0])
    begin = datetime(2011, 6, 1, tzinfo=SUMMER_TIME)
    return took, {case for case, at in times.items() if at[0] < begin + timedelta(days=1) and at[-1] >= begin}


async def asked(store: str) -> tuple[dict[str, list[timedelta]], set[str]]:
    async with permits.open(store) as system:
        await system._subscription_runner.processors["permit_case"].position_signal.wait(
            await system.store.log.head() - 1, 30
        )
        found = await open_on(system, DAY, SUMMER_TIME)
        assert len(set(found)) == len(found)
        return await durations(system), set(found)


def check(file: Path, tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path}/permits.db"
    import_file(file, store)
    took, found = asyncio.run(asked(store))
    expected, expected_open = counted(file)

    assert found == expected_open
    assert {channel: sorted(each) for channel, each in took.items()} == {
        channel: sorted(each) for channel, each in expected.items()
    }


def test_the_numbers_are_what_the_file_says(log: Path, tmp_path: Path) -> None:
    check(log, tmp_path)


@pytest.mark.parametrize("seed", range(2))
def test_they_are_so_for_any_file(tmp_path: Path, seed: int) -> None:
    chance, lines = random.Random(seed), list[dict[str, Any]]()
    at, seen = datetime(2011, 5, 25, tzinfo=UTC), set[int]()
    for _ in range(4000):
        at += timedelta(seconds=chance.randrange(600))
        case = chance.randrange(len(seen) // 2, len(seen) // 2 + 20) if seen else 0
        about = {} if case in seen else {"case": {"channel": chance.choice(("Desk", "Post"))}}
        seen.add(case)
        zoned = at.astimezone(timezone(timedelta(hours=chance.randrange(-5, 5))))
        lines.append({"stream": f"case-{case}", "type": "step", "time": zoned.isoformat(), "data": about})
    file = tmp_path / "generated.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))

    check(file, tmp_path)
