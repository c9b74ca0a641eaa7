"""The limits of this house that a parse can see; ruff, pyright and import-linter hold the others."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SRC = ROOT / "src" / "fait"

FILE_LINES_MAX = 600
FUNCTION_LINES_MAX = 60
BANNED_NAMES = {"base", "common", "core", "helper", "helpers", "manager", "managers", "misc", "util", "utils"}
POSTPONED = re.compile(r"\b(TODO|FIXME)\b")
STATEMENT = re.compile(r"\s*(SELECT|INSERT|REPLACE|UPDATE|DELETE|CREATE)\s+\S")
# A read model's table has the columns that its user declares, so its statements are made: in one room of each backend.
MAKES_STATEMENTS = {SRC / "_store" / backend / "tables.py" for backend in ("sqlite", "postgres")}


def files(suffix: str, *folders: Path) -> list[Path]:
    return sorted(path for folder in folders for path in folder.rglob(f"*{suffix}"))


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def of_each(paths: list[Path]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("path", paths, ids=lambda path: str(path.relative_to(ROOT)))


ALL = [ROOT / "src", ROOT / "tests", ROOT / "examples", ROOT / "bench", ROOT / "docs"]
MODULES = files(".py", *ALL)
SOURCES = files(".py", SRC)
STATEMENTS = [path for path in files(".sql", SRC) if path.parent.name != "migrations"]  # those are found by folder


@of_each(files(".py", SRC, ROOT / "examples"))
def test_a_module_introduces_itself(path: Path) -> None:
    assert ast.get_docstring(parse(path)), "it has no docstring"


@of_each(SOURCES)
def test_a_module_says_what_it_offers(path: Path) -> None:
    body = parse(path).body
    only_a_docstring = len(body) == 1 and isinstance(body[0], ast.Expr)

    assert only_a_docstring or "__all__" in assigned(body)


def assigned(body: list[ast.stmt]) -> set[str]:
    """Names that the statements assign; ruff sees to it that `__all__` is sorted and that its names exist."""
    return {
        target.id
        for statement in body
        if isinstance(statement, ast.Assign | ast.AnnAssign)
        for target in (statement.targets if isinstance(statement, ast.Assign) else [statement.target])
        if isinstance(target, ast.Name)
    }


@of_each(MODULES)
def test_a_file_can_be_read_in_one_sitting(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= FILE_LINES_MAX


@of_each(MODULES)
def test_a_function_fits_on_a_screen(path: Path) -> None:
    functions = [node for node in ast.walk(parse(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]

    assert [f"{node.name}: {lines(node)} lines" for node in functions if lines(node) > FUNCTION_LINES_MAX] == []


def lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of the body, its docstring excluded."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


@pytest.mark.parametrize("suffix", [".py", ".sql", ".md"])
def test_nothing_is_postponed(suffix: str) -> None:
    texts = [path for path in files(suffix, *ALL) if path != Path(__file__)]

    assert [str(path) for path in texts if POSTPONED.search(path.read_text(encoding="utf-8"))] == []


def test_every_name_says_what_is_inside() -> None:
    names = {part for path in MODULES for part in path.relative_to(ROOT).with_suffix("").parts}

    assert names & BANNED_NAMES == set()


@of_each([path for path in SOURCES if path not in MAKES_STATEMENTS and SRC / "testing" not in path.parents])
def test_statements_live_in_sql_files(path: Path) -> None:
    assert [text for text in strings(parse(path)) if STATEMENT.match(text)] == []


def test_every_sql_file_is_used() -> None:
    names = {name for path in SOURCES for name in (*strings(parse(path)), *attributes(parse(path)))}

    assert [str(path) for path in STATEMENTS if not {path.stem, path.name} & names] == []


def strings(module: ast.Module) -> Iterator[str]:
    return (node.value for node in ast.walk(module) if isinstance(node, ast.Constant) and isinstance(node.value, str))


def attributes(module: ast.Module) -> Iterator[str]:
    return (node.attr for node in ast.walk(module) if isinstance(node, ast.Attribute))


@pytest.mark.parametrize(
    ("text", "is_statement"),
    [
        ("SELECT 1", True),
        ("\n    INSERT INTO events VALUES (1)", True),
        ("CREATE TABLE t (id)", True),
        ("PRAGMA journal_mode = WAL", False),
        ("BEGIN IMMEDIATE", False),
        ("Select an event to see it.", False),
        ("UPDATED", False),
    ],
)
def test_a_statement_is_told_from_prose(text: str, is_statement: bool) -> None:
    assert bool(STATEMENT.match(text)) is is_statement
