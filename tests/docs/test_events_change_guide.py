"""Each example of the guide to changes of events reads the stored events below it as the guide shows."""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import fait
from fait._events.append import StreamWrite
from fait._events.envelope import EncodedEvent
from fait._events.version import ANY

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "events-change.md").read_text("utf-8")
EXAMPLE = re.compile(r"^```python\n(.*?)^```\n\n```text\n(.*?)^```$", re.DOTALL | re.MULTILINE)
STORED = re.compile(r"^(?P<type>[\w.-]+) v(?P<version>\d+) (?P<data>\{.*\})\n(?P<read>(?:→ .*\n)+)", re.MULTILINE)
IMPORTS = (
    "from decimal import Decimal\nfrom typing import Annotated, Any, Literal\n\nimport msgspec\n\nimport fait\n\n\n"
)


def headings() -> list[str]:
    return re.findall(r"^## (.*)$", GUIDE, re.MULTILINE)


def examples() -> list[Any]:
    """Return code and stored events of each example, with the heading that it is under."""
    found = list[Any]()
    for match in EXAMPLE.finditer(GUIDE):
        heading = re.findall(r"^## (.*)$", GUIDE[: match.start()], re.MULTILINE)[-1]
        number = sum(each.id.startswith(heading) for each in found) + 1
        found.append(pytest.param(*match.groups(), id=f"{heading} {number}"))
    return found


async def read(app: fait.App, stored: re.Match[str], printed: pytest.CaptureFixture[str]) -> list[str]:
    """Return what an app reads one stored event as: what its handlers print, or else the events."""
    async with app.open("memory:") as s:
        event = EncodedEvent(stored["type"], int(stored["version"]), fait.new_id(), stored["data"])
        await s.store.log.append([StreamWrite("order-7", (event,), ANY)])
        await s.wait(timeout_s=30)
        events = [repr(each.event) for each in await s.read("order-7")]
        return printed.readouterr().out.splitlines() if await s.status() else events


@pytest.mark.parametrize(("code", "text"), examples())
def test_stored_events_are_read_as_the_guide_shows(
    code: str, text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = ModuleType(f"guide_{fait.new_id().replace('-', '')}.events")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(IMPORTS + code, "events.py", "exec"), module.__dict__)
    app = getattr(module, "app", None) or fait.App("shop")
    app.include(module)

    examples = [*STORED.finditer(text)]
    assert "".join(each[0] for each in examples) == text
    for stored in examples:
        shown = [line.removeprefix("→ ") for line in stored["read"].splitlines()]
        assert asyncio.run(read(app, stored, capsys)) == [line for line in shown if line != "nothing"]


def test_every_code_block_before_the_locks_has_stored_events() -> None:
    assert len(examples()) == GUIDE.partition("## Locks")[0].count("```python") > 15


def test_links_of_guide_exist() -> None:
    anchors = {"#" + re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings()}
    links = re.findall(r"\]\((?!http)([^)]+)\)", GUIDE)

    assert {each for each in links if each.startswith("#")} <= anchors
    for link in links:
        assert link.startswith("#") or (ROOT / "docs" / link.partition("#")[0]).exists(), link


def steps(section: str) -> Iterator[tuple[str, str]]:
    """Iterate over the files and the commands of a section: the name of a file, or "$ " and a command; its content."""
    for language, block in re.findall(r"^```(python|toml|console)\n(.*?)^```$", section, re.DOTALL | re.MULTILINE):
        if language == "console":
            for step in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
                yield f"$ {step.partition(chr(10))[0]}", step.partition("\n")[2]
        else:
            yield block.partition("\n")[0].removeprefix("# "), block


def test_locks_are_written_and_checked_as_the_guide_shows(tmp_path: Path) -> None:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    for name, content in steps(GUIDE.partition("## Locks")[2]):
        if not name.startswith("$ "):
            (tmp_path / name).write_text(content)
            continue
        done = subprocess.run(
            name[2:].split(), check=False, cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        printed = done.stdout + done.stderr
        assert re.match(".*".join(map(re.escape, content.split("…"))), printed), f"{name}\n{printed}"
