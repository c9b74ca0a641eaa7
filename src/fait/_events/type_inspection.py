"""Inspects the field types of an event class and rejects those that JSON cannot store exactly.

msgspec builds a decoder for `object` or `complex` without an error and fails at the first event, when the code is
already deployed. So all types are resolved and inspected when the class is first used, and every problem is reported
with its line.
"""

import sys
import types
import typing
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, Flag
from typing import Annotated, Any, Final, Literal, NamedTuple, TypeVar, Union, get_args, get_origin
from uuid import UUID

from msgspec import NODEFAULT, Meta, Struct, UnsetType

from fait._events.record import (
    Scopes,
    Unresolved,
    compares_by_value,
    fields_of,
    is_record,
    kind_of,
    lineage_of,
    own_annotations,
    own_types,
    types_of,
)
from fait._events.validation import FREE_FORM, find_invalid

__all__ = ["Problem", "TypeReport", "base_name", "format_problems", "inspect_types"]


class Problem(NamedTuple):
    """A reason why a class cannot be stored exactly.

    Attributes:
        cls: the class with the field: the event itself or a record in it.
        field: name of the field; empty if the problem is about the class.
        type: the resolved type, shown if the source is not available.
        reason: description of the problem.
        advice: description of the fix.
    """

    cls: type
    field: str
    type: object
    reason: str
    advice: str


class TypeReport(Struct):
    """Result of inspecting the types of a class.

    Attributes:
        problems: the reasons why it cannot be stored as declared; empty if there are none.
        identity_classes: classes whose instances with equal fields do not compare equal, which are problems too.
        has_naive_datetimes: a datetime occurs for which the decoder does not require a time zone.
        has_decimals: a Decimal occurs, so a string "Infinity" may be one.
        has_integers: an int occurs, which may exceed 64 bits.
        has_sets: a set occurs, whose members have another order in each process.
        is_recursive: values can be nested to any depth.
    """

    problems: list[Problem] = []
    identity_classes: list[type] = []
    has_naive_datetimes: bool = False
    has_decimals: bool = False
    has_integers: bool = False
    has_sets: bool = False
    is_recursive: bool = False


class _Location(NamedTuple):
    cls: type
    field: str
    foreign: bool
    """Inside a Pydantic model, which has already checked its types."""


def inspect_types(cls: type, scopes: Scopes) -> TypeReport:
    """Inspect the types of all fields of an event class, including those of nested records.

    For rebuilt classes, the resolved annotations are written back, with a required time zone for `datetime`. So this
    must run before a decoder is built.

    Args:
        cls: a record class.
        scopes: returns the local names for a rebuilt class; None for every other class.
    """
    walk = _TypeWalk(scopes)
    walk.record(cls, _Location(cls, "", foreign=False), {})
    return walk.report


