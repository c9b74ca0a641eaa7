"""The README runs as it is printed."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")


def test_the_example_runs_as_printed(tmp_path: Path) -> None:
    [program] = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    (tmp_path / "shop.py").write_text(program, "utf-8")

    ran = subprocess.run(
        [sys.executable, "shop.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )

    assert ran.returncode == 0, ran.stderr
    assert sorted(ran.stdout.splitlines()) == [  # the reactor speaks when it gets there
        "Thank you, c-1: 9.00 USD for order o-1",
        "Thank you, c-2: 0 USD for order o-2",
        "done before: True",
        "it was placed and is cancelled",
        "placed 9.00",
        "unknown in 2024: new",
    ]


def test_the_commands_it_names_are_targets() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    named = re.findall(r"^\$ make (\w+)", README, re.MULTILINE)

    assert named == ["demo", "test"]
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in named)


def test_every_file_it_names_exists() -> None:
    for page in (ROOT / "README.md", ROOT / "ARCHITECTURE.md"):
        for link in re.findall(r"\]\((?!http)([^)#]+)\)", page.read_text("utf-8")):
            assert (ROOT / link).exists(), f"{page.name} links to {link}"
