"""The guide to design documents runs as printed."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
GUIDE = (DOCS / "design.md").read_text("utf-8")


def steps() -> Iterator[tuple[str, str]]:
    """Iterate over the files and the commands: the name of a file, or "$ " and a command; its content or output."""
    for language, block in re.findall(r"^```(python|toml|console)\n(.*?)^```$", GUIDE, re.DOTALL | re.MULTILINE):
        if language == "console":
            for step in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
                yield f"$ {step.partition(chr(10))[0]}", step.partition("\n")[2]
        elif block.startswith("# "):
            yield block.partition("\n")[0].removeprefix("# "), block


def test_guide_commands_print_documented_output(tmp_path: Path) -> None:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    for name, content in steps():
        if not name.startswith("$ "):
            (tmp_path / name).write_text(content, "utf-8")
            continue
        done = subprocess.run(
            name[2:].split(), check=False, cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        printed = done.stdout + done.stderr
        assert re.fullmatch(".*".join(map(re.escape, content.split("…"))), printed), f"{name}\n{printed}"


def test_links_of_guide_exist() -> None:
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", GUIDE):
        assert (DOCS / link).exists(), link