class _TypeWalk:
    def __init__(self, scopes: Scopes) -> None:
        self.report = TypeReport()
        self._scopes = scopes
        self._open: list[object] = []
        self._done: set[object] = set()

    def record(self, cls: Any, location: _Location, bound: Mapping[Any, Any]) -> None:
        """Inspect the fields of a class, once."""
        key = (cls, str(bound))
        self.report.is_recursive |= key in self._open
        if key in self._done:
            return
        self._done.add(key)
        self._open.append(key)
        if not compares_by_value(cls):
            self.report.identity_classes.append(cls)
            self._reject(
                location, cls, f"{cls.__qualname__} instances with equal fields do not compare equal", "remove eq=False"
            )
        foreign = kind_of(cls) == "pydantic"
        if foreign:  # its serializers may produce any JSON
            self.report.is_recursive = self.report.has_decimals = self.report.has_integers = (
                self.report.has_naive_datetimes
            ) = True
        self._fields(cls, bound, foreign=foreign)
        self._open.pop()

    def _fields(self, cls: Any, bound: Mapping[Any, Any], *, foreign: bool) -> None:
        _write_back_types(cls, self._scopes)
        fields, kinds = fields_of(cls), types_of(cls, self._scopes, bound)
        for field in fields:
            if field.name in kinds:
                self._visit(kinds[field.name], _Location(cls, field.name, foreign))
        for field in fields:
            for _, reason in find_invalid(field.default) if field.default is not NODEFAULT else ():
                location = _Location(cls, field.name, foreign)
                self._reject(location, field.default, f"its default cannot be stored: {reason}", "use another default")

    def _reject(self, location: _Location, kind: object, reason: str, advice: str) -> None:
        self.report.problems.append(Problem(location.cls, location.field, kind, reason, advice))

    def _visit(self, kind: Any, location: _Location) -> None:
        origin = get_origin(kind)
        if isinstance(kind, Unresolved):
            self._reject(location, kind.name, *_unresolved(kind.name, location.cls))
        elif (bare := kind if origin is None else origin if not get_args(kind) else None) in _UNSPECIFIC:
            self._reject(location, kind, f"{_name(kind)} {_UNSPECIFIC_REASON}", _UNSPECIFIC[bare])
        elif isinstance(kind, TypeVar):
            self._variable(kind, location)
        elif hasattr(kind, "__supertype__"):
            self._visit(kind.__supertype__, location)
        elif _is_alias(origin or kind):
            self._alias(kind, location)
        elif origin is not None:
            self._form(kind, origin, location)
        elif isinstance(kind, type):
            self._class(kind, location)
        elif not location.foreign:
            self._reject(location, kind, f"{_name(kind)} cannot be stored as JSON", "use a type that holds data")

    def _alias(self, kind: Any, location: _Location) -> None:
        if (key := str(kind)) in self._open:
            self._reject(location, kind, f"{key} contains itself", "use fait.Json, or a record that contains itself")
        else:
            self._open.append(key)
            self._visit(_alias_value(kind), location)
            self._open.pop()

    def _variable(self, kind: Any, location: _Location) -> None:
        if kind.__bound__ is not None:
            self._visit(kind.__bound__, location)
        else:
            advice = f"give {kind.__name__} a bound, or declare one event per type"
            self._reject(location, kind, f"the type variable {kind.__name__} is not bound", advice)

    def _form(self, kind: Any, origin: Any, location: _Location) -> None:
        args = get_args(kind)
        if origin is Annotated:
            self._annotated(args[0], kind.__metadata__, location)
        elif origin is Union or origin is types.UnionType:
            self._union(kind, args, location)
        elif origin is Literal:
            return
        elif origin in _WRAPPERS:
            self._visit(args[0], location)
        elif origin is dict:
            self._key(args[0], location)
            self._visit(args[0], location)
            self._visit(args[1], location)
        elif origin in (list, set, frozenset, tuple):
            self.report.has_sets |= origin in (set, frozenset)
            for arg in args:
                if arg is not Ellipsis:
                    self._visit(arg, location)
        elif is_record(origin):
            self.record(origin, location, dict(zip(origin.__parameters__, args, strict=False)))
        elif not location.foreign:
            self._reject(location, kind, *_abstract(origin))

    def _annotated(self, inner: Any, marks: tuple[Any, ...], location: _Location) -> None:
        if FREE_FORM in marks:
            self.report.is_recursive = self.report.has_integers = True
            return
        zones = [mark.tz for mark in marks if isinstance(mark, Meta) and mark.tz is not None]
        if False in zones:
            self._reject(
                location, inner, "a datetime without a time zone cannot be stored", "use datetime, or Meta(tz=True)"
            )
        elif not (inner is datetime and True in zones):
            self._visit(inner, location)

    def _union(self, kind: Any, args: tuple[Any, ...], location: _Location) -> None:
        texts = [arg for arg in args if _is_textual(arg)]
        if len(texts) > 1 and not location.foreign and not _all_literal_or_str(texts):
            names = " and ".join(_name(_unwrap(text)) for text in texts)
            advice = "use one of them, or tagged Structs"
            self._reject(
                location, kind, f"{names} are both strings in JSON, so decoding cannot distinguish them", advice
            )
        if not location.foreign and any(map(_is_limited, args)) and any(map(_is_container, args)):
            reason = "msgspec corrupts memory when it decodes a value with limits or a list, set, tuple or dict"
            self._reject(location, kind, reason, "leave the limits out, or put the list or dict into a record")
        for arg in args:
            self._visit(arg, location)

    def _key(self, kind: Any, location: _Location) -> None:
        inner = _unwrap(kind)
        is_key = inner in _KEYS or (isinstance(inner, type) and issubclass(inner, Enum)) or get_origin(inner) is Literal
        if not is_key and not location.foreign and not isinstance(inner, TypeVar | Unresolved):
            self._reject(
                location,
                kind,
                f"JSON cannot store {_name(inner)} exactly as a key",
                "use str keys, or a list of records",
            )

    def _class(self, kind: Any, location: _Location) -> None:
        if kind is datetime:
            self.report.has_naive_datetimes = True
        elif kind is Decimal:
            self.report.has_decimals = True
        elif kind is int:
            self.report.has_integers = True
        elif kind in _SCALARS or kind is UnsetType:
            return
        elif issubclass(kind, Enum):
            self._enum(kind, location)
        elif is_record(kind):
            if kind_of(kind) == "pydantic" and not location.foreign:
                advice = "use a Struct or dataclass, or make the event itself a Pydantic model"
                self._reject(
                    location, kind, f"{kind.__qualname__} is a Pydantic model in a class that is not one", advice
                )
            else:
                self.record(kind, location, {})
        elif kind.__module__.startswith("pydantic") and kind.__name__ == "NaiveDatetime":
            self._reject(location, kind, "a datetime without a time zone cannot be stored", "use AwareDatetime")
        elif not location.foreign:
            advice = (
                _PLAIN_CLASS_ADVICE
                if own_annotations(kind)
                else "use a type that holds data: a Struct, a dataclass, str, …"
            )
            self._reject(
                location, kind, f"{kind.__qualname__} cannot be stored as JSON", _REPLACEMENTS.get(kind, advice)
            )

    def _enum(self, kind: Any, location: _Location) -> None:
        kinds: set[Any] = {type(member.value) for member in kind}
        if location.foreign:
            return
        if issubclass(kind, Flag):
            self._reject(
                location, kind, f"{kind.__qualname__} is a Flag, which is one number in JSON", "use a set of an Enum"
            )
        elif kinds not in ({str}, {int}):
            self._reject(location, kind, "the values of an Enum must be all str or all int", "use str values")


