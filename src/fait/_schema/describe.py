"""Describes an event class: from its type hints, as resolved when the class was checked, to a `Description`.

Each kind of type has one function. A type that none of them knows is refused with its path: a description that leaves
something out would call a change readable that is not.
"""

import types
import typing
from collections.abc import Iterator, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Final, Literal, NamedTuple, TypeVar, Union, cast, get_args, get_origin
from uuid import UUID

import msgspec
from msgspec import NODEFAULT, UNSET, Meta, UnsetType
from msgspec.structs import replace

from fait._errors import DeclarationError, UsageError
from fait._events.event import event_type
from fait._events.record import (
    RecordField,
    Unknown,
    Unresolved,
    bytes_format_of,
    custom_json_of,
    fields_of,
    is_record,
    json_form_of,
    kind_of,
    omits_default_if_decoded,
    omits_defaults,
    types_of,
    unknown_members_of,
    unknown_members_of_config,
)
from fait._events.validation import FREE_FORM
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
    Reference,
    Text,
    canonical_json,
    choices,
    one_of,
)

__all__ = ["describe"]


def describe(cls: type) -> Description:
    """Return the description of an event class: the JSON of its events, in a canonical form.

    It does not depend on the versions of Python, msgspec and Pydantic, on the library that made the class, on the names
    of classes, or on the order of fields. Code that runs when an event is created, such as `__post_init__`, is no part
    of it.

    Types with a description: bool, int, float, Decimal, str, bytes, date, time, datetime, timedelta, UUID, None, enums,
    literals, `fait.Json`; lists, tuples, sets and dicts of these, unions, records, new types and aliases; limits by
    `msgspec.Meta`, and in Pydantic models by `Field`. A serializer or a computed field of Pydantic has none.

    Args:
        cls: an event class, declared with `fait.event` or `fait.describe`.

    Raises:
        UsageError: the class is not declared as an event.
        DeclarationError: JSON cannot store its types, or a type has no description.
    """
    declared = event_type(cls)
    if declared is None:
        raise UsageError(f"{cls.__qualname__} is not declared as an event: use @fait.event(...)")
    declared.check()
    walk = _Walk(declared.name)
    root = walk.record(cls, {}, _Site("$", bytes_format="base64", pydantic=False))
    return Description(root, walk.records)


class _Site(NamedTuple):
    """A place in an event class.

    Attributes:
        path: the path of its JSON, for error messages.
        bytes_format: how bytes are encoded there.
        pydantic: whether it is in a Pydantic model.
        unknown: what that model does with members that are no fields: Pydantic applies it to dataclasses inside, too.
    """

    path: str
    bytes_format: str
    pydantic: bool
    unknown: Unknown = "ignored"

    def inside(self, step: str) -> "_Site":
        return self._replace(path=self.path + step)


