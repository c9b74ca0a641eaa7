"""Writes Markdown. Names and docstrings of applications are escaped: they contain neither markup nor HTML."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

__all__ = ["anchor", "bullets", "code", "codes", "json_block", "prose", "table"]

_CONTROLS = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
_MARKUP = re.compile(r"[\\`*\[\]|~$]|(?<!\w)_|_(?!\w)")
_BAR = re.compile(r"(?<!\\)\|")
_BLOCK_START = re.compile(r"(?:[#+=>:-]|(\d+)[.)])")


def plain(text: str) -> str:
    """Return a text in one line, with spaces in place of control and invisible characters."""
    return " ".join(_CONTROLS.sub(" ", text).split())


def code(text: str) -> str:
    """Return a name as code."""
    content = plain(text)
    longest = max((len(run) for run in re.findall("`+", content)), default=0)
    fence = "`" * (longest + 1)
    return f"{fence} {content} {fence}" if longest else f"`{content}`"


def codes(texts: Iterable[str]) -> str:
    """Return names as a list in one line; a dash if there are none."""
    return ", ".join(map(code, texts)) or "–"


def prose(text: str) -> str:
    """Return a text of an application as one paragraph; what is between backticks remains code."""
    parts = re.split(r"`([^`]+)`", plain(text))
    escaped = "".join(code(part) if number % 2 else _escape(part) for number, part in enumerate(parts))
    start = _BLOCK_START.match(escaped)
    return escaped if start is None else f"{start[1] or ''}\\{escaped[len(start[1] or '') :]}"


def _escape(text: str) -> str:
    text = _MARKUP.sub(lambda match: f"\\{match[0]}", text)
    return text.replace("&", "&amp;").replace("<", "&lt;")


def bullets(items: Iterable[str]) -> str:
    """Return a list of finished Markdown texts."""
    return "\n".join(f"- {each}" for each in items)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of finished Markdown cells. A bar ends a cell, also within code."""
    lines = [columns, ["---"] * len(columns), *([_BAR.sub(r"\\|", cell) for cell in cells] for cells in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def json_block(value: Any) -> str:
    """Return JSON as a code block. Its lines begin with brackets, quotes or spaces, so none of them ends the block."""
    data = msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
    return f"```json\n{_CONTROLS.sub(_escaped, data)}\n```"


def _escaped(match: re.Match[str]) -> str:
    return match[0] if match[0] == "\n" else f"\\u{ord(match[0]):04x}"


def anchor(heading: str) -> str:
    """Return the name of a heading in links, as GitHub and most renderers derive it."""
    return re.sub(r"[^\w -]", "", plain(heading).lower()).replace(" ", "-")
