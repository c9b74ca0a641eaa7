"""Random event types for the soundness search, and the changes that developers make to them.

A type is a tree of plain data, so that a change is a new tree with one other node. `event_class` makes a class of it,
with records of all libraries: those inside a Pydantic model are models, dataclasses or NamedTuples.
"""

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from random import Random
from typing import Annotated, Any, Literal, NamedTuple, NotRequired
from uuid import UUID

import attrs
import msgspec
import pydantic
from msgspec import NODEFAULT, Meta
from typing_extensions import TypedDict

import fait

__all__ = ["Record", "change", "event_class", "random_record"]


@dataclass(frozen=True)
class Scalar:
    """A type without parts, with limits by name."""

    kind: Any
    limits: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True)
class Constants:
    """A literal, or an enum."""

    values: tuple[Any, ...]
    is_enum: bool = False


@dataclass(frozen=True)
class Many:
    """A list, a set, a tuple of any length, or a dict with keys."""

    shape: Any
    items: "Node"
    key: Any = str
    limits: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True)
class Fixed:
    """A tuple with a type for each place."""

    items: tuple["Node", ...]


@dataclass(frozen=True)
class Either:
    """A union."""

    items: tuple["Node", ...]


@dataclass(frozen=True)
class Field:
    name: str
    node: "Node"
    default: Any = NODEFAULT


@dataclass(frozen=True)
class Record:
    """A record class of a library.

    Attributes:
        library: `struct`, `dataclass`, `attrs`, `pydantic`, `typed_dict` or `named_tuple`.
        fields: its fields.
        tag: the tag of a struct; None for none.
        options: options of a struct, or of the configuration of a model.
    """

    library: str
    fields: tuple[Field, ...]
    tag: str | None = None
    options: tuple[tuple[str, Any], ...] = ()


Node = Scalar | Constants | Many | Fixed | Either | Record

SCALARS = (int, int, float, str, str, bool, bytes, Decimal, date, datetime, time, timedelta, UUID)
HASHABLE = (int, str, date, UUID, Decimal, float, bool)
KEYS = (str, int, UUID, date)
LIMITS: dict[Any, tuple[tuple[str, tuple[Any, ...]], ...]] = {
    int: (
        ("ge", (0, -5, 1)), ("gt", (0, -1)), ("le", (100, 1000, 2**53)), ("lt", (10, 2**53 + 2)),
        ("multiple_of", (5, 10)),
    ),
    float: (("ge", (0, 0.5)), ("gt", (0, 0.1)), ("le", (1, 100.5)), ("lt", (1.5, 9))),
    str: (("min_length", (1, 2)), ("max_length", (3, 5, 50)), ("pattern", ("^[A-Z]{3}$", "^[a-z]+$", "x"))),
    bytes: (("min_length", (1, 2)), ("max_length", (3, 5))),
}  # fmt: skip
VALUES = ("a", "b", "EUR", "USD", 1, 2, 7, "1")
DEFAULTS: dict[Any, tuple[Any, ...]] = {
    int: (0, 7), str: ("", "x", "EUR"), bool: (True, False), float: (0.5, 1.0), Decimal: (Decimal("1.10"), Decimal(0)),
    date: (date(2024, 2, 29),), bytes: (b"", b"ab"), timedelta: (timedelta(1),),
}  # fmt: skip
LIBRARIES = ("struct", "struct", "dataclass", "attrs", "pydantic", "typed_dict", "named_tuple")
OF_PYDANTIC = ("pydantic", "pydantic", "dataclass", "named_tuple")
ROOTS = ("struct", "dataclass", "attrs", "pydantic")


def random_record(random: Random, library: str, depth: int = 0) -> Record:
    """Return a record with one to four fields."""
    names = random.sample("abcdef", random.randint(1, 4 if depth == 0 else 3))
    inside = library == "pydantic"
    fields = tuple(_random_field(random, name, inside, depth) for name in names)
    return Record(library, fields, None, _random_options(random, library))


def _random_options(random: Random, library: str) -> tuple[tuple[str, Any], ...]:
    if library == "struct":
        names = ("omit_defaults", "forbid_unknown_fields", "array_like")
        return tuple(
            (name, True) for name, chance in zip(names, (0.3, 0.1, 0.1), strict=True) if random.random() < chance
        )
    if library == "pydantic" and random.random() < 0.2:
        return (("extra", random.choice(("allow", "forbid"))),)
    return ()


def _random_field(random: Random, name: str, inside: bool, depth: int) -> Field:
    node = random_node(random, inside, depth)
    return Field(name, node, _random_default(random, node))