class _Walk:
    def __init__(self, event: str) -> None:
        self.records: dict[str, JsonObject | FixedArray] = {}
        self._event = event
        self._names: dict[object, str] = {}
        self._open_aliases: list[str] = []

    def _error(self, site: _Site, reason: str) -> DeclarationError:
        return DeclarationError(
            f"event {self._event!r} cannot be described: {site.path}: {reason}. Without a description, changes of the "
            "event cannot be checked: use one of the types that help(fait.schema.describe) lists."
        )

    def record(self, cls: Any, bound: Mapping[Any, Any], site: _Site) -> JsonType:
        """Describe a record class, once, and return a reference to it."""
        key = (cls, str(bound), site.bytes_format, site.unknown)
        if key not in self._names:
            self._names[key] = name = self._free_name(_record_name(cls, bound))
            self.records[name] = JsonObject({})  # its place, until its fields are known: they may refer to it
            self.records[name] = self._describe_record(cls, bound, site)
        return Reference(self._names[key])

    def _free_name(self, wanted: str) -> str:
        taken = sum(name == wanted or name.startswith(f"{wanted} ") for name in self.records)
        return f"{wanted} {taken + 1}" if taken else wanted

    def _describe_record(self, cls: Any, bound: Mapping[Any, Any], site: _Site) -> JsonObject | FixedArray:
        if kind_of(cls) == "pydantic":
            if reason := custom_json_of(cls):
                raise self._error(site, f"{cls.__qualname__} has {reason}, so its types do not determine its JSON")
            unknown = unknown_members_of(cls)
            site = site._replace(pydantic=True, bytes_format=bytes_format_of(cls), unknown=unknown)
        members = dict(self._members(cls, bound, site))
        tag_field, tag, is_array = json_form_of(cls) or ("", None, kind_of(cls) == "named_tuple")
        if is_array:
            tags = () if tag is None else (Choice((tag,)),)
            optional = sum(not each.required for each in members.values())
            return FixedArray((*tags, *(each.type for each in members.values())), optional, names=(*members,))
        if tag is not None:
            members[tag_field] = Member(Choice((tag,)))
        unknown = _unknown_members(cls, site)
        in_order = {name: members[name] for name in sorted(members)}
        return JsonObject(in_order, Anything() if unknown == "kept" else None, unknown == "refused")

    def _members(self, cls: Any, bound: Mapping[Any, Any], site: _Site) -> Iterator[tuple[str, Member]]:
        kinds = types_of(cls, lambda _: None, bound)
        for field in fields_of(cls):
            inside = site.inside(f".{field.encoded_name}")
            if field.name not in kinds:
                raise self._error(inside, "the field has no annotation")
            kind, optional = _without_unset(kinds[field.name])
            required = field.required and not optional
            own_name = "" if field.name == field.encoded_name else field.name
            yield (
                field.encoded_name,
                Member(
                    self.type_of(kind, inside),
                    required,
                    _default(field, site),
                    omitted=omits_defaults(cls) and not required,
                    omitted_if_decoded=not site.pydantic and omits_default_if_decoded(cls, field),
                    field=own_name,
                ),
            )

    def type_of(self, kind: Any, site: _Site) -> JsonType:
        """Describe a type."""
        origin = get_origin(kind)
        if isinstance(kind, Unresolved):
            raise self._error(site, f"{kind.name} is not defined")
        if kind is Any:
            return Anything()
        if isinstance(kind, TypeVar):
            return self._variable(kind, site)
        if hasattr(kind, "__supertype__"):
            return self.type_of(kind.__supertype__, site)
        if type(origin or kind).__name__ == "TypeAliasType":
            return self._alias(kind, origin, site)
        if origin is not None:
            return self._form(kind, origin, site)
        return self._class(kind, site)

    def _variable(self, kind: Any, site: _Site) -> JsonType:
        if kind.__bound__ is None:
            raise self._error(site, f"the type variable {kind.__name__} is not bound")
        return self.type_of(kind.__bound__, site)

    def _alias(self, kind: Any, origin: Any, site: _Site) -> JsonType:
        if kind.__name__ == "JsonValue" and kind.__module__.startswith("pydantic"):
            return Anything()
        if str(kind) in self._open_aliases:
            raise self._error(
                site, f"the alias {kind} contains itself; use fait.Json, or a record that contains itself"
            )
        self._open_aliases.append(str(kind))
        result = self.type_of(kind.__value__ if origin is None else origin.__value__[get_args(kind)], site)
        self._open_aliases.pop()
        return result

    def _form(self, kind: Any, origin: Any, site: _Site) -> JsonType:
        args = get_args(kind)
        if origin is Annotated:
            return self._annotated(args[0], kind.__metadata__, site)
        if origin is Union or origin is types.UnionType:
            return one_of([self.type_of(arg, site) for arg in args])
        if origin is Literal:
            return choices(args)
        if origin in _WRAPPERS:
            return self.type_of(args[0], site)
        if origin is dict:
            return JsonMap(self._key(args[0], site.inside("{key}")), self.type_of(args[1], site.inside(".*")))
        if origin in _ARRAYS:
            return self._array(origin, args, site)
        if is_record(origin):
            return self.record(origin, dict(zip(origin.__parameters__, args, strict=False)), site)
        raise self._error(site, f"{kind} has no description")

    def _array(self, origin: Any, args: tuple[Any, ...], site: _Site) -> JsonType:
        if origin is tuple and Ellipsis not in args:
            return FixedArray(tuple(self.type_of(arg, site.inside(f"[{n}]")) for n, arg in enumerate(args)))
        return Array(self.type_of(args[0], site.inside("[]")), unique=origin in (set, frozenset))

    def _key(self, kind: Any, site: _Site) -> JsonType:
        described = self.type_of(kind, site)
        if described == Number():
            return Text("integer")
        if described == Number("decimal"):
            return Text("decimal")
        if isinstance(described, Choice):
            texts = [value if isinstance(value, str) else canonical_json(value) for value in described.values]
            return choices(texts, described.names)
        if isinstance(described, Text):
            return described
        raise self._error(site, f"{kind} has no description as a key")

    def _class(self, kind: Any, site: _Site) -> JsonType:
        if kind is bytes:
            return Text(site.bytes_format)
        if kind in _SCALARS:
            return _SCALARS[kind]
        if _is_enum(kind):
            return choices([member.value for member in kind], [member.name for member in kind])
        if is_record(kind):
            return self.record(kind, {}, site)
        if str(kind) == "<class 'pydantic.types.AwareDatetime'>":
            return Text("date-time")
        raise self._error(site, f"{getattr(kind, '__name__', kind)} has no description")

    def _annotated(self, inner: Any, marks: tuple[Any, ...], site: _Site) -> JsonType:
        if FREE_FORM in marks:
            return Anything()
        described = self.type_of(inner, site)
        for mark in marks:
            for name, value in self._limits(mark, site):
                described = self._limited(described, name, value, site)
        return described

    def _limits(self, mark: Any, site: _Site) -> Iterator[tuple[str, Any]]:
        """Yield the limits that an object in `Annotated` sets, by the names that msgspec and Pydantic share.

        msgspec reads only its own objects. Pydantic runs the code of others, so they are refused in a model.
        """
        if isinstance(mark, Meta):
            yield from ((name, getattr(mark, name)) for name in _LIMITS if getattr(mark, name, None) is not None)
        elif site.pydantic and type(mark).__name__ == "FieldInfo":
            for each in mark.metadata:
                yield from self._limits(each, site)
        elif site.pydantic and type(mark).__module__.startswith(("pydantic", "annotated_types")):
            yield from self._pydantic_limits(mark, site)
        elif site.pydantic and hasattr(mark, "__get_pydantic_core_schema__"):
            raise self._error(site, f"{type(mark).__name__} has no description")

    def _pydantic_limits(self, mark: Any, site: _Site) -> Iterator[tuple[str, Any]]:
        for name in cast("tuple[str, ...]", getattr(mark, "__slots__", None) or [*vars(mark)]):
            value = getattr(mark, name)
            if name in _LIMITS and value is not None:
                yield name, value
            elif name not in _WITHOUT_EFFECT and name not in _LIMITS and value not in (None, False):
                raise self._error(site, f"{type(mark).__name__}({name}=...) has no description")

    def _limited(self, node: JsonType, name: str, value: Any, site: _Site) -> JsonType:
        parts = node.types if isinstance(node, OneOf) else (node,)
        attributes = [_LIMITS[name].get(type(part)) for part in parts]
        if not any(attributes):
            raise self._error(site, f"{name}={value!r} has no meaning for this type")
        limit = _number(value) if isinstance(value, float | Decimal) else value
        return one_of(
            part if attribute is None else replace(part, **{attribute: limit})
            for part, attribute in zip(parts, attributes, strict=True)
        )