_SCALARS: Final = frozenset({str, int, float, bool, type(None), bytes, Decimal, datetime, date, time, timedelta, UUID})
_TEXTUAL: Final = frozenset({str, bytes, Decimal, datetime, date, time, timedelta, UUID})
_KEYS: Final = frozenset({str, int, UUID, date, datetime, time, timedelta, Decimal, bytes})
_WRAPPERS: Final = tuple(
    getattr(typing, name) for name in ("Required", "NotRequired", "ReadOnly", "Final") if hasattr(typing, name)
)
_UNSPECIFIC: Final[Mapping[Any, str]] = {
    Any: "specify the type, or use fait.Json for free-form JSON",
    object: "specify the type, or use fait.Json for free-form JSON",
    dict: "use dict[str, X] with the type of its values, or fait.Json",
    list: "use list[X] with the type of its members, or fait.Json",
    tuple: "use tuple[X, ...] with the type of its members",
    set: "use set[X] with the type of its members",
    frozenset: "use frozenset[X] with the type of its members",
}
_UNSPECIFIC_REASON: Final = "does not specify the type of its contents, so values cannot be checked"
_PLAIN_CLASS_ADVICE = "make it a dataclass or a msgspec.Struct"
_REPLACEMENTS: Final[Mapping[type, str]] = {
    complex: "use two floats",
    bytearray: "use bytes",
    memoryview: "use bytes",
}


def _name(kind: Any) -> str:
    return kind.__name__ if isinstance(kind, type) else str(kind).replace("typing.", "")


def _abstract(origin: Any) -> tuple[str, str]:
    if getattr(origin, "__module__", "") == "collections.abc" and origin is not Callable:
        return (
            f"{_name(origin)} does not specify the type to decode to",
            "use list[X], tuple[X, ...], dict[str, X] or set[X]",
        )
    return f"{_name(origin)} cannot be stored as JSON", "use a type that holds data"


def _unwrap(kind: Any) -> Any:
    return _layers(kind)[-1]


def _layers(kind: Any) -> list[Any]:
    """Return a type, and what is inside of its annotations, new types and aliases, from the outside in."""
    layers = [kind]
    while True:
        kind = layers[-1]
        if get_origin(kind) is Annotated:
            layers.append(get_args(kind)[0])
        elif hasattr(kind, "__supertype__"):
            layers.append(kind.__supertype__)
        elif _is_alias(kind):
            layers.append(_alias_value(kind))
        else:
            return layers


def _is_limited(kind: Any) -> bool:
    """Whether a type is a scalar with limits: `Annotated[int, Meta(ge=1)]`."""
    marks = [mark for layer in _layers(kind) for mark in getattr(layer, "__metadata__", ()) if isinstance(mark, Meta)]
    return not _is_container(kind) and any(getattr(mark, limit) is not None for mark in marks for limit in _LIMITS)


_LIMITS: Final = ("gt", "ge", "lt", "le", "multiple_of", "pattern", "min_length", "max_length")


def _is_container(kind: Any) -> bool:
    inner = _unwrap(kind)
    return (get_origin(inner) or inner) in (list, set, frozenset, tuple, dict)


def _is_textual(kind: Any) -> bool:
    inner = _unwrap(kind)
    if get_origin(inner) is Literal:
        return any(isinstance(arg, str) for arg in get_args(inner))
    if isinstance(inner, type) and issubclass(inner, Enum):
        return any(isinstance(member.value, str) for member in inner)
    return isinstance(inner, type) and inner in _TEXTUAL


