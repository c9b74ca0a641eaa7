"""Limits on files and functions that ruff, pyright and import-linter do not check; each test lists its offenders."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SRC = ROOT / "src" / "fait"

MAX_FILE_LINES = 600
MAX_FUNCTION_LINES = 60
BANNED_NAMES = {"base", "common", "core", "helper", "helpers", "manager", "managers", "misc", "util", "utils"}
POSTPONED = re.compile(r"\b(TODO|FIXME)\b")
STATEMENT = re.compile(r"\s*(SELECT|INSERT|REPLACE|UPDATE|DELETE|CREATE)\s+\S")
# The user declares the columns of a read model's table, so its statements are built at run time: in one module of each
# backend. The contract of backends is test code.
BUILDS_STATEMENTS = {SRC / "_store" / backend / "table_sql.py" for backend in ("sqlite", "postgres")}


def files(suffix: str, *folders: Path) -> list[Path]:
    return sorted(path for folder in folders for path in folder.rglob(f"*{suffix}"))


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def parse(path: Path) -> ast.Module:
    return ast.parse(text_of(path), filename=str(path))


def offender(path: Path, line: int, problem: str) -> str:
    return f"{path.relative_to(ROOT)}:{line}: {problem}"


ALL = [ROOT / "src", ROOT / "tests", ROOT / "examples", ROOT / "bench", ROOT / "docs"]
MODULES = files(".py", *ALL)
SOURCES = files(".py", SRC)
STATEMENTS = [path for path in files(".sql", SRC) if path.parent.name != "migrations"]  # migrations are found by folder


def test_modules_have_a_docstring() -> None:
    modules = files(".py", SRC, ROOT / "examples")

    assert [offender(path, 1, "no docstring") for path in modules if not ast.get_docstring(parse(path))] == []


def test_modules_declare_what_they_export() -> None:
    bodies = {path: parse(path).body for path in SOURCES}

    assert [
        offender(path, 1, "no __all__")
        for path, body in bodies.items()
        if not is_only_docstring(body) and "__all__" not in assigned(body)
    ] == []


def is_only_docstring(body: list[ast.stmt]) -> bool:
    return len(body) == 1 and isinstance(body[0], ast.Expr)


def assigned(body: list[ast.stmt]) -> set[str]:
    """Names that the statements assign; ruff checks that `__all__` is sorted and that its names exist."""
    return {
        target.id
        for statement in body
        if isinstance(statement, ast.Assign | ast.AnnAssign)
        for target in (statement.targets if isinstance(statement, ast.Assign) else [statement.target])
        if isinstance(target, ast.Name)
    }


def test_files_stay_within_the_maximum_length() -> None:
    lengths = {path: len(text_of(path).splitlines()) for path in MODULES}

    assert [
        offender(path, length, f"{length} lines, more than {MAX_FILE_LINES}")
        for path, length in lengths.items()
        if length > MAX_FILE_LINES
    ] == []


def test_functions_stay_within_the_maximum_length() -> None:
    assert [
        offender(path, node.lineno, f"{node.name} has {length} lines, more than {MAX_FUNCTION_LINES}")
        for path in MODULES
        for node in ast.walk(parse(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (length := body_lines(node)) > MAX_FUNCTION_LINES
    ] == []


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of the body, its docstring excluded."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def test_no_text_postpones_work() -> None:
    texts = [path for suffix in (".py", ".sql", ".md") for path in files(suffix, *ALL) if path != Path(__file__)]

    assert [
        offender(path, number, line.strip())
        for path in texts
        for number, line in enumerate(text_of(path).splitlines(), 1)
        if POSTPONED.search(line)
    ] == []


def test_files_and_folders_have_telling_names() -> None:
    assert [
        offender(path, 1, f"`{part}` says nothing about the content")
        for path in MODULES
        for part in path.relative_to(ROOT).with_suffix("").parts
        if part in BANNED_NAMES
    ] == []


def test_sql_statements_are_in_sql_files() -> None:
    modules = [path for path in SOURCES if path not in BUILDS_STATEMENTS and SRC / "testing" not in path.parents]

    assert [
        offender(path, node.lineno, "a SQL statement outside of a .sql file")
        for path in modules
        for node in ast.walk(parse(path))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and STATEMENT.match(node.value)
    ] == []


def test_sql_files_are_used() -> None:
    nodes = [node for path in SOURCES for node in ast.walk(parse(path))]
    names = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    names |= {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}

    assert [offender(path, 1, "not used") for path in STATEMENTS if not {path.stem, path.name} & names] == []


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
def test_statement_pattern_matches_sql_and_not_prose(text: str, is_statement: bool) -> None:
    assert bool(STATEMENT.match(text)) is is_statement
