"""Compares a committed design document with the code, both ways.

Facts are compared by the front matter: event types, producers, consumers, and what each consumer is promised. The
generated parts are compared with what is generated today: one that was edited by hand no longer has the hash in its
marker. Events that users plan outside of the generated parts are looked up in the code.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar, cast
from urllib.parse import quote

from msgspec import Struct
from msgspec.structs import asdict, replace

from fait._design.catalog import Catalog, EventConsumer, EventProducer
from fait._design.document import SECTIONS, DesignDocument, WrittenPart, parse_document
from fait._design.front_matter import EventFacts, design_facts, read_front_matter
from fait._design.planned import PlannedEvent, planned_events
from fait._design.sections import generated_parts
from fait._schema.description import canonical_json

__all__ = ["Discrepancy", "compare_document"]

F = TypeVar("F", EventProducer, EventConsumer)


class Discrepancy(Struct, frozen=True):
    """Where a design document and the code disagree.

    Attributes:
        kind: what kind of disagreement, such as `event-renamed`.
        subject: the event type, producer, consumer, section or part that it concerns.
        where: file and line of the document.
        what: what the document says and what the code says.
        fix: what to do.
    """

    kind: str
    subject: str
    where: str
    what: str
    fix: str


_GUARANTEES: Final = ("delivery", "order", "start", "retry", "batch", "timeout_s", "versions")
"""The facts of a consumer that are promises."""


def compare_document(text: str, name: str, catalog: Catalog, command: str) -> list[Discrepancy]:
    """Return where a document and the code disagree, in the order of the document's content.

    Args:
        text: content of the document.
        name: its file name, for `where`.
        catalog: the catalog of the app.
        command: the command that writes the document again, for `fix`.

    Raises:
        UsageError: it is not a design document, or its front matter cannot be read.
    """
    document = parse_document(text, name)
    return list(_DocumentComparison(document, text, name, catalog, command).discrepancies())


class _DocumentComparison:
    def __init__(self, document: DesignDocument, text: str, name: str, catalog: Catalog, command: str) -> None:
        self._document = document
        self._lines = text.splitlines()
        self._name = name
        self._catalog = catalog
        numbered = reversed([*enumerate(self._lines, 1)])
        self._places = {line.partition(": ")[2]: number for number, line in numbered}
        self._command = command
        self._update = f"If the code is right: {command}"
        self._written = read_front_matter(document.front_matter)
        self._actual = design_facts(self._written.system, catalog, None, self._written)

    def discrepancies(self) -> Iterator[Discrepancy]:
        yield from self._structure()
        facts = [] if self._written.plan else list(self._facts())
        yield from facts
        yield from self._planned()
        if not self._written.plan:
            yield from self._parts({each.subject for each in facts})
        else:
            yield from self._edited(self._document.parts().values())

    def _at(self, line: int) -> str:
        return f"{self._name}:{line}"

    def _place(self, name: str) -> str:
        """Return the first line of the front matter that has a name; the first line of the document without one."""
        return self._at(self._places.get(canonical_json(name), 1))

    # Structure

    def _structure(self) -> Iterator[Discrepancy]:
        fix = f"Restore it from version control. {self._update}"
        for line, problem in self._document.problems:
            yield Discrepancy(
                "marker-broken", "markers", self._at(line), problem, "Restore the marker from version control."
            )
        for title in SECTIONS:
            # fault: missing-section
            if title not in self._document.lines:
                what = f"the section {title!r} is missing"
                yield Discrepancy("section-missing", title, self._at(1), what, fix)
        present = [each for each in self._document.lines if each in SECTIONS]
        if present != [each for each in SECTIONS if each in present]:
            what = f"the sections are in the order {', '.join(present)}"
            yield Discrepancy(
                "section-order", "sections", self._at(1), what, f"The order is {', '.join(SECTIONS)}. {fix}"
            )

    # Facts

    def _facts(self) -> Iterator[Discrepancy]:
        renamed = _renamed(self._written.events, self._actual.events)
        written = {renamed.get(each.type, each.type): each for each in self._written.events}
        actual = {each.type: each for each in self._actual.events}
        for old, new in renamed.items():
            yield self._renaming(old, new)
        for type in sorted(written.keys() | actual.keys()):
            if type not in actual:
                yield self._only_in_document("event", type, "declare the event class and include it in the app")
            elif type not in written:
                yield self._only_in_code("event", type, "remove the event class from the app")
            else:
                yield from self._event(type, written[type], actual[type])
        common = written.keys() & actual.keys()
        yield from self._parties("producer", self._written.producers, self._actual.producers, renamed, common)
        # fault: missing-consumer
        yield from self._parties("consumer", self._written.consumers, self._actual.consumers, renamed, common)

    def _renaming(self, old: str, new: str) -> Discrepancy:
        entry = self._catalog.event(new)
        is_declared = entry is not None and old in entry.former_names
        kept = "" if is_declared else f'Events stored under the old name need @fait.event("{new}", was=("{old}",)). '
        what = f"the event {old} of the document is named {new} in the code"
        return Discrepancy("event-renamed", new, self._place(old), what, f"{kept}{self._update}")

    def _only_in_document(self, role: str, name: str, otherwise: str) -> Discrepancy:
        what = f"the {role} {name} is in the document and not in the code"
        fix = f"If the document is right: {otherwise}. {self._update}"
        return Discrepancy(f"{role}-not-in-code", name, self._place(name), what, fix)

    def _only_in_code(self, role: str, name: str, otherwise: str) -> Discrepancy:
        what = f"the {role} {name} is in the code and not in the document"
        fix = f"If the document is right: {otherwise}. {self._update}"
        return Discrepancy(f"{role}-not-in-document", name, self._at(1), what, fix)

    def _event(self, type: str, written: EventFacts, actual: EventFacts) -> Iterator[Discrepancy]:
        place = self._place(written.type)
        # fault: new-version
        if written.version != actual.version:
            what = f"{type} has version {written.version} in the document and version {actual.version} in the code"
            yield Discrepancy(
                "version-changed", type, place, what, f"Check first that its consumers can read it. {self._update}"
            )
        elif written.fingerprint != actual.fingerprint:
            what = f"the schema of {type} version {actual.version} changed, so its schema and example are outdated"
            fix = f"If the version is published, make a new one (fait schema new-version {type}). {self._update}"
            yield Discrepancy("schema-changed", type, place, what, fix)
        names = ("lock", "former_names", "retention_s")
        if changes := _changes(written, actual, names):
            yield Discrepancy("event-changed", type, place, f"{type}: {changes}", self._update)

    def _parties(
        self, role: str, written: Sequence[F], actual: Sequence[F], renamed: Mapping[str, str], common: Iterable[str]
    ) -> Iterator[Discrepancy]:
        """Compare producers, or consumers. Events that are in one of the two only have a discrepancy of their own."""
        common = {*common}
        before = {(each.kind, each.name): _reduced(each, renamed, common) for each in written}
        after = {(each.kind, each.name): _reduced(each, {}, common) for each in actual}
        for kind, name in sorted(before.keys() | after.keys()):
            if (kind, name) not in after:
                yield self._only_in_document(role, name, f"add the {kind} to the code, or declare it in pyproject.toml")
            elif (kind, name) not in before:
                yield self._only_in_code(role, name, f"remove the {kind}")
            else:
                yield from self._party(role, name, before[kind, name], after[kind, name])

    def _party(self, role: str, name: str, written: F, actual: F) -> Iterator[Discrepancy]:
        promises = _GUARANTEES if role == "consumer" else ()
        others = [each for each in asdict(written) if each not in promises]
        place = self._place(name)
        if changes := _changes(written, actual, others):
            yield Discrepancy(f"{role}-changed", name, place, f"the {role} {name}: {changes}", self._update)
        # fault: changed-guarantee
        if changes := _changes(written, actual, promises):
            what = f"the guarantee of {name} changed: {changes}"
            yield Discrepancy(
                "guarantee-changed", name, place, what, f"If the document is right: restore the option. {self._update}"
            )

    # Planned events

    def _planned(self) -> Iterator[Discrepancy]:
        planned = list(planned_events(self._document))
        types = {
            name: each.type for each in self._catalog.events for name in (each.place.rpartition(":")[2], each.type)
        }
        for each in planned:
            if each.name in types:
                yield from self._planned_event(each, types[each.name])
            else:
                what = f"the planned event {each.name} is not in the code"
                fix = "Declare the event class and include it in the app, or remove the line."
                yield Discrepancy("planned-event-not-in-code", each.name, self._at(each.line), what, fix)
        if self._written.plan:
            known = {types.get(each.name) for each in planned}
            for each in self._catalog.events:
                if each.type not in known:
                    yield self._only_in_code("event", each.type, "remove the event class from the app")

    def _planned_event(self, planned: PlannedEvent, type: str) -> Iterator[Discrepancy]:
        place, entry = self._at(planned.line), self._catalog.event(type)
        assert entry is not None
        producers = {each.name for each in self._catalog.producers_of(type)}
        consumers = {each.name for each in self._catalog.consumers_of(type)}
        for role, names, found in (
            ("producer", planned.producers, producers),
            ("consumer", planned.consumers, consumers),
        ):
            for name in names:
                if name not in found:
                    what = f"{name} is planned as a {role} of {type}, and is none in the code"
                    yield Discrepancy(
                        f"{role}-not-in-code", name, place, what, "Add it to the code, or correct the line."
                    )
        if planned.version not in (0, entry.version):
            what = f"version {planned.version} of {type} is planned; the code has version {entry.version}"
            yield Discrepancy("version-changed", type, place, what, "Correct the line, or the version of the class.")

    # Generated parts

    def _parts(self, explained: set[str]) -> Iterator[Discrepancy]:
        """Yield the parts that are edited, missing or outdated.

        Args:
            explained: subjects with a discrepancy. Parts that are outdated because of them are not reported again.
        """
        written = self._document.parts()
        yield from self._edited(written.values())
        generated = generated_parts(self._actual, self._catalog, None)
        expected = {part.name: part.text for parts in generated.values() for part in parts if part.text is not None}
        for name, text in expected.items():
            if name not in written:
                if not explained and not self._section_is_missing(name, generated):
                    what = f"the generated part {name} is missing"
                    yield Discrepancy("part-missing", name, self._at(1), what, self._update)
            elif text != written[name].text and not written[name].is_edited and not _is_explained(name, explained):
                yield self._outdated(written[name], text)
        for name in written.keys() - expected.keys() - {"recommendation"}:
            if not explained:
                what = f"the generated part {name} is not generated any more"
                yield Discrepancy("part-outdated", name, self._at(written[name].line), what, self._update)

    def _section_is_missing(self, name: str, generated: Mapping[str, Sequence[Any]]) -> bool:
        title = next(title for title, parts in generated.items() if name in [each.name for each in parts])
        return title not in self._document.lines

    def _edited(self, parts: Iterable[WrittenPart]) -> Iterator[Discrepancy]:
        for each in parts:
            if each.is_edited:
                what = f"the generated part {each.name} was edited by hand"
                fix = f"Move your text outside of the markers, then overwrite the part: {self._command} --force"
                yield Discrepancy("part-edited", each.name, self._at(each.line), what, fix)

    def _outdated(self, part: WrittenPart, text: str) -> Discrepancy:
        old, new = part.text.splitlines(), text.splitlines()
        pairs = (number for number, (one, other) in enumerate(zip(old, new, strict=False)) if one != other)
        number = next(pairs, min(len(old), len(new)))
        before, after = ("".join(each[number : number + 1]) for each in (old, new))
        what = f"the part {part.name} is outdated. Document: {before or 'nothing'!r}. Code: {after or 'nothing'!r}"
        line = self._first_line(part) + number
        return Discrepancy("part-outdated", part.name, self._at(line), what, self._update)

    def _first_line(self, part: WrittenPart) -> int:
        """Return the number of the line on which the text of a part begins, after empty lines."""
        empty = 0
        while part.text and not self._lines[part.line - 1 + empty].strip():
            empty += 1
        return part.line + empty


def _is_explained(part: str, explained: set[str]) -> bool:
    if part.startswith("schema:"):
        return part.removeprefix("schema:") in {quote(each, safe=".") for each in explained}
    return bool(explained)


def _renamed(written: Iterable[EventFacts], actual: Iterable[EventFacts]) -> dict[str, str]:
    """Return the event types of a document that have another name in the code: a former name, or the same schema."""
    old = {each.type: each for each in written}
    new = {each.type: each for each in actual}
    gone, added = old.keys() - new.keys(), new.keys() - old.keys()
    found = {name: each for each in sorted(added) for name in new[each].former_names if name in gone}
    for name in sorted(gone - found.keys()):
        same = [each for each in sorted(added) if new[each].fingerprint == old[name].fingerprint]
        if len(same) == 1 and same[0] not in found.values():
            found[name] = same[0]
    return found


def _reduced(party: F, renamed: Mapping[str, str], common: set[str]) -> F:
    """Return a producer or consumer with those events only that are in the document and in the code."""
    events = sorted(renamed.get(each, each) for each in party.events)
    return replace(party, events=tuple(each for each in events if each in common))


def _changes(written: Any, actual: Any, names: Iterable[str]) -> str:
    """Return in words which facts differ; empty if none does."""
    before, after = asdict(written), asdict(actual)
    return "; ".join(
        f"{name.removesuffix('_s').replace('_', ' ')} is {_words(before[name])} in the document and "
        f"{_words(after[name])} in the code"
        for name in names
        if before[name] != after[name]
    )


def _words(value: Any) -> str:
    values = cast("tuple[object, ...]", value if isinstance(value, tuple) else (value,))
    return ", ".join(str(each) for each in values if each) or "none"