def _all_literal_or_str(kinds: list[Any]) -> bool:
    return all(_unwrap(kind) is str or get_origin(_unwrap(kind)) is Literal for kind in kinds)


def _is_alias(kind: Any) -> bool:
    return type(kind).__name__ == "TypeAliasType"


def _alias_value(kind: Any) -> Any:
    try:
        if (origin := get_origin(kind)) is not None:
            return origin.__value__[get_args(kind)]
        return kind.__value__
    except NameError as error:
        return Unresolved(str(error.name))


def _write_back_types(cls: Any, scopes: Scopes) -> None:
    """Replace the annotations of rebuilt classes by their types, with a required time zone for every datetime.

    msgspec reads them when it builds the decoder, and it has no local names.
    """
    for base in lineage_of(cls):
        if scopes(base) is not None:
            kinds = own_types(base, scopes)
            base.__annotations__ = {
                name: raw if isinstance(kinds[name], Unresolved) else _with_time_zone(kinds[name])
                for name, raw in own_annotations(base).items()
            }


def _with_time_zone(kind: Any) -> Any:
    """Return the type with a required time zone for every datetime in it."""
    if kind is datetime:
        return Annotated[datetime, Meta(tz=True)]
    origin, args = get_origin(kind), get_args(kind)
    if origin is Annotated:
        marks = kind.__metadata__
        if args[0] is datetime and any(isinstance(mark, Meta) and mark.tz is not None for mark in marks):
            return kind
        inner = _with_time_zone(args[0])
        return kind if inner is args[0] else Annotated[(inner, *marks)]
    if hasattr(kind, "__supertype__"):
        inner = _with_time_zone(kind.__supertype__)
        return kind if inner is kind.__supertype__ else inner
    if not args or origin is Literal or _is_alias(origin):
        return kind
    inside = tuple(_with_time_zone(arg) for arg in args)
    if all(new is old for new, old in zip(inside, args, strict=True)):
        return kind
    return Union[inside] if origin in (Union, types.UnionType) else origin[inside]  # noqa: UP007


def format_problems(name: str, cls: type, location: str, file: str, problems: list[Problem]) -> str:
    """Return the message of a DeclarationError: for each problem its line, the reason and the advice."""
    lines = [f"event {name!r}: {cls.__qualname__} ({location}) has fields that cannot be stored. Nothing was written."]
    for problem in problems:
        place, source = _locate(problem, file if problem.cls is cls else None)
        owner = f"{problem.cls.__qualname__}." if problem.cls is not cls else ""
        head = f"{owner}{problem.field}: {source}" if problem.field else problem.cls.__qualname__
        lines += [f"  {place}  {head}", f"      {problem.reason}", f"      fix: {problem.advice}"]
    return "\n".join(lines)


def base_name(file: str) -> str:
    """Return the last part of a path."""
    return file.replace("\\", "/").rpartition("/")[2]


def _locate(problem: Problem, file: str | None) -> tuple[str, str]:
    """Return file and line of a field, and its annotation as written in the source."""
    annotation = problem.type if isinstance(problem.type, str) else _name(problem.type)
    file = file or _file_of(problem.cls)
    import ast  # imported only to report an error

    body = _class_body(file, problem.cls)
    for node in body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == problem.field:
            return f"{base_name(file)}:{node.lineno}", ast.unparse(node.annotation)
    place = f"{base_name(file)}:{body[0].lineno - 1}" if body else base_name(file) or problem.cls.__module__
    return place, annotation


def _class_body(file: str, cls: type) -> list[Any]:
    import ast

    tree: Any = _parsed(file)
    for name in cls.__qualname__.split("."):
        if name != "<locals>":
            blocks = [n for n in ast.walk(tree) if getattr(n, "name", None) == name and hasattr(n, "body")]
            if not blocks:
                return []
            tree = blocks[0]
    body: list[Any] = tree.body
    return body


def _parsed(file: str) -> Any:
    import ast
    import linecache

    try:
        return ast.parse("".join(linecache.getlines(file)))
    except SyntaxError:
        return ast.Module([], [])


def _file_of(cls: type) -> str:
    return getattr(sys.modules.get(cls.__module__), "__file__", None) or ""


def _unresolved(name: str, cls: type) -> tuple[str, str]:
    import ast

    file = _file_of(cls)
    for block in ast.walk(_parsed(file)):
        if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.unparse(block.test):
            for node in ast.walk(block):
                if isinstance(node, ast.Import | ast.ImportFrom) and name in {a.asname or a.name for a in node.names}:
                    reason = f"{name} is imported for type checkers only ({base_name(file)}:{node.lineno})"
                    return reason, "move that import out of the TYPE_CHECKING block"
    return f"{name} is not defined where the class is declared", "import it, or define it at module level"
