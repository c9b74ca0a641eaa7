"""Finds functions of an app's packages that publish events without a command: through an outbox, or directly.

Source files are read and not imported, so the result does not depend on the modules that a process has imported. A
function publishes an event if it calls the event's class, and calls `add`, `append` or `publish`, or makes `NewEvents`.
Tests are left out.
"""

import ast
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from msgspec import Struct

__all__ = ["PublishingFunction", "imported_names", "publishing_functions"]

Name = tuple[str, str]
"""A module and a qualified name in it."""

Function = ast.FunctionDef | ast.AsyncFunctionDef

_PUBLISHING: Final = {"add", "append", "publish", "NewEvents"}


class PublishingFunction(Struct, frozen=True):
    """A function that publishes events.

    Attributes:
        name: its module and qualified name.
        events: the event classes that it makes.
        outbox: whether it calls `outbox`, so that the events are stored in a transaction of the application.
    """

    name: Name
    events: tuple[type, ...]
    outbox: bool


def publishing_functions(modules: Iterable[str], classes: Iterable[type]) -> Iterator[PublishingFunction]:
    """Yield the functions that publish events of some classes, by module and place.

    Args:
        modules: names of imported modules. All files of their packages are read; of a module without a package, the
            files next to it.
        classes: the event classes.
    """
    events = {(cls.__module__, cls.__qualname__): cls for cls in classes}
    for module, file in sorted(_files(modules).items()):
        text = file.read_text(encoding="utf-8", errors="replace")
        if any(name in text for _, name in events):
            yield from _in_file(module, text, events, is_package=file.name == "__init__.py")


def _files(modules: Iterable[str]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for package, folder in {_package_and_folder(each) for each in modules if _file_of(each)}:
        for file in folder.rglob("*.py") if package else folder.glob("*.py"):
            parts = file.relative_to(folder).with_suffix("").parts
            if not any(part in ("tests", "conftest") or part.startswith("test_") for part in parts):
                found[".".join((*filter(None, [package]), *(each for each in parts if each != "__init__")))] = file
    return found


def _file_of(module: str) -> str:
    return getattr(sys.modules.get(module), "__file__", None) or ""


def _package_and_folder(module: str) -> tuple[str, Path]:
    file = Path(_file_of(module))
    return module if file.name == "__init__.py" else module.rpartition(".")[0], file.parent


def _in_file(module: str, text: str, events: Mapping[Name, type], *, is_package: bool) -> Iterator[PublishingFunction]:
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return
    names = imported_names(tree, module if is_package else module.rpartition(".")[0])
    names |= {each.name: (module, each.name) for each in tree.body if isinstance(each, ast.ClassDef)}
    for name, function in _functions(tree):
        called = [_called(each.func, names) for each in ast.walk(function) if isinstance(each, ast.Call)]
        made = dict.fromkeys(cls for each in called if (cls := _event(each, events)) is not None)
        simple = {each[1].rpartition(".")[2] for each in called}
        if made and simple & _PUBLISHING:
            yield PublishingFunction((module, name), tuple(made), "outbox" in simple)


def _event(called: Name, events: Mapping[Name, type]) -> type | None:
    """Return the event class of a name, also one that a package exports again."""
    if called in events:
        return events[called]
    exported = vars(sys.modules[called[0]]).get(called[1]) if called[0] in sys.modules else None
    return next((cls for cls in events.values() if cls is exported), None)


def _functions(tree: ast.Module) -> Iterator[tuple[str, Function]]:
    for each in tree.body:
        if isinstance(each, Function):
            yield each.name, each
        elif isinstance(each, ast.ClassDef):
            yield from ((f"{each.name}.{method.name}", method) for method in each.body if isinstance(method, Function))


def imported_names(tree: ast.AST, package: str) -> dict[str, Name]:
    """Return the names that code imports, with the module and the name in it, which is empty for a module.

    Args:
        tree: the code.
        package: the package of its module, for relative imports.
    """
    found: dict[str, Name] = {}
    for each in ast.walk(tree):
        if isinstance(each, ast.Import):
            found |= {name.asname or name.name: (name.name, "") for name in each.names}
        elif isinstance(each, ast.ImportFrom):
            source = _absolute(each, package)
            found |= {name.asname or name.name: (source, name.name) for name in each.names}
    return found


def _absolute(statement: ast.ImportFrom, package: str) -> str:
    if not statement.level:
        return statement.module or ""
    parts = package.split(".")
    return ".".join(filter(None, (*parts[: len(parts) - statement.level + 1], statement.module)))


def _called(node: ast.expr, names: Mapping[str, Name]) -> Name:
    """Return the module and the name that a call refers to; only the name, if the module is not known."""
    if isinstance(node, ast.Name):
        return names.get(node.id, ("", node.id))
    if not isinstance(node, ast.Attribute):
        return "", ""
    text = ast.unparse(node.value)
    module, name = names.get(text, ("", ""))
    if module and name:  # `from . import events`: a module, or a class
        module, name = f"{module}.{name}", ""
    return (module, node.attr) if module else ("", node.attr)