def _random_default(random: Random, node: Node) -> Any:
    options = [NODEFAULT, NODEFAULT]
    if isinstance(node, Scalar) and not node.limits:
        options += DEFAULTS.get(node.kind, ())
    elif isinstance(node, Constants) and not node.is_enum:
        options += node.values
    elif isinstance(node, Either) and Scalar(type(None)) in node.items:
        options += [None, None]
    elif isinstance(node, Many) and not node.limits:
        options.append(node.shape)  # a factory
    return random.choice(options)


def random_node(random: Random, inside: bool, depth: int) -> Node:
    """Return a type; `inside` a Pydantic model, only of what Pydantic knows."""
    chance = random.random() + 0.15 * depth
    if chance < 0.2:
        return random_record(random, random.choice(OF_PYDANTIC if inside else LIBRARIES), depth + 1)
    if chance < 0.38:
        return _random_many(random, inside, depth)
    if chance < 0.5:
        return _random_union(random, inside, depth)
    if chance < 0.55:
        return Fixed(tuple(random_node(random, inside, depth + 1) for _ in range(random.randint(1, 3))))
    if chance < 0.67:
        values = random.sample(VALUES, random.randint(1, 4))
        is_enum = random.random() < 0.5
        same = [each for each in values if type(each) is type(values[0])]
        return Constants(tuple(same if is_enum else values), is_enum)
    return _random_scalar(random)


def _random_scalar(random: Random) -> Scalar:
    kind = random.choice(SCALARS)
    if kind not in LIMITS or random.random() < 0.5:
        return Scalar(kind)
    name, values = random.choice(LIMITS[kind])
    return Scalar(kind, ((name, random.choice(values)),))


def _random_many(random: Random, inside: bool, depth: int) -> Many:
    shape = random.choice((list, list, set, tuple, dict, dict))
    items = Scalar(random.choice(HASHABLE)) if shape is set else random_node(random, inside, depth + 1)
    limits = (("min_length", 1),) if random.random() < 0.15 else ()
    return Many(shape, items, random.choice(KEYS), limits)


def _random_union(random: Random, inside: bool, depth: int) -> Either:
    first = random_node(random, inside, depth + 1)
    choice = random.random()
    if choice < 0.5:
        return Either((first, Scalar(type(None))))
    if choice < 0.75:
        return Either(tuple(Scalar(each) for each in random.sample((int, str, bool, float), 2)))
    if choice < 0.95 or inside:
        return Either((first, random_node(random, inside, depth + 1)))
    library = random.choice(("struct", "dataclass"))
    records = [random_record(random, library, depth + 1) for _ in range(2)]
    return Either(
        tuple(replace(each, tag=name, options=()) for name, each in zip(("one", "two"), records, strict=True))
    )


def change(random: Random, root: Record) -> Record:
    """Return a type with one or two changes, as developers make them."""
    for _ in range(random.randint(1, 2)):
        paths = list(_paths(root, root.library == "pydantic"))
        path, inside = random.choice(paths)
        root = _replaced(root, path, lambda node, inside=inside: _changed(random, node, inside))
    return root


Path = tuple[int, ...]


def _parts(node: Node) -> tuple[Node, ...]:
    match node:
        case Record():
            return tuple(each.node for each in node.fields)
        case Many():
            return (node.items,)
        case Fixed() | Either():
            return node.items
        case _:
            return ()


def _paths(node: Node, inside: bool) -> Iterator[tuple[Path, bool]]:
    inside = inside or (isinstance(node, Record) and node.library == "pydantic")
    yield (), inside
    for number, part in enumerate(_parts(node)):
        yield from (((number, *path), each) for path, each in _paths(part, inside))


def _replaced(node: Any, path: Path, function: Callable[[Node], Node]) -> Any:
    if not path:
        return function(node)
    number, rest = path[0], path[1:]
    part = _replaced(_parts(node)[number], rest, function)
    if isinstance(node, Record):
        field = node.fields[number]
        default = field.default if part == field.node or isinstance(part, Record) else NODEFAULT
        return replace(node, fields=_with(node.fields, number, replace(field, node=part, default=default)))
    return replace(node, items=part if isinstance(node, Many) else _with(node.items, number, part))


def _with(items: tuple[Any, ...], number: int, item: Any) -> tuple[Any, ...]:
    return (*items[:number], item, *items[number + 1 :])


