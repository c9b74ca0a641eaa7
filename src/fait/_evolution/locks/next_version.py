"""Prepares the next version of an event type: the edit of its declaration, and an upcaster to complete.

The edit changes one literal in the source file. It is made only if the declaration is found exactly and the result
differs in nothing else.
"""

import ast
import io
import re
import tokenize
from collections.abc import Iterable, Iterator
from difflib import SequenceMatcher
from pathlib import Path
from typing import Final

from msgspec import Struct

from fait._errors import UsageError
from fait._events.event import EventType
from fait._evolution.locks.members import member_paths
from fait._evolution.locks.wording import type_in_words
from fait._schema.compare import compare
from fait._schema.description import Description
from fait._schema.difference import Verdict

__all__ = ["SourceEdit", "edit_version", "upcaster_stub"]


class SourceEdit(Struct, frozen=True):
    """The edit of a source file that increases the version of an event class.

    Attributes:
        file: the source file.
        line: the number of the line that changes, from 1.
        old: the line before.
        new: the line after.
        content: the content of the whole file after the edit.
    """

    file: Path
    line: int
    old: str
    new: str
    content: bytes


def edit_version(declared: EventType) -> SourceEdit:
    """Return the edit that increases the version in the declaration of an event class. Nothing is written.

    Raises:
        UsageError: the declaration is not found exactly, or has another form.
    """
    file = Path(declared.source_file)
    source = _read_source(file, declared)
    call = _declaration(ast.parse(source), declared)
    line, start, end, text = _replacement(call, declared)
    lines = source.splitlines(keepends=True)
    old = lines[line - 1]
    lines[line - 1] = new = old[:start] + text.encode() + old[end:]
    content = b"".join(lines)
    if not _differs_only_in_version(source, content, declared):
        raise _not_understood(declared, "the edit would change more than the version")
    return SourceEdit(file, line, old.decode().rstrip("\r\n"), new.decode().rstrip("\r\n"), content)


def _read_source(file: Path, declared: EventType) -> bytes:
    try:
        source = file.read_bytes()
        encoding, _ = tokenize.detect_encoding(io.BytesIO(source).readline)
        ast.parse(source)
    except (OSError, SyntaxError, ValueError):
        raise _not_understood(declared, f"{file} cannot be read as Python") from None
    if encoding != "utf-8":
        raise _not_understood(declared, f"{file} is encoded as {encoding}")
    return source


def _declaration(tree: ast.AST, declared: EventType) -> ast.Call:
    """Return the only call in the line of the declaration with the event's name as its first argument."""
    line = int(declared.source_location.rpartition(":")[2])
    calls = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and node.lineno == line
        and node.args
        and isinstance(node.args[0], ast.Constant)
        and node.args[0].value == declared.name
    ]
    if len(calls) != 1:
        raise _not_understood(declared, "the declaration is not in its line any more, or its name is no literal there")
    return calls[0]


def _replacement(call: ast.Call, declared: EventType) -> tuple[int, int, int, str]:
    """Return line, start and end, in bytes, of the part of a declaration to replace, and the new text."""
    version = declared.schema_version + 1
    given = next((each.value for each in call.keywords if each.arg == "version"), None)
    if given is None and declared.schema_version == 1 and all(each.arg for each in call.keywords):
        name = call.args[0]
        assert name.end_lineno is not None
        assert name.end_col_offset is not None
        return name.end_lineno, name.end_col_offset, name.end_col_offset, f", version={version}"
    if isinstance(given, ast.Constant) and given.value == declared.schema_version and given.lineno == given.end_lineno:
        assert given.end_col_offset is not None
        return given.lineno, given.col_offset, given.end_col_offset, str(version)
    raise _not_understood(declared, "its version is not given as a number")


def _differs_only_in_version(before: bytes, after: bytes, declared: EventType) -> bool:
    """Return whether two sources are the same program except for the version in one declaration."""
    try:
        one, other = (ast.dump(_without_version(source, declared)) for source in (before, after))
    except (SyntaxError, UsageError):
        return False
    return one == other


def _without_version(source: bytes, declared: EventType) -> ast.AST:
    tree = ast.parse(source)
    call = _declaration(tree, declared)
    call.keywords = [each for each in call.keywords if each.arg != "version"]
    return tree


def _not_understood(declared: EventType, reason: str) -> UsageError:
    return UsageError(
        f"the declaration of {declared.name!r} ({declared.source_location}) is not edited: {reason}. Nothing was "
        f"written. Change it by hand: version={declared.schema_version + 1}"
    )


_INDENT: Final = "    "
_EACH: Final = "[]"


def upcaster_stub(name: str, from_version: int, old: Description, new: Description) -> str:
    """Return the source of an upcaster to complete, for the differences of two descriptions.

    Args:
        name: stored name of the event type.
        from_version: the version that `old` describes.
        old: description of the locked version.
        new: description of the class as it is now.
    """
    function = f"{re.sub(r'[^0-9a-zA-Z]+', '_', name.rpartition('.')[2]).strip('_').lower() or 'event'}_v{from_version}"
    function = f"event_{function}" if function[0].isdigit() else function
    changes = list(_changes(old, new))
    others = list(_other_differences(old, new))
    if changes and not others:
        lines = [
            f"{function} = fait.upcast({_literal(name)}, {from_version},",
            *(f"{_INDENT}{each}" for each in changes),
            ")",
        ]
        return "\n".join(lines)
    comments = [f"{_INDENT}# {each}" for each in (*others, *changes)]
    return "\n".join(
        [
            f"@fait.upcast({_literal(name)}, {from_version})",
            f"def {function}(data: dict[str, Any]) -> dict[str, Any]:",
            *(comments or [f"{_INDENT}# The fields of the class are still those of version {from_version}."]),
            f"{_INDENT}return {{**data}}",
        ]
    )


def _changes(old: Description, new: Description) -> Iterator[str]:
    """Yield declared changes for fields that are gone, and for new ones that older events need."""
    before, after = member_paths(old), member_paths(new)
    added = _outermost(after.keys() - before.keys())
    for path in _outermost(before.keys() - after.keys()):
        dropped = f"fait.dropped({_literal(path)})"
        same = [each for each in added if _parent(each) == _parent(path) and after[each].type == before[path].type]
        if same:
            new_path = max(same, key=lambda each: SequenceMatcher(None, path, each).ratio())
            added.remove(new_path)
            yield f"fait.renamed({_literal(path)}, {_literal(_name(new_path))}),  # or {dropped}"
        else:
            yield f"{dropped},"
    for path in added:
        if not after[path].may_be_absent:
            kind = type_in_words(after[path].type)
            yield f"fait.defaulted({_literal(path)}, ...),  # its value in older events: {kind}"


def _other_differences(old: Description, new: Description) -> Iterator[str]:
    """Yield the explanation of each change that only a function can make."""
    changed = member_paths(old).keys() ^ member_paths(new).keys()
    for each in compare(old, new):
        path = each.path.removeprefix("$.").replace(".*", _EACH)
        if each.verdict not in (Verdict.READABLE, Verdict.DECLARE) and path not in changed:
            yield f"{path}: {each.explanation}"


def _outermost(paths: Iterable[str]) -> list[str]:
    """Return the paths of fields that are in no other field of them, sorted."""
    known = set(paths)
    return sorted(each for each in known if not any(each.startswith((f"{path}.", f"{path}{_EACH}")) for path in known))


def _parent(path: str) -> str:
    return path.rpartition(".")[0]


def _name(path: str) -> str:
    return path.rpartition(".")[2]


def _literal(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
