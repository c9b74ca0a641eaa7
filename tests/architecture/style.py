"""Checks the mechanical part of how fait is written; CONTRIBUTING.md, "Writing", has the rules.

    python -m tests.architecture.style

Prints each offender as `path:line: what is wrong`, then their number by rule. The exit code is 1 if there is any.
Only files that git tracks are checked. The tables of words and names are in `vocabulary.py`.
"""

import ast
import re
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple, TypeGuard

from tests.architecture.vocabulary import BANNED, RETIRED, SLEEPS, TWINS

__all__ = ["Offender", "check", "check_sleeps", "main", "tracked_texts"]

ROOT = Path(__file__).parents[2]
SRC = "src/fait/"
TESTS = ("tests/", "src/fait/testing/")
MAX_COLUMNS = 120
MIN_TITLE_WORDS = 4

EXEMPT = {
    "LICENSE",
    "tests/advice/development.jsonl",  # texts of users, as they are
    "tests/advice/development_2.jsonl",
    "tests/advice/development_3.jsonl",
    "tests/advice/development_4.jsonl",
    "tests/advice/unread.jsonl",
    "uv.lock",
    "tests/architecture/vocabulary.py",  # the tables contain the words
    "tests/architecture/test_style.py",  # so do the examples
}
EXEMPT_FOLDERS = (
    "bench/published/",  # results of measurements, written by a program
    "src/fait/_advice/reading/data/",  # words of users, as they are
)


class Offender(NamedTuple):
    """A line that breaks a rule."""

    path: str
    line: int
    rule: str
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.text}"


class Definition(NamedTuple):
    """A name that a module of `src/fait` defines, in the notation of `vocabulary.RETIRED`."""

    path: str
    line: int
    name: str
    is_class: bool = False


