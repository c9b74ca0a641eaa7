"""Typing is behaviour: what must be accepted is accepted, what must be refused is refused, by each type checker.

In a `*_wrong.py` file every line with a mark `# E:` must be an error; no other line of any file may be one.
"""

import json
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
FILES = sorted([*HERE.glob("*_right.py"), *HERE.glob("*_wrong.py")])

Lines = set[tuple[str, int]]


def run(checker: str, *arguments: str) -> str:
    if find_spec(checker) is None:
        pytest.skip(f"{checker} is not installed")
    command = [sys.executable, "-m", checker, *arguments, *map(str, FILES)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return done.stdout


def pyright() -> dict[tuple[str, int], str]:
    found = json.loads(run("pyright", "--outputjson"))["generalDiagnostics"]
    return {(Path(d["file"]).name, d["range"]["start"]["line"] + 1): d["message"] for d in found}


def mypy() -> dict[tuple[str, int], str]:
    output = run("mypy", "--no-error-summary", "--no-incremental", "--explicit-package-bases")
    found = re.findall(r"^(.+?):(\d+): error: (.*)$", output, re.MULTILINE)
    return {(Path(file).name, int(line)): message for file, line, message in found}


def marked() -> Lines:
    return {
        (file.name, number)
        for file in FILES
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1)
        if "# E:" in line
    }


def test_every_mark_stands_in_a_file_of_mistakes() -> None:
    assert {name for name, _ in marked()} == {file.name for file in FILES if file.name.endswith("_wrong.py")}


@pytest.mark.parametrize("checker", [pyright, mypy])
def test_the_checker_refuses_exactly_the_marked_lines(checker: object) -> None:
    assert callable(checker)
    errors = checker()
    accepted = sorted(marked() - set(errors))
    refused = {place: errors[place] for place in sorted(set(errors) - marked())}

    assert (accepted, refused) == ([], {})
