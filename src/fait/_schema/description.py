"""The description of an event type: the JSON that its events have, in one canonical form.

A description contains neither Python types nor the JSON Schema of a library. Both change from version to version of
Python, msgspec and Pydantic, and a schema loses what it has no word for: to msgspec, a datetime is a string. JSON
Schemas of others are read into the same form, so that one comparison judges both.

Objects with named members are kept by name, and other types refer to them. The names are those of the classes. They
make a description readable and are no part of the fingerprint: two descriptions with the same structure have the same
fingerprint.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from itertools import zip_longest
from typing import Any, Literal, TypeAlias

from msgspec import UNSET, Struct, to_builtins

__all__ = [
    "Anything",
    "Array",
    "Boolean",
    "Choice",
    "Description",
    "FixedArray",
    "JsonMap",
    "JsonObject",
    "JsonType",
    "Member",
    "Null",
    "Number",
    "OneOf",
    "Opaque",
    "Reference",
    "Text",
    "canonical_json",
    "choices",
    "named_values",
    "one_of",
    "resolve",
]

_FINGERPRINT_VERSION = "f1"
"""Version of the canonical form. Increment it if the same type gets another fingerprint than before."""

_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False).encode

NumberType: TypeAlias = Literal["integer", "double", "decimal", "number"]


class _Type(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True, tag_field="kind"):
    """Base of all types; the tag is the word for the type in the JSON of a description."""


class Null(_Type, frozen=True, tag="null"):
    """The value null."""


class Boolean(_Type, frozen=True, tag="boolean"):
    """true or false."""


class Number(_Type, frozen=True, tag="number"):
    """A number.

    Attributes:
        type: an integer; a `double`, which is Python's float; a `decimal`, which is a string in JSON; or any `number`,
            which only JSON Schemas of others have.
        minimum: lower bound, inclusive.
        exclusive_minimum: lower bound, exclusive.
        maximum: upper bound, inclusive.
        exclusive_maximum: upper bound, exclusive.
        multiple_of: every value is a multiple of this.
        max_digits: maximum number of digits of a decimal.
        decimal_places: maximum number of digits after the point of a decimal.
    """

    type: NumberType = "integer"
    minimum: int | float | None = None
    exclusive_minimum: int | float | None = None
    maximum: int | float | None = None
    exclusive_maximum: int | float | None = None
    multiple_of: int | float | None = None
    max_digits: int | None = None
    decimal_places: int | None = None


class Text(_Type, frozen=True, tag="text"):
    """A string.

    Attributes:
        format: what the string encodes, such as `date-time`, `uuid`, `duration` or `base64`; empty for plain text.
        min_length: minimum length in characters; of bytes, in bytes.
        max_length: maximum length, likewise.
        pattern: regular expression that a part of the string matches.
    """

    format: str = ""
    min_length: int = 0
    max_length: int | None = None
    pattern: str | None = None


class Choice(_Type, frozen=True, tag="choice"):
    """One of several constants of one JSON type, sorted: the values of an enum or a literal.

    Attributes:
        values: the constants.
        names: the name of each value in its enum, "" in a literal; empty if there are no names. They are no part of the
            fingerprint. Exchanged values of two members have no other trace.
    """

    values: tuple[Any, ...]
    names: tuple[str, ...] = ()


class Array(_Type, frozen=True, tag="array"):
    """An array of members of one type; `unique` for a set."""

    items: "JsonType"
    min_items: int = 0
    max_items: int | None = None
    unique: bool = False


class FixedArray(_Type, frozen=True, tag="tuple"):
    """An array with a type for each place: a tuple, a NamedTuple or a Struct with `array_like`.

    Attributes:
        items: the types, in order.
        optional: how many of the last items may be absent.
        rest: the type of further items; None if there are none.
        names: the names of the fields that the items are; empty for a tuple. Exchanged fields of one type have no other
            trace.
    """

    items: "tuple[JsonType, ...]"
    optional: int = 0
    rest: "JsonType | None" = None
    names: tuple[str, ...] = ()


class JsonMap(_Type, frozen=True, tag="map"):
    """An object with any names: a dict. `keys` are strings."""

    keys: "JsonType"
    values: "JsonType"
    min_size: int = 0
    max_size: int | None = None


class Member(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A member of an object: a field.

    Attributes:
        type: its type.
        required: whether it must be there when an event is read.
        default: the value of an absent member, as JSON; UNSET if there is none or it is computed.
        omitted: the writer leaves it out if it has its default.
        omitted_if_decoded: the writer leaves out the default of an instance that was decoded from JSON without it. It
            is no part of the fingerprint.
        field: the name of the field in its class, if that is not its name in JSON. It is no part of the fingerprint.
            Exchanged names in JSON of two fields have no other trace.
    """

    type: "JsonType"
    required: bool = True
    default: Any = UNSET
    omitted: bool = False
    omitted_if_decoded: bool = False
    field: str = ""

    @property
    def may_be_omitted(self) -> bool:
        """Whether a writer may leave it out if it has its default."""
        return self.omitted or self.omitted_if_decoded

    @property
    def may_be_absent(self) -> bool:
        """Whether a reader can do without it."""
        return not self.required or self.default is not UNSET