def _changed(random: Random, node: Node, inside: bool) -> Node:
    """Return another type in place of one: often one of its kind, sometimes any."""
    if not isinstance(node, Record):
        if random.random() < 0.15:
            return Either((node, Scalar(type(None))))
        if random.random() < 0.1:
            return random_node(random, inside, 2)
    match node:
        case Record():
            return _changed_record(random, node, inside)
        case Scalar():
            return _changed_scalar(random, node)
        case Constants():
            return _changed_constants(random, node)
        case Many():
            options = [each for each in (list, set, tuple) if each is not set or isinstance(node.items, Scalar)]
            shape = dict if node.shape is dict else random.choice(options)
            limits = random.choice(((), (("min_length", 1),), (("max_length", 3),), (("max_length", 10),)))
            return replace(node, shape=shape, key=random.choice((node.key, *KEYS)), limits=limits)
        case Fixed():
            items = random.choice((node.items[:-1], (*node.items, Scalar(int)), node.items[::-1]))
            return Fixed(items) if items else Many(list, Scalar(int))
        case Either():
            return _changed_union(random, node, inside)


def _changed_union(random: Random, node: Either, inside: bool) -> Node:
    choice = random.random()
    if choice < 0.4 and len(node.items) > 1:
        kept = [each for each in node.items if each is not random.choice(node.items)] or list(node.items)
        return kept[0] if len(kept) == 1 else Either(tuple(kept))
    if choice < 0.5 and isinstance(node.items[0], Record) and node.items[0].tag:
        return Either((*node.items, replace(random_record(random, node.items[0].library, 2), tag="three", options=())))
    return Either((*node.items, random_node(random, inside, 2)))


def _changed_scalar(random: Random, node: Scalar) -> Node:
    if node.kind is type(None):
        return _random_scalar(random)
    if node.kind in LIMITS and random.random() < 0.5:
        name, values = random.choice(LIMITS[node.kind])
        others = tuple(each for each in node.limits if each[0] != name)
        limits = others if random.random() < 0.3 else (*others, (name, random.choice(values)))
        return Scalar(node.kind, limits)
    near: dict[Any, tuple[Any, ...]] = {
        int: (float, Decimal, str, bool), float: (int, Decimal), Decimal: (float, int, str), date: (datetime, str),
        datetime: (date, str, time), UUID: (str, bytes), str: (UUID, bytes, date, Decimal), bytes: (str,),
        timedelta: (str, float), time: (str, datetime), bool: (int, str),
    }  # fmt: skip
    kind = random.choice(near[node.kind])
    return Scalar(
        kind, node.limits if kind in LIMITS and all(each in dict(LIMITS[kind]) for each, _ in node.limits) else ()
    )


def _changed_constants(random: Random, node: Constants) -> Node:
    choice = random.random()
    if choice < 0.15:
        return Scalar(type(node.values[0]))
    if choice < 0.25:
        return replace(node, is_enum=not node.is_enum and len(set(map(type, node.values))) == 1)
    if choice < 0.6 and len(node.values) > 1:
        return replace(node, values=node.values[1:])
    more = [each for each in VALUES if each not in node.values]
    same = [each for each in more if type(each) is type(node.values[0])]
    return replace(node, values=(*node.values, random.choice(same if node.is_enum else more))) if same else node


def _changed_record(random: Random, node: Record, inside: bool) -> Node:
    field = random.choice(node.fields)
    others = tuple(each for each in node.fields if each is not field)
    unused = [name for name in "abcdefgh" if all(name != each.name for each in node.fields)]
    match random.choice(("add", "add", "remove", "rename", "default", "default", "options", "library", "order", "tag")):
        case "add":
            return replace(node, fields=(*node.fields, _random_field(random, random.choice(unused), inside, 2)))
        case "remove" if others:
            return replace(node, fields=others)
        case "rename":
            return replace(node, fields=(*others, replace(field, name=random.choice(unused))))
        case "options":
            return replace(node, options=_random_options(random, node.library))
        case "library" if node.tag is None:
            library = random.choice(OF_PYDANTIC if inside else ROOTS)
            return replace(node, library=library, options=_random_options(random, library))
        case "order":
            return replace(node, fields=node.fields[::-1])
        case "tag" if node.tag is not None:
            return replace(node, tag=f"{node.tag}-renamed")
        case _:
            changed = replace(field, default=_random_default(random, field.node))
            return replace(node, fields=(*others, changed))


def event_class(root: Record) -> type:
    """Return a new event class.

    Raises:
        Exception: a library refuses the types. The search tries others then.
    """
    cls: type = fait.event("test.generated")(_class(root, root.library == "pydantic"))
    return cls


