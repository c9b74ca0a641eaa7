"""Compares two descriptions of an event type, or two JSON Schemas: which changes does a reader survive, and which not?

One function judges one pair of types, the writer's and the reader's; `backward` and `forward` exchange the two. Rules:

* The writer writes only members that it names. The reader ignores others, unless it refuses them.
* A reader that gets a wider type than the writer's reads every value, and one with a narrower type does not.
* Values of a member that the new version no longer has are lost, so that must be declared; for an old reader, that is
  the normal case.

The table of all changes with their verdicts is `tests/schema/test_compare.py`.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any, Final, Literal, NamedTuple

from msgspec import UNSET

from fait._schema.acceptance import accepts
from fait._schema.breaking import breaking_value
from fait._schema.description import (
    Anything,
    Array,
    Boolean,
    Choice,
    Description,
    FixedArray,
    JsonMap,
    JsonObject,
    JsonType,
    Member,
    Null,
    Number,
    OneOf,
    Opaque,
    Reference,
    Text,
    canonical_json,
    named_values,
    resolve,
)
from fait._schema.difference import Difference, Direction, Rule, Verdict, reversed_rule
from fait._schema.limits import compare_limits, is_exact_as_double
from fait._schema.overlap import json_type_of, may_be_both
from fait._schema.read_json_schema import read_json_schema
from fait._schema.samples import NoSample, simplest

__all__ = ["compare", "in_words"]

Schema = Description | Mapping[str, Any]


def compare(old: Schema, new: Schema, direction: Direction = "backward") -> list[Difference]:
    """Return the differences between two versions of an event type.

    Of JSON Schemas, every keyword counts that says something about a value. A keyword that is not understood makes the
    part that contains it incompatible.

    Args:
        old: the earlier version: a description, or a JSON Schema as plain data.
        new: the later version, likewise.
        direction: `backward`: can the new version read data of the old one? `forward`: can the old version read data of
            the new one? `full`: both, one after the other.

    Returns:
        The differences in the order of their paths, also those that every reader survives; `worst_verdict` sums them
        up. Empty if both versions allow the same values.

    Raises:
        UsageError: a JSON Schema is not valid.
    """
    if old == new:
        return []
    before, after = _description(old), _description(new)
    found: list[Difference] = []
    if direction != "forward":
        found += _Comparison(before, after, "backward").run()
    if direction != "backward":
        found += _Comparison(after, before, "forward").run()
    return found


def _description(schema: Schema) -> Description:
    return schema if isinstance(schema, Description) else read_json_schema(schema)


_ABSENT: Final = object()
"""In place of a value: the event does not have the member."""


class _Place(NamedTuple):
    """A place in the compared types.

    Attributes:
        path: its path.
        around: returns the whole event that has a value there.
    """

    path: str
    around: Callable[[Any], Any]

    def inside(self, step: str, around: Callable[[Any], Any]) -> "_Place":
        def event_around(value: Any) -> Any:
            return self.around(around(value))

        return _Place(self.path + step, event_around)


def _same(value: Any) -> Any:
    return value


class _Comparison:
    def __init__(self, writer: Description, reader: Description, direction: Literal["backward", "forward"]) -> None:
        self._writer = writer
        self._reader = reader
        self._direction: Literal["backward", "forward"] = direction
        self._found: list[Difference] = []
        self._seen: set[tuple[str, str]] = set()

    def run(self) -> list[Difference]:
        """Compare the roots."""
        self._types(self._writer.root, self._reader.root, _Place("$", _same))
        return self._found

    def _add(self, place: _Place, rule: Rule, verdict: Verdict, explanation: str, value: Any = UNSET) -> None:
        backward = self._direction == "backward"
        names = ("old", "new") if backward else ("new", "old")
        self._found.append(
            Difference(
                path=place.path,
                rule=rule if backward else reversed_rule(rule),
                verdict=verdict,
                explanation=explanation.replace("{writer}", f"the {names[0]} version").replace(
                    "{reader}", f"the {names[1]} version"
                ),
                direction=self._direction,
                value=UNSET if value is UNSET or verdict is Verdict.READABLE else self._event(place, value, verdict),
            )
        )

    def _event(self, place: _Place, value: Any, verdict: Verdict) -> Any:
        """Return an event with this value, if the writer may write it and the reader does not read it."""
        with suppress(NoSample):
            event = place.around(value)
            lost = verdict is Verdict.DECLARE or not accepts(self._reader.records, self._reader.root, event)
            if lost and accepts(self._writer.records, self._writer.root, event):
                return event
        return UNSET

    def _refuse(self, place: _Place, rule: Rule, explanation: str, types: tuple[JsonType, JsonType]) -> None:
        """Add a difference with a value of the first type that the second one refuses."""
        value = breaking_value(self._writer, types[0], self._reader, types[1])
        self._add(place, rule, Verdict.CONVERT, explanation, value)

    def _types(self, one: JsonType, other: JsonType, place: _Place) -> None:
        """Compare a type of the writer with the type of the reader in its place."""
        if isinstance(one, Reference) and isinstance(other, Reference):
            pair = one.name, other.name
            if pair in self._seen:
                return
            self._seen.add(pair)
        one, other = resolve(self._writer, one), resolve(self._reader, other)
        if one == other and isinstance(one, Number | Text | Null | Boolean | Choice):
            return
        opaque = next((each for each in (one, other) if isinstance(each, Opaque)), None)
        if opaque is not None:
            text = f"the keyword {opaque.keyword!r} is not understood, so it counts as incompatible"
            self._add(place, "not-understood", Verdict.UNKNOWN, text)
        elif isinstance(other, Anything):
            if not isinstance(one, Anything):
                self._add(place, "type-widened", Verdict.READABLE, "{reader} accepts any value")
        elif isinstance(one, OneOf) or isinstance(other, OneOf):
            self._alternatives(one, other, place)
        elif json_type_of(one) != json_type_of(other):
            rule: Rule = "type-narrowed" if isinstance(one, Anything) else "type-changed"
            self._refuse(
                place, rule, f"{{writer}} writes {in_words(one)}, {{reader}} expects {in_words(other)}", (one, other)
            )
        else:
            self._same_json_type(one, other, place)

    def _same_json_type(self, one: JsonType, other: JsonType, place: _Place) -> None:
        match one, other:
            case (Null(), _) | (Boolean(), Boolean()):
                return
            case (Choice(), _) | (_, Choice()):
                self._constants(one, other, place)
            case Number(), Number():
                self._numbers(one, other, place)
            case (Text() | Number(), Text() | Number()):
                self._strings(one, other, place)
            case Array(), Array():
                self._types(one.items, other.items, place.inside("[]", lambda value: _array_of(value, one)))
                self._limits(one, other, place)
            case FixedArray(), FixedArray():
                self._tuples(one, other, place)
            case JsonMap(), JsonMap():
                self._maps(one, other, place)
            case JsonObject(), JsonObject():
                self._objects(one, other, place)
            case _:
                text = f"{{writer}} writes {in_words(one)}, {{reader}} expects {in_words(other)}"
                self._refuse(place, "type-changed", text, (one, other))

    def _constants(self, one: JsonType, other: JsonType, place: _Place) -> None:
        if not isinstance(one, Choice):
            text = f"{{reader}} accepts only some values of {in_words(one)}"
            self._refuse(place, "values-removed", text, (one, other))
            return
        refused = [each for each in one.values if not accepts(self._reader.records, other, each)]
        if refused or (isinstance(other, Text) and other.format):
            text = f"{{reader}} does not have {', '.join(map(canonical_json, refused or one.values))}"
            self._refuse(place, "values-removed", text, (one, other))
        if not isinstance(other, Choice) or set(other.values) - set(one.values):
            self._add(place, "values-added", Verdict.READABLE, "{reader} has more values")
        if isinstance(other, Choice):
            for value, was, now in _moved(named_values(one), named_values(other)):
                text = f"{canonical_json(value)} is {was} in {{writer}} and {now or 'unnamed'} in {{reader}}"
                self._add(place, "meaning-changed", Verdict.CONVERT, text)

    def _numbers(self, one: Number, other: Number, place: _Place) -> None:
        if other.type == "integer" != one.type:
            self._refuse(place, "type-narrowed", "{reader} refuses fractions", (one, other))
        elif one.type == "integer" and other.type != "integer":
            self._widened(one, other, place)
        self._limits(one, other, place)

    def _widened(self, one: Number, other: Number, place: _Place) -> None:
        # fault: integers-widened-to-doubles
        if other.type == "number" or is_exact_as_double(one):
            self._add(place, "type-widened", Verdict.READABLE, "{reader} accepts fractions")
        else:
            value = breaking_value(self._writer, one, self._reader, Number("double"))
            text = "{reader} has a float, which holds integers exactly only up to 2**53"
            self._add(place, "type-widened", Verdict.TRUST, text, value)

    def _strings(self, one: Text | Number, other: Text | Number, place: _Place) -> None:
        if isinstance(one, Number) and isinstance(other, Number):
            self._limits(one, other, place)
            return
        written, read = _format_of(one), _format_of(other)
        if read and read != written:
            rule: Rule = "format-changed" if written else "format-added"
            self._refuse(place, rule, f"{{reader}} expects {in_words(other)}, not {in_words(one)}", (one, other))
            return
        if read != written:
            self._add(place, "format-removed", Verdict.READABLE, f"{{reader}} reads {in_words(one)} as text")
        self._limits(one if read == written else Text(), other, place)

    def _limits(self, one: JsonType, other: JsonType, place: _Place) -> None:
        for name, change in compare_limits(one, other):
            if change == "looser":
                self._add(place, "limit-loosened", Verdict.READABLE, f"{{reader}} allows more: {name}")
            else:
                value = breaking_value(self._writer, one, self._reader, other)
                text = f"{{reader}} refuses some values of {{writer}}: {name}"
                self._add(place, "limit-tightened", Verdict.TRUST, text, value)

    def _tuples(self, one: FixedArray, other: FixedArray, place: _Place) -> None:
        if len(one.items) != len(other.items) or other.optional < one.optional or (one.rest and not other.rest):
            self._refuse(place, "type-changed", "{reader} expects another number of items", (one, other))
            return
        # fault: exchanged-items
        if one.names != other.names and one.names and other.names:
            text = f"the items {', '.join(one.names)} of {{writer}} are {', '.join(other.names)} in {{reader}}"
            self._add(place, "meaning-changed", Verdict.CONVERT, text)
        for index, (mine, theirs) in enumerate(zip(one.items, other.items, strict=True)):
            self._types(mine, theirs, place.inside(f"[{index}]", self._item_setter(one, index)))
        if one.rest and other.rest:
            self._types(one.rest, other.rest, place.inside("[]", self._item_setter(one, len(one.items))))
        elif other.optional > one.optional or other.rest:
            self._add(place, "type-widened", Verdict.READABLE, "{reader} accepts other numbers of items")

    def _item_setter(self, node: FixedArray, index: int) -> Callable[[Any], Any]:
        def with_item(value: Any) -> list[Any]:
            full = [simplest(self._writer.records, each) for each in node.items]
            return [*full[:index], value, *full[index + 1 :]]

        return with_item

    def _maps(self, one: JsonMap, other: JsonMap, place: _Place) -> None:
        def with_value(value: Any) -> dict[str, Any]:
            return {**simplest(self._writer.records, one), simplest(self._writer.records, one.keys): value}

        def with_key(key: Any) -> dict[str, Any]:
            return {**simplest(self._writer.records, one), key: simplest(self._writer.records, one.values)}

        self._types(one.keys, other.keys, place.inside("{key}", with_key))
        self._types(one.values, other.values, place.inside(".*", with_value))
        self._limits(one, other, place)

    def _objects(self, one: JsonObject, other: JsonObject, place: _Place) -> None:
        for name in sorted(one.members.keys() | other.members.keys()):
            inside = place.inside(f".{name}", self._member_setter(one, name))
            written, read = one.members.get(name), other.members.get(name)
            if written is None:
                assert read is not None
                self._added(name, read, one, inside)
            elif read is None:
                self._removed(name, written, (one, other), inside)
            else:
                self._types(written.type, read.type, inside)
                self._presence(name, written, read, inside)
        for name, was, now in _moved(_field_names(one), _field_names(other)):
            text = f"{name} holds {was} in {{writer}} and {now} in {{reader}}"
            self._add(place.inside(f".{name}", _same), "meaning-changed", Verdict.CONVERT, text)
        if one.extra is not None or other.extra is not None:
            self._extra(one, other, place.inside(".*", self._member_setter(one, "another_member")))

    def _member_setter(self, node: JsonObject, name: str) -> Callable[[Any], Any]:
        def with_member(value: Any) -> dict[str, Any]:
            others = {each: part for each, part in simplest(self._writer.records, node).items() if each != name}
            return others if value is _ABSENT else {**others, name: value}

        return with_member

    def _added(self, name: str, read: Member, one: JsonObject, place: _Place) -> None:
        if one.extra is not None:
            self._types(one.extra, read.type, place)
        if read.may_be_absent:
            how = "optional" if read.default is UNSET else f"read as {canonical_json(read.default)} where it is absent"
            self._add(place, "member-added", Verdict.READABLE, f"{name} is {how}")
        else:
            self._without(place, "member-added", f"{{reader}} requires {name}, which {{writer}} does not have")

    def _without(self, place: _Place, rule: Rule, explanation: str) -> None:
        """Add a difference that an event without the member shows."""
        self._add(place, rule, Verdict.CONVERT, explanation, _ABSENT)

    def _removed(self, name: str, written: Member, objects: tuple[JsonObject, JsonObject], place: _Place) -> None:
        one, other = objects
        if other.extra is not None:
            self._types(written.type, other.extra, place)
            return
        value: Any = UNSET
        with suppress(NoSample):
            value = simplest(self._writer.records, written.type)
        if other.strict:
            text = f"{{reader}} refuses events with {name}"
            self._add(place, "member-removed", Verdict.CONVERT, text, value)
        elif self._direction == "forward":
            self._add(place, "member-removed", Verdict.READABLE, f"{{reader}} ignores {name}")
        else:
            added = [each for each in other.members if each not in one.members]
            alike = [each for each in added if other.members[each].type == written.type]
            hint = f"; was it renamed to {' or '.join(alike)}?" if alike else ""
            text = f"{{reader}} does not have {name}: its values would be lost silently{hint}"
            self._add(place, "member-removed", Verdict.DECLARE, text, value)

    def _presence(self, name: str, written: Member, read: Member, place: _Place) -> None:
        if not written.required and read.required:
            if read.may_be_absent:
                self._add(place, "required", Verdict.READABLE, f"{name} is required, and has a default")
            else:
                self._without(place, "required", f"{{reader}} requires {name}, which {{writer}} may leave out")
        elif written.required and not read.required:
            self._add(place, "optional", Verdict.READABLE, f"{name} may be absent")
        self._defaults(name, written, read, place)

    def _defaults(self, name: str, written: Member, read: Member, place: _Place) -> None:
        before, after = (UNSET if each.default is UNSET else canonical_json(each.default) for each in (written, read))
        if before == after:
            return
        if before is UNSET:
            self._add(place, "default-added", Verdict.READABLE, f"{name} is read as {after} where it is absent")
        elif after is not UNSET:
            # fault: omitted-default
            verdict = Verdict.CONVERT if written.may_be_omitted else Verdict.READABLE
            text = f"where {name} is absent, it was {before} and is read as {after}"
            self._add(place, "default-changed", verdict, text)
        elif written.required or not read.required:
            verdict = Verdict.READABLE if written.required else Verdict.CONVERT
            self._add(place, "default-removed", verdict, f"where {name} is absent, it was {before}")

    def _extra(self, one: JsonObject, other: JsonObject, place: _Place) -> None:
        if one.extra is None:
            self._add(place, "member-added", Verdict.READABLE, "{reader} keeps members that it does not name")
        elif other.extra is not None:
            self._types(one.extra, other.extra, place)
        elif self._direction == "forward" and not other.strict:
            self._add(place, "member-removed", Verdict.READABLE, "{reader} ignores members that it does not name")
        else:
            verdict = Verdict.CONVERT if other.strict else Verdict.DECLARE
            text = "{reader} does not keep members that it does not name"
            self._add(place, "member-removed", verdict, text, simplest(self._writer.records, one.extra))

    def _alternatives(self, one: JsonType, other: JsonType, place: _Place) -> None:
        written = one.types if isinstance(one, OneOf) else (one,)
        read = other.types if isinstance(other, OneOf) else (other,)
        used: list[JsonType] = []
        for each in written:
            options = self._options(each, read)
            used += options
            if not options:
                text = f"{{reader}} does not have the alternative {in_words(resolve(self._writer, each))}"
                self._refuse(place, "alternative-removed", text, (each, other))
            elif len(options) == 1:
                self._types(each, options[0], place)
            else:
                self._ambiguous(each, options, written, place)
        for each in read:
            if each not in used:
                text = f"{{reader}} also accepts {in_words(resolve(self._reader, each))}"
                self._add(place, "alternative-added", Verdict.READABLE, text)

    def _options(self, each: JsonType, read: tuple[JsonType, ...]) -> list[JsonType]:
        """Return the alternatives that may read a value of a type."""
        mine = resolve(self._writer, each)
        options = [option for option in read if may_be_both(mine, resolve(self._reader, option))]
        # msgspec takes 2 for one of the constants although a float could hold it.
        # fault: integer-for-a-constant
        if isinstance(mine, Number) and not (mine.type == "double" and any(isinstance(o, Choice) for o in options)):
            same: list[JsonType] = [each for each in options if isinstance(each, Number) and each.type == mine.type]
            return same or options
        return options

    def _ambiguous(self, each: JsonType, options: list[JsonType], written: tuple[JsonType, ...], place: _Place) -> None:
        """Compare with several alternatives: the choice between them must be the one that the writer had."""
        # fault: ambiguous-alternatives
        known = [option for option in options if any(not self._differences(mine, option, place) for mine in written)]
        if known != options or all(self._differences(each, option, place) for option in options):
            text = f"several alternatives of {{reader}} may read {in_words(resolve(self._writer, each))}"
            self._add(place, "type-changed", Verdict.CONVERT, text)

    def _differences(self, one: JsonType, other: JsonType, place: _Place) -> list[Difference]:
        trial = _Comparison(self._writer, self._reader, self._direction)
        trial._seen = set(self._seen)
        trial._types(one, other, place)
        return trial._found


def _moved(written: Mapping[Any, str], read: Mapping[Any, str]) -> Iterator[tuple[Any, str, str]]:
    """Yield each key whose name belongs to another key of the reader, with its two names.

    A name that the reader does not have was changed, which is harmless.
    """
    names = {*read.values()} - {""}
    # fault: moved-names
    yield from ((key, was, read[key]) for key, was in written.items() if was in names and read.get(key, was) != was)


def _field_names(node: JsonObject) -> dict[str, str]:
    return {name: member.field or name for name, member in node.members.items()}


def _array_of(value: Any, node: Array) -> list[Any]:
    return [value] * max(1, node.min_items)


def _format_of(node: Text | Number) -> str:
    return node.format if isinstance(node, Text) else "decimal"


def in_words(node: JsonType) -> str:
    """Return a type in words, for explanations."""
    match node:
        case Number():
            return {"integer": "an integer", "double": "a float", "decimal": "a decimal", "number": "a number"}[
                node.type
            ]
        case Text():
            return node.format or "text"
        case Choice():
            return " or ".join(map(canonical_json, node.values))
        case Array():
            return "a set" if node.unique else "an array"
        case Anything():
            return "any value"
        case OneOf():
            return "one of several types"
        case Null():
            return "null"
        case Boolean():
            return "a boolean"
        case FixedArray():
            return "a tuple"
        case JsonMap():
            return "a dict"
        case _:
            return "an object"


_NUMBER_WORDS: Final = {"integer": "an integer", "double": "a float", "decimal": "a decimal", "number": "a number"}