class JsonObject(_Type, frozen=True, tag="object"):
    """An object with named members: a record.

    Attributes:
        members: the members by name, sorted.
        extra: the type of other members, which are kept; None if there are none, or if readers ignore them.
        strict: whether readers refuse other members.
    """

    members: dict[str, Member]
    extra: "JsonType | None" = None
    strict: bool = False


class OneOf(_Type, frozen=True, tag="union"):
    """A value of one of several types, sorted; without types there is no such value."""

    types: "tuple[JsonType, ...]"


class Anything(_Type, frozen=True, tag="anything"):
    """Any JSON value."""


class Reference(_Type, frozen=True, tag="reference"):
    """The object, or the array of a record, with this name in the description."""

    name: str


class Opaque(_Type, frozen=True, tag="opaque"):
    """A part of a JSON Schema that is not understood, so nothing is known of it.

    Attributes:
        keyword: the keyword that is not understood.
    """

    keyword: str


JsonType: TypeAlias = (
    Null
    | Boolean
    | Number
    | Text
    | Choice
    | Array
    | FixedArray
    | JsonMap
    | JsonObject
    | OneOf
    | Anything
    | Reference
    | Opaque
)


class Description(Struct, frozen=True, forbid_unknown_fields=True):
    """The JSON of an event type in canonical form; see `describe`.

    It can be encoded as JSON with msgspec and decoded again.

    Attributes:
        root: the type of the whole value.
        records: the objects that types refer to, by the names of their classes.
    """

    root: JsonType
    records: dict[str, JsonObject | FixedArray]

    @property
    def fingerprint(self) -> str:
        """A short hash of the structure: equal for equal structures, whatever the names of classes."""
        from hashlib import sha256  # slow to import

        def digest(value: object) -> str:
            return sha256(canonical_json(value).encode()).hexdigest()[:16]

        digests: dict[str, str] = _Digests(self.records, digest)
        try:
            root = _canonical(self.root, digests)
        except _Cycle:
            digests = _cyclic_digests(self.records, digest)
            root = _canonical(self.root, digests)
        # The records are part of it: the digest of the root alone covers only as many levels as there were rounds.
        # fault: fingerprint-of-the-root
        content = [root, sorted(set(digests.values()))]
        return f"{_FINGERPRINT_VERSION}:{digest(content)}"


class _Cycle(Exception):
    """A record refers to itself."""


class _Digests(dict[str, str]):
    """Digests of records without names, computed when they are first needed. Records must not refer to themselves."""

    def __init__(self, records: Mapping[str, "JsonObject | FixedArray"], digest: Callable[[object], str]) -> None:
        self._records = records
        self._digest = digest
        self._open: set[str] = set()

    def __missing__(self, name: str) -> str:
        if name in self._open:
            raise _Cycle
        self._open.add(name)
        self[name] = self._digest(_canonical(self._records[name], self))
        return self[name]


