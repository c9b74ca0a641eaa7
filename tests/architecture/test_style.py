"""The style check finds each kind of offender in a made-up tree, and none in a clean one."""

import ast
import subprocess
from pathlib import Path

import pytest

from tests.architecture.style import ROOT, Offender, check, check_sleeps, main, tracked_texts
from tests.architecture.vocabulary import SLEEPS

LONG = "word " * 30

CLEAN = {
    "GLOSSARY.md": """
| term | meaning |
|---|---|
| lease | the right of one process to run a subscription (`Lease`) |
| workflow *(planned)* | issues commands (`Workflow`) |
""",
    "README.md": f"""
# Leases

A short line.
| a table | {LONG} |

```console
$ {LONG}
```

* [a link alone](https://example.org/{"x" * 120})
This single sentence may be as long as it has to be, {LONG}and it ends with the line.

python 3.11, {LONG}, as a paragraph of its own.
""",
    "adr/0001-leases-compare-no-clocks.md": "# 1. Leases compare no clocks\n",
    "src/fait/_store/ledger.py": '''
"""A process that owns a lease increments its heartbeat."""

from typing import TYPE_CHECKING


class Lease:
    heartbeat: int

    def release(self) -> None: ...


if TYPE_CHECKING:

    class Subscription: ...

else:

    class Subscription: ...
''',
    "src/fait/_store/sql/read_lease.sql": "-- Out: heartbeat\n-- a beat later\nSELECT heartbeat FROM leases;\n",
    "tests/test_ledger.py": 'def test_nobody_goes_on(): ...\n\nNAMES = ["test_nobody_goes_on", "nobody_goes_on"]\n',
    "uv.lock": "nobody\n",
}


CHECKED = {path: text for path, text in CLEAN.items() if path != "uv.lock"}


def offenders(path: str, text: str) -> list[tuple[str, int, str]]:
    """Path, line and rule of the offenders when one file of the clean tree is added or replaced."""
    return [each[:3] for each in check(CHECKED | {path: text})]


def test_clean_tree_has_no_offenders() -> None:
    assert check(CHECKED) == []


@pytest.mark.parametrize(
    ("path", "text", "line"),
    [
        ("docs/guide.md", "# Guide\n\nWhoever holds the lease", 3),
        ("docs/guide.md", "The worker goes\non.", 1),
        ("docs/guide.md", "as the one who lost", 1),
        ("src/fait/a.py", "x = 1  # nobody else", 1),
        ("src/fait/a.py", "# a worker goes\n# on with it", 1),
        ("src/fait/a.py", '"""A module.\n\nIt runs for ever.\n"""', 3),
        ("src/fait/a.py", 'x = f"{1} is built anew"', 1),
        ("src/fait/a.py", "append_beside = 1", 1),
        ("src/fait/a.py", "class ItGoesOn: ...", 1),
        ("src/fait/a.sql", "SELECT 1;\n-- a sign of life", 2),
        ("tests/a.py", "# what was recognised", 1),
        ("Makefile", "# run meanwhile", 1),
    ],
)
def test_banned_word_is_found_in_any_text(path: str, text: str, line: int) -> None:
    assert offenders(path, text) == [(path, line, "word")]


@pytest.mark.parametrize(
    "text", ["besides the log", "on hand", "he goes only", "the user who called", "way_on", "Canewood"]
)
def test_similar_words_are_not_found(text: str) -> None:
    assert offenders("docs/guide.md", text) == []


def test_two_classes_with_one_name_are_found() -> None:
    nested = "def make():\n    class Lease: ...\n"

    assert offenders("src/fait/_app.py", nested) == [
        ("src/fait/_app.py", 2, "class"),
        ("src/fait/_store/ledger.py", 7, "class"),
    ]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("src/fait/_decisions/client.py", "class Caller: ..."),
        ("src/fait/_store/group_commit.py", "class _Line: ..."),
        ("src/fait/_store/group_commit.py", "BUSY: object = object()"),
        ("src/fait/_store/open.py", "async def beside(): ..."),
        ("src/fait/_store/ledger.py", "class Lease:\n    def beat(self): ..."),
        ("src/fait/_events/envelope.py", "class Untyped:\n    version: int"),
        ("src/fait/_store/postgres/lanes.py", "x = 1"),
        ("src/fait/_store/sql/read_lease.sql", "SELECT owner, beat FROM fait_leases;"),
        ("src/fait/_store/sql/read_lease.sql", "-- In: $1 owner, $2 fence"),
    ],
)
def test_retired_name_is_found(path: str, text: str) -> None:
    found = [each for each in check(CHECKED | {path: text}) if each.rule == "name"]

    assert {each.path for each in found} == {path}


