"""Both type checkers accept the programs in `*_right.py` and reject exactly the marked lines in `*_wrong.py`.

A mark is a comment `# E:` with the reason.
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


def test_every_wrong_file_and_no_other_has_marks() -> None:
    assert {name for name, _ in marked()} == {file.name for file in FILES if file.name.endswith("_wrong.py")}


@pytest.mark.parametrize("checker", [pyright, mypy])
def test_type_checker_rejects_exactly_the_marked_lines(checker: object) -> None:
    assert callable(checker)
    errors = checker()
    accepted_marks = sorted(marked() - set(errors))
    unmarked_errors = {line: errors[line] for line in sorted(set(errors) - marked())}

    assert (accepted_marks, unmarked_errors) == ([], {})