def _cyclic_digests(
    records: Mapping[str, "JsonObject | FixedArray"], digest: Callable[[object], str]
) -> dict[str, str]:
    """Return digests of records that may refer to themselves.

    Each round covers one more level of references. It ends when a round distinguishes no more records than the one
    before, so the number of rounds depends only on the structure.
    """
    digests, distinct = dict.fromkeys(records, ""), 1
    while True:
        digests = {name: digest(_canonical(record, digests)) for name, record in records.items()}
        if len(set(digests.values())) <= distinct:
            return digests
        distinct = len(set(digests.values()))


def _canonical(node: JsonType, digests: Mapping[str, str]) -> Any:
    """Return a type as plain JSON data with digests in place of names."""
    match node:
        case Reference():
            return digests[node.name]
        case OneOf():
            return ["union", *sorted((_canonical(each, digests) for each in node.types), key=canonical_json)]
        case Array():
            limits = node.min_items, node.max_items, node.unique
            return ["array", _canonical(node.items, digests), *limits]
        case FixedArray():
            rest = None if node.rest is None else _canonical(node.rest, digests)
            return ["tuple", [_canonical(each, digests) for each in node.items], node.optional, rest, list(node.names)]
        case JsonMap():
            types = _canonical(node.keys, digests), _canonical(node.values, digests)
            return ["map", *types, node.min_size, node.max_size]
        case JsonObject():
            extra = None if node.extra is None else _canonical(node.extra, digests)
            members = [_canonical_member(name, node.members[name], digests) for name in sorted(node.members)]
            return ["object", members, extra, node.strict]
        case Choice():
            return to_builtins(Choice(node.values))
        case _:
            return to_builtins(node)


def _canonical_member(name: str, member: Member, digests: Mapping[str, str]) -> list[Any]:
    default = [] if member.default is UNSET else [member.default]
    return [name, _canonical(member.type, digests), member.required, default, member.omitted]


def canonical_json(value: object) -> str:
    """Return plain data as JSON text: the same text for the same data, in every version of Python."""
    return _encode(value)


def resolve(description: Description, node: JsonType) -> JsonType:
    """Return the type that a reference stands for; other types as they are."""
    return description.records[node.name] if isinstance(node, Reference) else node


def choices(values: Iterable[Any], names: Iterable[str] = ()) -> JsonType:
    """Return the type of these constants, which may have several JSON types; those of an enum have names."""
    return one_of(
        Null() if value is None else Choice((_exact(value),), (name,) if name else ())
        for value, name in zip_longest(values, names, fillvalue="")
    )


def _exact(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def one_of(types: Iterable[JsonType]) -> JsonType:
    """Return the type of values of any of these types, in canonical form: flat, sorted, without duplicates.

    Constants of one JSON type become one choice. A type without limits absorbs the constants of its JSON type.
    """
    parts = list(_flattened(types))
    if any(isinstance(each, Anything) for each in parts):
        return Anything()
    constants = [pair for each in parts if isinstance(each, Choice) for pair in named_values(each).items()]
    absorbed = (str if Text() in parts else None, int if Number() in parts else None)
    kept = [(value, name) for value, name in constants if type(value) not in absorbed]
    others = [each for each in parts if not isinstance(each, Choice)]
    distinct = {canonical_json(to_builtins(each)): each for each in (*others, *_grouped(kept))}
    members = tuple(distinct[text] for text in sorted(distinct))
    return members[0] if len(members) == 1 else OneOf(members)


def _flattened(types: Iterable[JsonType]) -> Iterable[JsonType]:
    for each in types:
        yield from _flattened(each.types) if isinstance(each, OneOf) else (each,)


def named_values(node: Choice) -> dict[Any, str]:
    """Return the name of each constant, "" if it has none."""
    return dict(zip_longest(node.values, node.names, fillvalue=""))


def _grouped(constants: list[tuple[Any, str]]) -> Iterable[Choice]:
    by_type: dict[str, dict[str, tuple[Any, str]]] = {}
    for value, name in constants:
        by_type.setdefault(type(value).__name__, {})[canonical_json(value)] = value, name
    for texts in by_type.values():
        values, names = zip(*(texts[text] for text in sorted(texts)), strict=True)
        yield Choice(values, names if any(names) else ())
