"""The guide to imports runs as printed, and its numbers equal those computed from the file without fait."""

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
        pytest.skip(f"{DATA} does not exist; it is not part of this project")
    return DATA


def blocks() -> Iterator[tuple[str, str]]:
    """Iterate over the code blocks of the guide: language and text."""
    for match in re.finditer(r"^```(\w+)\n(.*?)^```$", GUIDE.read_text(), re.DOTALL | re.MULTILINE):
        yield match[1], match[2]


def steps(block: str) -> Iterator[tuple[str, str]]:
    """Iterate over the commands of a console block: command and output."""
    for step in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, output = step.partition("\n")
        yield command, output


def test_guide_commands_print_documented_output(log: Path, tmp_path: Path) -> None:
    shutil.copy(log, tmp_path)
    bin = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{bin}{os.pathsep}{os.environ['PATH']}", "LC_ALL": "C.UTF-8"}
    environment.pop("FAIT_STORE", None)
    for language, block in blocks():
        if language == "python":
            name = block.partition("\n")[0].removeprefix("# ")
            (tmp_path / name).write_text(block.partition("\n")[2])
        elif language == "console":
            for command, output in steps(block):
                if command.startswith("export "):
                    name, _, value = command.removeprefix("export ").partition("=")
                    environment[name] = value
                    continue
                completed = subprocess.run(
                    ["bash", "-c", command], check=False, cwd=tmp_path, env=environment, capture_output=True, text=True
                )
                assert completed.returncode == 0, completed.stderr
                expected = ".*".join(map(re.escape, output.split("…")))
                assert re.fullmatch(expected, completed.stdout), f"{command}\n{completed.stdout}"
        elif language == "sql":
            connection = apsw.Connection(str(tmp_path / "permits.db"))
            assert connection.execute(block).get == 18
            connection.close()


def test_guide_contains_example() -> None:
    apps = [block for language, block in blocks() if language == "python" and block.startswith("# permits.py")]

    assert apps == ["# permits.py\n" + (ROOT / "examples" / "permits" / "app.py").read_text()]


def expected_numbers(file: Path) -> tuple[dict[str, list[timedelta]], set[str]]:
    """Compute the durations by channel, and the cases open on the day, from the lines of the file."""
    times: defaultdict[str, list[datetime]] = defaultdict(list)
    channels: dict[str, str] = {}
    for text in file.read_text().splitlines():
        line = json.loads(text)
        case = line["stream"].removeprefix("case-")
        times[case].append(datetime.fromisoformat(line["time"]))
        channels.setdefault(case, line["data"].get("case", {}).get("channel"))
    durations_by_channel: defaultdict[str, list[timedelta]] = defaultdict(list)
    for case, channel in channels.items():
        durations_by_channel[channel].append(times[case][-1] - times[case][0])
    start = datetime(2011, 6, 1, tzinfo=SUMMER_TIME)
    open_cases = {case for case, at in times.items() if at[0] < start + timedelta(days=1) and at[-1] >= start}
    return durations_by_channel, open_cases


async def query_numbers(store: str) -> tuple[dict[str, list[timedelta]], set[str]]:
    async with permits.open(store) as system:
        await system.wait(timeout_s=30)
        open_cases = await open_on(system, DAY, SUMMER_TIME)
        assert len(set(open_cases)) == len(open_cases)
        return await durations(system), set(open_cases)


def check(file: Path, tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path}/permits.db"
    import_file(file, store)
    by_channel, open_cases = asyncio.run(query_numbers(store))
    expected, expected_open = expected_numbers(file)

    assert open_cases == expected_open
    assert {channel: sorted(each) for channel, each in by_channel.items()} == {
        channel: sorted(each) for channel, each in expected.items()
    }


def test_query_of_example_file_returns_computed_numbers(log: Path, tmp_path: Path) -> None:
    check(log, tmp_path)


@pytest.mark.parametrize("seed", range(2))
def test_query_of_generated_file_returns_computed_numbers(tmp_path: Path, seed: int) -> None:
    rng, lines = random.Random(seed), list[dict[str, Any]]()
    at, seen = datetime(2011, 5, 25, tzinfo=UTC), set[int]()
    for _ in range(4000):
        at += timedelta(seconds=rng.randrange(600))
        case = rng.randrange(len(seen) // 2, len(seen) // 2 + 20) if seen else 0
        about = {} if case in seen else {"case": {"channel": rng.choice(("Desk", "Post"))}}
        seen.add(case)
        zoned = at.astimezone(timezone(timedelta(hours=rng.randrange(-5, 5))))
        lines.append({"stream": f"case-{case}", "type": "step", "time": zoned.isoformat(), "data": about})
    file = tmp_path / "generated.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))

    check(file, tmp_path)