def tracked_texts(root: Path) -> dict[str, str]:
    """Content of all text files that git tracks, by path; without git, of all files outside of hidden folders."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, text=True, check=False)
    if listed.returncode == 0:
        paths = [root / name for name in listed.stdout.split("\0") if name]
    else:
        paths = [path for path in root.rglob("*") if not any(part[0] == "." for part in path.relative_to(root).parts)]
    texts: dict[str, str] = {}
    for path in sorted(paths):
        name = path.relative_to(root).as_posix()
        if path.is_file() and name not in EXEMPT and not name.startswith(EXEMPT_FOLDERS):
            content = path.read_bytes()
            if b"\0" not in content:
                texts[name] = content.decode("utf-8")
    return texts


def check(texts: dict[str, str]) -> list[Offender]:
    """All offenders, by path and line."""
    modules = {name: ast.parse(text) for name, text in texts.items() if name.startswith(SRC) and name.endswith(".py")}
    definitions = [each for name, module in modules.items() for each in defined_names(name, module)]
    offenders = [
        *check_words(texts),
        *check_class_names(definitions),
        *check_retired_names(definitions, texts),
        *check_glossary(texts.get("GLOSSARY.md", ""), {each.name for each in definitions}),
    ]
    for name, text in texts.items():
        if name.endswith(".py") and name.startswith(TESTS) and not name.startswith(tuple(SLEEPS)):
            offenders += check_sleeps(name, ast.parse(text))
        if name.endswith(".md"):
            offenders += check_columns(name, text)
        if name.startswith("adr/"):
            offenders += check_title(name, text)
    return sorted(offenders)


# Words

_GAP = r"\s+(?:(?:#|--|\*|>)\s+)?"  # a phrase may continue on the next line of a comment
_WORDS = re.compile("|".join(rf"\b({pattern.replace(' ', _GAP)})\b" for pattern in BANNED), re.IGNORECASE)
_ADVICE = list(BANNED.values())
_IDENTIFIER = re.compile(r"\b(?=\w*(?:[^\W_]_[^\W_]|[a-z0-9][A-Z]))\w+\b")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|_+")
_TEST_NAME = re.compile(r"\bdef (test_\w+)")


def check_words(texts: dict[str, str]) -> Iterator[Offender]:
    """Banned words in prose and in parts of identifiers.

    Test names are exempt, also where `tests/planted` names a test without its prefix.
    """
    test_names = {name for path, text in texts.items() if path.endswith(".py") for name in _TEST_NAME.findall(text)}
    for path, text in texts.items():
        for match in _WORDS.finditer(text):
            phrase = " ".join(match[0].split())
            yield Offender(path, line_of(text, match.start()), "word", f"`{phrase}`: {advice(match)}")
        identifiers = set(_IDENTIFIER.findall(text))
        for identifier in identifiers - test_names:
            match = _WORDS.search(_HUMP.sub(" ", identifier))
            if match and not identifier.startswith("test_") and f"test_{identifier}" not in test_names:
                for place in re.finditer(rf"\b{identifier}\b", text):
                    what = f"`{match[0]}` in the name `{identifier}`: {advice(match)}"
                    yield Offender(path, line_of(text, place.start()), "word", what)


def advice(match: re.Match[str]) -> str:
    return _ADVICE[(match.lastindex or 1) - 1]


def line_of(text: str, offset: int) -> int:
    return text.count("\n", 0, offset) + 1


# Names


def defined_names(path: str, module: ast.Module) -> Iterator[Definition]:
    """Classes, functions, attributes of classes, and module-level names."""
    yield Definition(path, 1, path.rpartition("/")[2])
    for statement in module.body:
        for name in assigned_names(statement):
            yield Definition(path, statement.lineno, name)
    at_run_time = {id(each) for node in ast.walk(module) for each in run_time_branch(node)}
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield Definition(path, node.lineno, f"{node.name}()")
        elif isinstance(node, ast.ClassDef):
            yield Definition(path, node.lineno, node.name, is_class=id(node) not in at_run_time)
            for statement in node.body:
                names = assigned_names(statement)
                if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
                    names = [statement.name]
                for name in names:
                    yield Definition(path, statement.lineno, f"{node.name}.{name}")


def assigned_names(statement: ast.stmt) -> list[str]:
    if isinstance(statement, ast.Assign):
        targets = statement.targets
    elif isinstance(statement, ast.AnnAssign):
        targets = [statement.target]
    else:
        return []
    return [target.id for target in targets if isinstance(target, ast.Name)]


def run_time_branch(node: ast.AST) -> list[ast.stmt]:
    """The statements of `else` to `if TYPE_CHECKING`: a class in both branches is one class."""
    if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
        return node.orelse
    return []


def check_class_names(definitions: list[Definition]) -> Iterator[Offender]:
    """No two classes have the same name, apart from twins."""
    by_name: defaultdict[str, list[Definition]] = defaultdict(list)
    for each in definitions:
        if each.is_class:
            by_name[each.name].append(each)
    for name, same in by_name.items():
        for each in same if len(same) > 1 and name not in TWINS else ():
            others = ", ".join(f"{other.path}:{other.line}" for other in same if other is not each)
            yield Offender(each.path, each.line, "class", f"`{name}` is also the name of another class: {others}")


def check_retired_names(definitions: list[Definition], texts: dict[str, str]) -> Iterator[Offender]:
    """No name comes back that was replaced."""
    for each in definitions:
        name = each.name.removeprefix("_") if not each.name.endswith(".py") else each.name
        for retired in RETIRED:
            if name == retired.old and fnmatch(each.path, SRC + retired.where):
                yield Offender(each.path, each.line, "name", f"`{each.name}` is now `{retired.new}`")
    for path, text in texts.items():
        if path.startswith(SRC) and path.endswith(".sql"):
            columns = {
                each.old: each.new for each in RETIRED if is_column(each.old) and fnmatch(path, SRC + each.where)
            }
            yield from check_columns_in_sql(path, text, columns)


def is_column(name: str) -> bool:
    return name.isidentifier() and name.islower()


def check_columns_in_sql(path: str, text: str, columns: dict[str, str]) -> Iterator[Offender]:
    """Columns in statements, and in the comments that list parameters and results."""
    for number, line in enumerate(text.splitlines(), 1):
        code = line if re.match(r"\s*-- (In|Out):", line) else line.partition("--")[0]
        for word in re.findall(r"\b\w+\b", code):
            if word in columns:
                yield Offender(path, number, "name", f"`{word}` is now `{columns[word]}`")


def check_glossary(text: str, names: set[str]) -> Iterator[Offender]:
    """Classes that the glossary names exist, apart from planned ones."""
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("|") and "*(planned)*" not in line:
            for name in re.findall(r"`([A-Z][a-z]\w*)`", line):
                if name not in names:
                    yield Offender("GLOSSARY.md", number, "glossary", f"`{name}` is not defined in {SRC}")


# Sleeps


def check_sleeps(path: str, module: ast.Module) -> Iterator[Offender]:
    """Calls of `sleep`, apart from those in a loop that ends when a condition holds."""
    for function in ast.walk(module):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            for call in outside_of_polls(function):
                yield Offender(path, call.lineno, "sleep", "`sleep`: wait for a condition, or advance a clock")


def outside_of_polls(node: ast.AST) -> Iterator[ast.Call]:
    """The calls of `sleep` in a function, without those in its polls and in functions within it."""
    for child in ast.iter_child_nodes(node):
        if is_poll(child) or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if is_sleep(child):
            yield child
        yield from outside_of_polls(child)


def is_sleep(node: ast.AST) -> TypeGuard[ast.Call]:
    """Whether a node calls `sleep` with another argument than 0, which only lets other tasks run."""
    if not isinstance(node, ast.Call) or ast.unparse(node.func) not in ("anyio.sleep", "asyncio.sleep", "time.sleep"):
        return False
    return not (len(node.args) == 1 and isinstance(node.args[0], ast.Constant) and node.args[0].value == 0)


def is_poll(node: ast.AST) -> bool:
    """Whether a node is a loop that ends when a condition holds: `while`, or `for` with a way out."""
    if isinstance(node, ast.For):
        return any(isinstance(each, ast.Break | ast.Return) for each in ast.walk(node))
    return isinstance(node, ast.While)


# Markdown

_FENCE = re.compile(r"\s*(```|~~~)")
_MARKER = re.compile(r"\s*(?:[*+-] |\d+\. |#+ |> )*")
_LINK = re.compile(r"(?:!?\[[^\]]*\](?:\(.*\)|: ?\S+)|<?https?://\S+>?)[.,;:]?$")
_SENTENCE_ENDS = re.compile(r"[.!?][\"')*`]* +(?=[A-Z`*\[(\"])")


def check_columns(path: str, text: str) -> Iterator[Offender]:
    """Long lines, apart from tables, code blocks, a link alone and one sentence alone."""
    in_code = False
    lines = ["", *text.splitlines(), ""]
    for number, line in enumerate(lines):
        in_code ^= bool(_FENCE.match(line))
        if len(line) <= MAX_COLUMNS or in_code or line.lstrip().startswith("|"):
            continue
        is_paragraph = not lines[number - 1].strip() and not lines[number + 1].strip()
        if not stands_alone(line, is_paragraph):
            yield Offender(path, number, "columns", f"{len(line)} columns, more than {MAX_COLUMNS}")


def stands_alone(line: str, is_paragraph: bool) -> bool:
    """Whether a line is a link or exactly one sentence."""
    content = _MARKER.sub("", line, count=1).strip()
    is_sentence = (is_paragraph or not content[:1].islower()) and re.search(r"[.!?:][\"')*`]*$", content)
    return bool(_LINK.match(content) or (is_sentence and not _SENTENCE_ENDS.search(content)))


def check_title(path: str, text: str) -> Iterator[Offender]:
    """The title of a decision is a sentence; the words of the file name are words of the title, in order."""
    title = re.match(r"# (\d+)\. (.+)\n", text)
    file = re.fullmatch(r"adr/(\d{4})-([a-z0-9-]+)\.md", path)
    if not title or not file:
        yield Offender(path, 1, "title", "not `# N. Title` in `NNNN-title.md`")
        return
    words = iter(re.findall(r"[a-z0-9]+", title[2].lower()))
    if len(title[2].split()) < MIN_TITLE_WORDS or re.match(r"(What|Why|How|Who)\b", title[2]) or title[2][-1] == "?":
        yield Offender(path, 1, "title", f"`{title[2]}` is not the decision as a sentence")
    if int(file[1]) != int(title[1]) or not all(word in words for word in file[2].split("-")):
        yield Offender(path, 1, "title", f"the file name does not consist of words of `{title[2]}`, in order")


def main(root: Path = ROOT) -> int:
    """Print all offenders; 0 if there is none."""
    offenders = check(tracked_texts(root))
    print(*offenders, sep="\n", end="\n" if offenders else "")
    rules = Counter(each.rule for each in offenders)
    by_rule = ", ".join(f"{rule} {count}" for rule, count in rules.most_common())
    print(f"{len(offenders)} offender{'' if len(offenders) == 1 else 's'}" + (f": {by_rule}" if by_rule else ""))
    return int(bool(offenders))


if __name__ == "__main__":
    sys.exit(main())
