"""The text of a design document: sections, in which generated parts stand between the text that its readers write.

    <!-- fait:begin delivery 3f2a9c0d1e4b -->

    Generated. The hexadecimal digits are a hash of it, so that a later edit is noticed.

    <!-- fait:end delivery -->

Writing a document again replaces the generated parts and keeps everything else.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from fait._errors import UsageError

__all__ = ["SECTIONS", "DesignDocument", "GeneratedPart", "WrittenPart", "merged", "parse_document"]

SECTIONS: Final = (
    "Pattern Choice",
    "Event Catalog",
    "Event Schema",
    "Delivery Guarantee",
    "Versioning Strategy",
    "Tradeoffs",
)
"""The sections, in this order."""

_TITLE: Final = re.compile(r"# Event-Driven Design: .*")
_BEGIN: Final = re.compile(r"<!-- fait:begin (\S+) ([0-9a-f]{12}) -->\s*")
_END: Final = re.compile(r"<!-- fait:end (\S+) -->\s*")
_FENCE: Final = re.compile(r" {0,3}(```+|~~~+)")


class GeneratedPart(Struct, frozen=True):
    """A part as it is generated.

    Attributes:
        name: its name, unique in the document, without spaces.
        text: its Markdown; None to keep what the document has.
    """

    name: str
    text: str | None


class WrittenPart(Struct, frozen=True):
    """A part of a document.

    Attributes:
        name: the name of a generated part; empty for text of the user.
        text: its content without markers.
        line: number of its first line.
        digest: the digest in its marker.
    """

    name: str
    text: str
    line: int
    digest: str = ""

    @property
    def is_edited(self) -> bool:
        """Whether a generated part was edited after it was written."""
        # fault: edited-part
        return bool(self.name) and self.digest != _digest(self.text)


class DesignDocument(Struct, frozen=True):
    """A design document.

    Attributes:
        front_matter: the lines between the lines of dashes.
        sections: the parts by title of the section, in the order of the file; those before the first one are under "".
        lines: number of the line of each title.
        problems: what is wrong with the markers, each with its line.
    """

    front_matter: str
    sections: dict[str, list[WrittenPart]]
    lines: dict[str, int]
    problems: tuple[tuple[int, str], ...] = ()

    def parts(self) -> dict[str, WrittenPart]:
        """Return the generated parts by name."""
        return {each.name: each for parts in self.sections.values() for each in parts if each.name}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def parse_document(text: str, name: str) -> DesignDocument:
    """Return the sections and parts of a document.

    Args:
        text: content of the file.
        name: its name, for messages.

    Raises:
        UsageError: it has no front matter, so it is not a design document.
    """
    lines = text.removeprefix("\ufeff").splitlines()
    end = next((number for number, line in enumerate(lines) if number and line.rstrip() == "---"), 0)
    if not (end and lines[0].rstrip() == "---"):
        raise UsageError(
            f"{name} has no front matter, so it is not a design document. fait design --out FILE writes one."
        )
    reader = _SectionReader()
    for number, line in enumerate(lines[end + 1 :], end + 2):
        reader.read(number, line)
    reader.close_part(len(lines) + 1)
    return DesignDocument("\n".join(lines[1:end]), reader.sections, reader.lines, tuple(reader.problems))


class _SectionReader:
    """Reads a document line by line."""

    def __init__(self) -> None:
        self.sections: dict[str, list[WrittenPart]] = {"": []}
        self.lines: dict[str, int] = {}
        self.problems: list[tuple[int, str]] = []
        self._part = WrittenPart("", "", 1)
        self._content: list[str] = []
        self._fence = ""
        self._seen: set[str] = set()

    def read(self, number: int, line: str) -> None:
        if begin := _BEGIN.fullmatch(line):
            self._open_part(begin[1], begin[2], number)
        elif end := _END.fullmatch(line):
            self._end_part(end[1], number)
        elif not (self._part.name or self._fence) and (title := self._title(line)) is not None:
            self.close_part(number)
            self.sections[title], self.lines[title] = self.sections.get(title, []), number
        elif self._part.name or self._fence or not _TITLE.fullmatch(line):
            self._track_fence(line)
            self._content.append(line)

    def _title(self, line: str) -> str | None:
        title = line.removeprefix("## ").strip()
        return title if line.startswith("## ") and title in SECTIONS and title not in self.lines else None

    def _track_fence(self, line: str) -> None:
        if fence := _FENCE.match(line):
            closes = self._fence and fence[1].startswith(self._fence)
            self._fence = "" if closes else self._fence or fence[1]

    def _open_part(self, name: str, digest: str, number: int) -> None:
        if name in self._seen:
            self.problems.append((number, f"the part {name} is there twice"))
        self.close_part(number)
        self._seen.add(name)
        self._part = WrittenPart(name, "", number + 1, digest)

    def _end_part(self, name: str, number: int) -> None:
        if name != self._part.name:
            self.problems.append((number, f"the part {name} ends, and does not begin"))
            return
        self._store(number + 1)

    def close_part(self, number: int) -> None:
        """End the current part before a line."""
        if self._part.name:
            self.problems.append((self._part.line - 1, f"the part {self._part.name} has no end"))
        self._store(number)

    def _store(self, next_line: int) -> None:
        text = "\n".join(self._content).strip("\n")
        if text.strip() or self._part.name:
            last = [*self.sections][-1]
            self.sections[last].append(replace(self._part, text=text))
        self._part, self._content, self._fence = WrittenPart("", "", next_line), [], ""


def merged(
    front_matter: str,
    system: str,
    generated: Mapping[str, Sequence[GeneratedPart]],
    existing: DesignDocument | None = None,
) -> str:
    """Return the text of a document.

    Args:
        front_matter: its front matter with the lines of dashes.
        system: name of the system as Markdown.
        generated: the generated parts of each section, in order.
        existing: the document that is written again: its text of users is kept, and generated parts are replaced.
    """
    sections = existing.sections if existing else {}
    blocks = [front_matter, f"# Event-Driven Design: {system}", *_rendered(sections.get("", ()))]
    for title in SECTIONS:
        blocks += [f"## {title}", *_rendered(_with_generated(generated[title], sections.get(title, ())))]
    return "\n\n".join(blocks) + "\n"


def _with_generated(generated: Sequence[GeneratedPart], written: Sequence[WrittenPart]) -> list[WrittenPart]:
    """Return the parts of a section: those of the user, and the generated ones in the places they had."""
    texts = {each.name: each.text for each in generated}
    # fault: text-of-users
    parts = [_renewed(each, texts.get(each.name)) for each in written if not each.name or each.name in texts]
    place = 0
    for each in generated:
        names = [part.name for part in parts]
        if each.name in names:
            place = names.index(each.name) + 1
        elif each.text is not None:
            parts.insert(place, _renewed(WrittenPart(each.name, "", 0), each.text))
            place += 1
    return parts


def _renewed(part: WrittenPart, text: str | None) -> WrittenPart:
    return part if text is None else WrittenPart(part.name, text, part.line, _digest(text))


def _rendered(parts: Iterable[WrittenPart]) -> list[str]:
    return [
        f"<!-- fait:begin {each.name} {each.digest} -->\n\n{each.text}\n\n<!-- fait:end {each.name} -->"
        if each.name
        else each.text
        for each in parts
    ]