def _unknown_members(cls: Any, site: _Site) -> Unknown:
    declared, kind = event_type(cls), kind_of(cls)
    if declared is not None and declared.refuses_unknown_keys:  # an event with such a key is decoded again without it
        return "ignored"
    # fault: dataclass-inside-a-strict-model
    if site.pydantic and kind in ("dataclass", "typed_dict"):
        unknown = unknown_members_of_config(getattr(cls, "__pydantic_config__", None)) or site.unknown
        return "ignored" if (kind, unknown) == ("dataclass", "kept") else unknown
    return unknown_members_of(cls)


def _is_enum(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, Enum)


def _number(value: Any) -> int | float:
    return int(value) if value == int(value) else float(value)


def _record_name(cls: Any, bound: Mapping[Any, Any]) -> str:
    args = ", ".join(getattr(each, "__name__", str(each)) for each in bound.values())
    return f"{cls.__name__}[{args}]" if args else str(cls.__name__)


def _without_unset(kind: Any) -> tuple[Any, bool]:
    """Return a type without UNSET, and whether it had it: a field that may be absent."""
    args = get_args(kind)
    if get_origin(kind) not in (Union, types.UnionType) or UnsetType not in args:
        return kind, False
    return Union[tuple(arg for arg in args if arg is not UnsetType)], True  # noqa: UP007 - a computed union


def _default(field: RecordField, site: _Site) -> Any:
    """Return the default of a field as JSON; UNSET if there is none or a function of the application computes it."""
    value = field.default
    if field.factory is not None and getattr(field.factory, "__module__", "") == "builtins":
        value = field.factory()
    if value is NODEFAULT or value is UNSET:
        return UNSET
    plain = _pydantic_json(value) if site.pydantic else msgspec.json.decode(_encode(value))
    return sorted(cast("list[Any]", plain), key=canonical_json) if isinstance(value, set | frozenset) else plain


def _pydantic_json(value: Any) -> Any:
    from pydantic_core import to_jsonable_python

    return to_jsonable_python(value, by_alias=True)


_encode: Final = msgspec.json.Encoder(decimal_format="string").encode
_ARRAYS: Final = (list, tuple, set, frozenset)
_WRAPPERS: Final = tuple(
    getattr(typing, name) for name in ("Required", "NotRequired", "ReadOnly", "Final") if hasattr(typing, name)
)
_SCALARS: Final[Mapping[Any, JsonType]] = {
    type(None): Null(),
    bool: Boolean(),
    int: Number(),
    float: Number("double"),
    Decimal: Number("decimal"),
    str: Text(),
    datetime: Text("date-time"),
    date: Text("date"),
    time: Text("time"),
    timedelta: Text("duration"),
    UUID: Text("uuid"),
}
_WITHOUT_EFFECT: Final = frozenset({"strict", "discriminator", "tag", "custom_error_type", "allow_inf_nan"})
_LIMITS: Final[Mapping[str, Mapping[type, str]]] = {
    "ge": {Number: "minimum"},
    "gt": {Number: "exclusive_minimum"},
    "le": {Number: "maximum"},
    "lt": {Number: "exclusive_maximum"},
    "multiple_of": {Number: "multiple_of"},
    "max_digits": {Number: "max_digits"},
    "decimal_places": {Number: "decimal_places"},
    "min_length": {Text: "min_length", Array: "min_items", JsonMap: "min_size"},
    "max_length": {Text: "max_length", Array: "max_items", JsonMap: "max_size"},
    "pattern": {Text: "pattern"},
}