def _class(node: Record, inside: bool) -> Any:
    inside = inside or node.library == "pydantic"
    fields = [(each.name, _type(each.node, inside), each.default) for each in node.fields]
    ordered = sorted(fields, key=lambda each: each[2] is not NODEFAULT)
    return _MAKERS[node.library](ordered, dict(node.options), node.tag)


def _type(node: Node, inside: bool) -> Any:
    match node:
        case Scalar():
            kind = pydantic.AwareDatetime if inside and node.kind is datetime else node.kind
            return _limited(kind, node.limits, inside)
        case Constants():
            if node.is_enum:
                return Enum("Generated", {f"value_{value}": value for value in node.values})
            return Literal[node.values]
        case Many():
            items: Any = _type(node.items, inside)
            options: dict[Any, Any] = {list: list[items], set: set[items], tuple: tuple[items, ...]}
            kind = dict[node.key, items] if node.shape is dict else options[node.shape]
            return _limited(kind, node.limits, inside)
        case Fixed():
            return tuple[tuple(_type(each, inside) for each in node.items)]
        case Either():
            if any(getattr(each, "limits", ()) for each in node.items) and not inside:
                raise TypeError("msgspec 0.22 and 0.23 corrupt memory when they free unions of limits and containers")
            result = _type(node.items[0], inside)
            for each in node.items[1:]:
                result = result | _type(each, inside)
            return result
        case Record():
            return _class(node, inside)


def _limited(kind: Any, limits: tuple[tuple[str, Any], ...], inside: bool) -> Any:
    if not limits:
        return kind
    values: Any = dict(limits)
    return Annotated[kind, pydantic.Field(**values) if inside else Meta(**values)]


Definition = list[tuple[str, Any, Any]]


def _struct(fields: Definition, options: dict[str, Any], tag: str | None) -> Any:
    definition = [
        (name, kind) if default is NODEFAULT else (name, kind, _for_struct(default)) for name, kind, default in fields
    ]
    return msgspec.defstruct("Generated", definition, frozen=True, tag=tag, **options)


def _for_struct(default: Any) -> Any:
    return msgspec.field(default_factory=default) if isinstance(default, type) else default


def _dataclass(fields: Definition, _: dict[str, Any], tag: str | None) -> Any:
    def default_of(default: Any) -> Any:
        factory = isinstance(default, type)
        return dataclasses.field(default_factory=default) if factory else dataclasses.field(default=default)

    definition: Any = [
        (name, kind) if default is NODEFAULT else (name, kind, default_of(default)) for name, kind, default in fields
    ]
    tagged: Any = [] if tag is None else [("kind", Literal[tag])]
    return dataclasses.make_dataclass("Generated", [*tagged, *definition], frozen=True)


def _attrs(fields: Definition, _: dict[str, Any], tag: str | None) -> Any:
    definition = {
        name: attrs.field(type=kind)
        if default is NODEFAULT
        else attrs.field(type=kind, default=attrs.Factory(default) if isinstance(default, type) else default)
        for name, kind, default in fields
    }
    return attrs.make_class("Generated", definition, frozen=True)


def _pydantic(fields: Definition, options: dict[str, Any], tag: str | None) -> Any:
    definition: Any = {
        name: (
            kind,
            ...
            if default is NODEFAULT
            else pydantic.Field(default_factory=default)
            if isinstance(default, type)
            else default,
        )
        for name, kind, default in fields
    }
    config: Any = {"frozen": True, **options}
    return pydantic.create_model("Generated", __config__=config, **definition)


def _typed_dict(fields: Definition, _: dict[str, Any], tag: str | None) -> Any:
    definition: Any = {name: kind if default is NODEFAULT else NotRequired[kind] for name, kind, default in fields}
    return TypedDict("Generated", definition)


def _named_tuple(fields: Definition, _: dict[str, Any], tag: str | None) -> Any:
    cls: Any = NamedTuple("Generated", [(name, kind) for name, kind, _ in fields])
    defaults = [
        default() if isinstance(default, type) else default for _, _, default in fields if default is not NODEFAULT
    ]
    cls.__new__.__defaults__ = tuple(defaults)
    cls._field_defaults = dict(zip((name for name, _, each in fields if each is not NODEFAULT), defaults, strict=True))
    return cls


_MAKERS: dict[str, Callable[[Definition, dict[str, Any], str | None], Any]] = {
    "struct": _struct, "dataclass": _dataclass, "attrs": _attrs, "pydantic": _pydantic, "typed_dict": _typed_dict,
    "named_tuple": _named_tuple,
}  # fmt: skip
