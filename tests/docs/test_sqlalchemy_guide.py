"""The code of the guide to the outbox with SQLAlchemy runs as printed."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "outbox" / "sqlalchemy.md"

START = """
async def init():
    async with shop.open("sqlite:///shop.db", run="elsewhere") as s:
        print([event.event.customer async for event in s.events()])

asyncio.run(init())
Model.metadata.create_all(engine)
with Session(engine) as session:
    sell(session)
engine.dispose()
asyncio.run(init())
"""


def test_guide_stores_committed_events(tmp_path: Path) -> None:
    code = "".join(re.findall(r"^```python\n(.*?)^```$", GUIDE.read_text("utf-8"), re.DOTALL | re.MULTILINE))
    (tmp_path / "guide.py").write_text(code + START, "utf-8")
    completed = subprocess.run(
        [sys.executable, "-W", "ignore", "guide.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert completed.returncode == 0, completed.stderr
    assert completed.stdout.splitlines() == ["[]", "2 orders", "['ada', 'ada']"]


def test_links_of_guide_exist() -> None:
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", GUIDE.read_text("utf-8")):
        assert (GUIDE.parent / link).exists(), link