@pytest.mark.parametrize("text", ["class Request: ...", "def screen(): ...", "x.beat = 1", "shape = 1"])
def test_retired_name_is_allowed_in_other_places(text: str) -> None:
    assert offenders("src/fait/_tools/cli/main.py", text) == []


@pytest.mark.parametrize(
    "body",
    [
        "await asyncio.sleep(0.1)",
        "time.sleep(DELAY_S)",
        "for _ in range(3):\n        await asyncio.sleep(1)",
        "while waits:\n        pass\n    await asyncio.sleep(1)",
        "def handle():\n        time.sleep(1)",
        "handle(lambda: time.sleep(1))",
    ],
)
def test_sleep_of_a_test_is_found(body: str) -> None:
    text = f"async def test_it():\n    {body}\n"

    assert [each[2] for each in offenders("tests/test_it.py", text)] == ["sleep"]
    assert offenders("tests/crash/test_it.py", text) == []
    assert offenders("src/fait/_app.py", text) == []


@pytest.mark.parametrize(
    "body",
    [
        "await asyncio.sleep(0)",
        "while not holds():\n        await asyncio.sleep(0.01)",
        "for _ in range(9):\n        if holds():\n            return\n        time.sleep(0.1)",
    ],
)
def test_turn_of_the_loop_and_poll_of_a_condition_are_no_sleeps(body: str) -> None:
    assert offenders("tests/test_it.py", f"async def test_it():\n    {body}\n") == []


@pytest.mark.parametrize("beginning", SLEEPS)
def test_exempt_tests_sleep(beginning: str) -> None:
    texts = {name: text for name, text in tracked_texts(ROOT).items() if name.startswith(beginning)}

    assert any(list(check_sleeps(name, ast.parse(text))) for name, text in texts.items() if name.endswith(".py"))


def test_glossary_class_that_does_not_exist_is_found() -> None:
    glossary = CLEAN["GLOSSARY.md"] + "| log | (`Log`) |\n"

    assert offenders("GLOSSARY.md", glossary) == [("GLOSSARY.md", 6, "glossary")]


@pytest.mark.parametrize(
    "line",
    [
        f"A sentence ends. And {LONG}is another.",
        f"and {LONG}is the end of one.\nAnother begins",
        f"* [a link](https://example.org) {LONG}",
    ],
)
def test_long_markdown_line_is_found(line: str) -> None:
    assert offenders("docs/guide.md", f"# Guide\n\n{line}\n") == [("docs/guide.md", 3, "columns")]


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("0002-what-has-no-gap-is-final", "2. What has no gap is final"),
        ("0002-does-a-lease-need-a-clock", "2. Does a lease need a clock?"),
        ("0002-two-lanes", "2. Two lanes"),
        ("0002-leases", "2. Checkpoints move by compare-and-set"),
        ("0003-checkpoints-move", "2. Checkpoints move by compare-and-set"),
        ("two", "2. Checkpoints move by compare-and-set"),
        ("0002-checkpoints", "Checkpoints move by compare-and-set"),
    ],
)
def test_decision_title_that_is_no_sentence_or_not_in_the_file_name_is_found(name: str, title: str) -> None:
    assert offenders(f"adr/{name}.md", f"# {title}\n") == [(f"adr/{name}.md", 1, "title")]


def test_program_checks_tracked_files_and_lists_offenders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, text in CLEAN.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    subprocess.run(["git", "add", "."], cwd=tmp_path, check=True)
    (tmp_path / "draft.md").write_text("not tracked, so nobody checks it\n", encoding="utf-8")

    assert (main(tmp_path), capsys.readouterr().out) == (0, "0 offenders\n")
    assert tracked_texts(tmp_path).keys() == CHECKED.keys()

    (tmp_path / "README.md").write_text("# Title\n\nnobody\n", encoding="utf-8")

    assert (main(tmp_path), capsys.readouterr().out) == (
        1,
        "README.md:3: `nobody`: name the subject\n1 offender: word 1\n",
    )


def test_offender_is_printed_with_path_and_line() -> None:
    assert str(Offender("docs/guide.md", 3, "word", "`anew`: again")) == "docs/guide.md:3: `anew`: again"
