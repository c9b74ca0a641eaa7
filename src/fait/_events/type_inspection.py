"""The types of an event, walked at declaration: whatever JSON cannot hold exactly is refused before the first event.

msgspec builds a decoder for `object` or `complex` without a word and fails at the first event; by then the code is
deployed. So the resolved types are looked at here, all of them, and every problem is told with its line.
"""

import sys
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, Flag
from typing import Annotated, Any, Final, Literal, NamedTuple, TypeVar, Union, get_args, get_origin
from uuid import UUID

from msgspec import Meta, Struct, UnsetType

from fait._events.validation import FREE_FORM, find_invalid

__all__ = ["Problem", "TypeReport", "base_name", "format_problems", "inspect_types"]

Scopes = Callable[[type], Mapping[str, Any] | None]
"""The local names that a class fait has built may refer to; None for every other class."""


class Problem(NamedTuple):
    """One thing about one field that makes a class unfit to be stored.

    Attributes:
        cls: the class that has the field; the event itself or a record inside it.
        field: the field's name; empty if it is about the class.
        type: the type as resolved, to be shown where the source is not at hand.
        why: what is wrong.
        do: what to write instead.
    """

    cls: type
    field: str
    type: object
    reason: str
    advice: str


class TypeReport(Struct):
    """What a walk over the types of a class found.

    Attributes:
        problems: why it cannot be stored as it is declared.
        naive: a datetime occurs whose time zone no decoder demands.
        decimals: a Decimal occurs, so "Infinity" may stand for one.
        integers: an int occurs, which may be too large for 64 bits.
        unbounded: its values can be nested to any depth.
    """

    problems: list[Problem] = []
    has_naive_datetimes: bool = False
    has_decimals: bool = False
    has_integers: bool = False
    is_recursive: bool = False


class _Unresolved(NamedTuple):
    name: str


class _Location(NamedTuple):
    cls: type
    field: str
    foreign: bool
    """Inside a Pydantic model, which has decided itself what types it can hold."""


def inspect_types(cls: type, scopes: Scopes) -> TypeReport:
    """Walks over the types of an event class.

    Of classes that fait has built, the resolved annotations are written back, with `datetime` made to demand a time
    zone; so this comes before the first decoder is built.
    """
    walk = _TypeWalk(scopes)
    walk.record(cls, _Location(cls, "", foreign=False), {})
    return walk.shape


class _TypeWalk:
    def __init__(self, scopes: Scopes) -> None:
        self.shape = TypeReport()
        self._scopes = scopes
        self._open: list[object] = []
        self._done: set[object] = set()

    def record(self, cls: Any, at: _Location, bound: Mapping[Any, Any]) -> None:
        """Visits the fields of a class once."""
        key = (cls, str(bound))
        self.shape.is_recursive |= key in self._open
        if key in self._done:
            return
        self._done.add(key)
        self._open.append(key)
        if not _equal_by_value(cls):
            self._refuse(at, cls, f"two equal {cls.__qualname__} would not compare equal", "drop eq=False")
        foreign = _is_pydantic(cls)
        if foreign:  # its own serializers may write anything
            self.shape.is_recursive = self.shape.has_decimals = self.shape.has_integers = (
                self.shape.has_naive_datetimes
            ) = True
        for name, kind in _fields(cls, self._scopes, bound).items():
            self._visit(kind, _Location(cls, name, foreign))
        for name, value in _defaults(cls).items():
            for _, reason in find_invalid(value):
                self._refuse(
                    _Location(cls, name, foreign), value, f"its default cannot be stored: {reason}", "another default"
                )
        self._open.pop()

    def _refuse(self, at: _Location, kind: object, why: str, do: str) -> None:
        self.shape.problems.append(Problem(at.cls, at.field, kind, why, do))

    def _visit(self, kind: Any, at: _Location) -> None:
        origin = get_origin(kind)
        if isinstance(kind, _Unresolved):
            self._refuse(at, kind.name, *_unresolved(kind.name, at.cls))
        elif (bare := kind if origin is None else origin if not get_args(kind) else None) in _UNSPECIFIC:
            self._refuse(at, kind, f"{_name(kind)} {_UNSPECIFIC_REASON}", _UNSPECIFIC[bare])
        elif isinstance(kind, TypeVar):
            self._variable(kind, at)
        elif hasattr(kind, "__supertype__"):
            self._visit(kind.__supertype__, at)
        elif _is_alias(origin or kind):
            self._alias(kind, at)
        elif origin is not None:
            self._form(kind, origin, at)
        elif isinstance(kind, type):
            self._class(kind, at)
        elif not at.foreign:
            self._refuse(at, kind, f"{_name(kind)} has no JSON form", "a type that holds data")

    def _alias(self, kind: Any, at: _Location) -> None:
        if (key := str(kind)) in self._open:
            self._refuse(at, kind, f"{key} contains itself", "fait.Json, or a record that contains itself")
        else:
            self._open.append(key)
            self._visit(_alias_value(kind), at)
            self._open.pop()

    def _variable(self, kind: Any, at: _Location) -> None:
        if kind.__bound__ is not None:
            self._visit(kind.__bound__, at)
        else:
            do = f"give {kind.__name__} a bound, or declare one event per type"
            self._refuse(at, kind, f"{kind.__name__} can be anything here", do)

    def _form(self, kind: Any, origin: Any, at: _Location) -> None:
        args = get_args(kind)
        if origin is Annotated:
            self._annotated(args[0], kind.__metadata__, at)
        elif origin is Union or origin is types.UnionType:
            self._union(kind, args, at)
        elif origin is Literal:
            return
        elif origin in _WRAPPERS:
            self._visit(args[0], at)
        elif origin is dict:
            self._key(args[0], at)
            self._visit(args[0], at)
            self._visit(args[1], at)
        elif origin in (list, set, frozenset, tuple):
            for arg in args:
                if arg is not Ellipsis:
                    self._visit(arg, at)
        elif _is_record(origin):
            self.record(origin, at, dict(zip(origin.__parameters__, args, strict=False)))
        elif not at.foreign:
            self._refuse(at, kind, *_abstract(origin))

    def _annotated(self, inner: Any, marks: tuple[Any, ...], at: _Location) -> None:
        if FREE_FORM in marks:
            self.shape.is_recursive = self.shape.has_integers = True
            return
        zones = [mark.tz for mark in marks if isinstance(mark, Meta) and mark.tz is not None]
        if False in zones:
            self._refuse(
                at, inner, "a moment without a time zone is not a moment", "datetime, with Meta(tz=True) or none"
            )
        elif not (inner is datetime and True in zones):
            self._visit(inner, at)

    def _union(self, kind: Any, args: tuple[Any, ...], at: _Location) -> None:
        texts = [arg for arg in args if _is_textual(arg)]
        if len(texts) > 1 and not at.foreign and not _all_literal_or_str(texts):
            names = " and ".join(_name(_unwrap(text)) for text in texts)
            do = "one of them, or tagged Structs that say which one it is"
            self._refuse(at, kind, f"{names} are both text in JSON: reading cannot tell them apart", do)
        for arg in args:
            self._visit(arg, at)

    def _key(self, kind: Any, at: _Location) -> None:
        inner = _unwrap(kind)
        fine = inner in _KEYS or (isinstance(inner, type) and issubclass(inner, Enum)) or get_origin(inner) is Literal
        if not fine and not at.foreign and not isinstance(inner, TypeVar | _Unresolved):
            self._refuse(
                at, kind, f"JSON cannot hold {_name(inner)} as a key exactly", "str keys, or a list of records"
            )

    def _class(self, kind: Any, at: _Location) -> None:
        if kind is datetime:
            self.shape.has_naive_datetimes = True
        elif kind is Decimal:
            self.shape.has_decimals = True
        elif kind is int:
            self.shape.has_integers = True
        elif kind in _SCALARS or kind is UnsetType:
            return
        elif issubclass(kind, Enum):
            self._enum(kind, at)
        elif _is_record(kind):
            if _is_pydantic(kind) and not at.foreign:
                do = "a Struct or dataclass, or make the event itself a Pydantic model"
                self._refuse(at, kind, f"{kind.__qualname__} is a Pydantic model inside a class that is none", do)
            else:
                self.record(kind, at, {})
        elif kind.__module__.startswith("pydantic") and kind.__name__ == "NaiveDatetime":
            self._refuse(at, kind, "a moment without a time zone is not a moment", "AwareDatetime")
        elif not at.foreign:
            do = (
                _PLAIN_CLASS_ADVICE
                if _own_annotations(kind)
                else "a type that holds data: a Struct, a dataclass, str, …"
            )
            self._refuse(at, kind, f"{kind.__qualname__} has no JSON form", _REPLACEMENTS.get(kind, do))

    def _enum(self, kind: Any, at: _Location) -> None:
        kinds: set[Any] = {type(member.value) for member in kind}
        if at.foreign:
            return
        if issubclass(kind, Flag):
            self._refuse(
                at, kind, f"{kind.__qualname__} is a set of flags, which JSON shows as one number", "set of an Enum"
            )
        elif kinds not in ({str}, {int}):
            self._refuse(at, kind, "the values of an Enum must be all str or all int", "str values")


_SCALARS: Final = frozenset({str, int, float, bool, type(None), bytes, Decimal, datetime, date, time, timedelta, UUID})
_TEXTUAL: Final = frozenset({str, bytes, Decimal, datetime, date, time, timedelta, UUID})
_KEYS: Final = frozenset({str, int, UUID, date, datetime, time, timedelta, Decimal, bytes})
_WRAPPERS: Final = tuple(
    getattr(typing, name) for name in ("Required", "NotRequired", "ReadOnly", "Final") if hasattr(typing, name)
)
_UNSPECIFIC: Final[Mapping[Any, str]] = {
    Any: "name the type, or fait.Json for free-form JSON",
    object: "name the type, or fait.Json for free-form JSON",
    dict: "dict[str, X] with the type of its values, or fait.Json",
    list: "list[X] with the type of its members, or fait.Json",
    tuple: "tuple[X, ...] with the type of its members",
    set: "set[X] with the type of its members",
    frozenset: "frozenset[X] with the type of its members",
}
_UNSPECIFIC_REASON: Final = "says nothing about what is in it: no later version can be checked against it"
_PLAIN_CLASS_ADVICE = "make it a dataclass or a msgspec.Struct"
_REPLACEMENTS: Final[Mapping[type, str]] = {
    complex: "two floats",
    bytearray: "bytes",
    memoryview: "bytes",
}


def _name(kind: Any) -> str:
    return kind.__name__ if isinstance(kind, type) else str(kind).replace("typing.", "")


def _abstract(origin: Any) -> tuple[str, str]:
    if getattr(origin, "__module__", "") == "collections.abc" and origin is not Callable:
        return f"{_name(origin)} does not say what it reads back as", "list[X], tuple[X, ...], dict[str, X] or set[X]"
    return f"{_name(origin)} has no JSON form", "a type that holds data"


def _unwrap(kind: Any) -> Any:
    while True:
        if get_origin(kind) is Annotated:
            kind = get_args(kind)[0]
        elif hasattr(kind, "__supertype__"):
            kind = kind.__supertype__
        elif _is_alias(kind):
            kind = _alias_value(kind)
        else:
            return kind


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
    except NameError as problem:
        return _Unresolved(str(problem.name))


def _is_pydantic(cls: Any) -> bool:
    return hasattr(cls, "__pydantic_fields__") and hasattr(cls, "model_validate_json")


def _is_record(cls: Any) -> bool:
    if not _is_class(cls):
        return False
    marks = ("__dataclass_fields__", "__attrs_attrs__", "__pydantic_fields__")
    return (
        issubclass(cls, Struct)
        or typing.is_typeddict(cls)
        or _is_named_tuple(cls)
        or any(hasattr(cls, m) for m in marks)
    )


def _is_class(kind: object) -> bool:
    return isinstance(kind, type)


def _is_named_tuple(cls: Any) -> bool:
    return tuple in cls.__mro__ and hasattr(cls, "_fields")


def _equal_by_value(cls: Any) -> bool:
    if issubclass(cls, Struct):
        return cls.__struct_config__.eq or cls.__eq__ is not Struct.__eq__
    return typing.is_typeddict(cls) or cls.__eq__ is not object.__eq__


def _fields(cls: Any, scopes: Scopes, bound: Mapping[Any, Any]) -> dict[str, Any]:
    """The resolved type of every field that is stored."""
    if _is_pydantic(cls):
        return {name: info.rebuild_annotation() for name, info in cls.__pydantic_fields__.items()}
    hints = _hints(cls, scopes, bound)
    if issubclass(cls, Struct):
        names: Any = cls.__struct_fields__
    elif hasattr(cls, "__attrs_attrs__"):
        names = [attribute.name for attribute in cls.__attrs_attrs__]
    else:
        names = getattr(cls, "__dataclass_fields__", None) or getattr(cls, "_fields", None) or hints
    return {name: hints[name] for name in names if name in hints}


def _defaults(cls: Any) -> dict[str, Any]:
    if issubclass(cls, Struct):
        defaults: Any = cls.__struct_defaults__
        return dict(zip(cls.__struct_fields__[len(cls.__struct_fields__) - len(defaults) :], defaults, strict=True))
    if hasattr(cls, "__attrs_attrs__"):
        return {attribute.name: attribute.default for attribute in cls.__attrs_attrs__}
    fields: Any = getattr(cls, "__pydantic_fields__", None) or getattr(cls, "__dataclass_fields__", {})
    return {name: field.default for name, field in fields.items()} or dict(getattr(cls, "_field_defaults", {}))


def _hints(cls: Any, scopes: Scopes, bound: Mapping[Any, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    variables = _variables(cls, bound)
    for base in reversed(cls.__mro__ if not typing.is_typeddict(cls) else (*_typed_dict_bases(cls), cls)):
        scope = scopes(base)
        raw = _own_annotations(base)
        own = {name: _resolve(kind, base, scope or {}) for name, kind in raw.items()}
        if scope is not None:
            own = {name: _with_zone(kind) for name, kind in own.items()}
            base.__annotations__ = {n: raw[n] if isinstance(kind, _Unresolved) else kind for n, kind in own.items()}
        found.update({name: _substitute(kind, variables.get(base, {})) for name, kind in own.items()})
    return found


def _typed_dict_bases(cls: Any) -> Iterator[Any]:
    for base in getattr(cls, "__orig_bases__", ()):
        if typing.is_typeddict(base):
            yield from _typed_dict_bases(base)
            yield base


def _own_annotations(cls: type) -> Mapping[str, Any]:
    if sys.version_info >= (3, 14):
        import annotationlib

        return annotationlib.get_annotations(cls, format=annotationlib.Format.FORWARDREF)
    own: Mapping[str, Any] = cls.__dict__.get("__annotations__", {})  # noqa: RUF063 - `inspect` is dear to import
    return own


def _resolve(raw: Any, cls: type, scope: Mapping[str, Any]) -> Any:
    names = vars(sys.modules[cls.__module__]) if cls.__module__ in sys.modules else {}
    # As a module, so that ClassVar and Final are legal at the top.
    holder = types.ModuleType(cls.__module__)
    holder.__annotations__ = {"it": raw}
    try:
        # Module names come first: a field may be named like its type, and is a member of the class by that name.
        known = {**vars(cls), cls.__name__: cls}
        return typing.get_type_hints(holder, known, {**names, **scope}, include_extras=True)["it"]
    except NameError as problem:
        return _Unresolved(str(problem.name))
    except Exception as problem:  # an annotation can be any expression
        return _Unresolved(f"{raw!s} ({type(problem).__name__})")


def _variables(cls: Any, bound: Mapping[Any, Any]) -> dict[Any, Mapping[Any, Any]]:
    """What each class among the bases knows about its own type variables."""
    known: dict[Any, Mapping[Any, Any]] = {cls: bound}
    for base in getattr(cls, "__mro__", ()):
        for generic in base.__dict__.get("__orig_bases__", ()):
            origin: Any = get_origin(generic)
            if parameters := getattr(origin, "__parameters__", ()):
                args = [_substitute(arg, known.get(base, {})) for arg in get_args(generic)]
                known.setdefault(origin, dict(zip(parameters, args, strict=False)))
    return known


def _substitute(kind: Any, variables: Mapping[Any, Any]) -> Any:
    if isinstance(kind, TypeVar):
        return variables.get(kind, kind)
    parameters: Any = getattr(kind, "__parameters__", ()) if get_origin(kind) is not None else ()
    return kind[tuple(variables.get(p, p) for p in parameters)] if parameters and variables else kind


def _with_zone(kind: Any) -> Any:
    """The same type, with every datetime in it made to demand a time zone."""
    if kind is datetime:
        return Annotated[datetime, Meta(tz=True)]
    origin, args = get_origin(kind), get_args(kind)
    if origin is Annotated:
        marks = kind.__metadata__
        if args[0] is datetime and any(isinstance(mark, Meta) and mark.tz is not None for mark in marks):
            return kind
        inner = _with_zone(args[0])
        return kind if inner is args[0] else Annotated[(inner, *marks)]
    if hasattr(kind, "__supertype__"):
        inner = _with_zone(kind.__supertype__)
        return kind if inner is kind.__supertype__ else inner
    if not args or origin is Literal or _is_alias(origin):
        return kind
    inside = tuple(_with_zone(arg) for arg in args)
    if all(new is old for new, old in zip(inside, args, strict=True)):
        return kind
    return Union[inside] if origin in (Union, types.UnionType) else origin[inside]  # noqa: UP007


def format_problems(name: str, cls: type, where: str, file: str, problems: list[Problem]) -> str:
    """The message of a DeclarationError: every problem with its line, what it is and what to write instead."""
    lines = [f"event {name!r} cannot be stored as {cls.__qualname__} declares it ({where}). Nothing was written."]
    for problem in problems:
        place, source = _locate(problem, file if problem.cls is cls else None)
        owner = f"{problem.cls.__qualname__}." if problem.cls is not cls else ""
        head = f"{owner}{problem.field}: {source}" if problem.field else problem.cls.__qualname__
        lines += [f"  {place}  {head}", f"      {problem.reason}", f"      do: {problem.advice}"]
    return "\n".join(lines)


def base_name(file: str) -> str:
    """The last part of a file's path."""
    return file.replace("\\", "/").rpartition("/")[2]


def _locate(problem: Problem, file: str | None) -> tuple[str, str]:
    """File and line of a field, and its annotation as it is written."""
    shown = problem.type if isinstance(problem.type, str) else _name(problem.type)
    file = file or _file_of(problem.cls)
    import ast  # on the way to an error only

    body = _class_body(file, problem.cls)
    for node in body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == problem.field:
            return f"{base_name(file)}:{node.lineno}", ast.unparse(node.annotation)
    place = f"{base_name(file)}:{body[0].lineno - 1}" if body else base_name(file) or problem.cls.__module__
    return place, shown


def _class_body(file: str, cls: type) -> list[Any]:
    import ast

    tree: Any = _parsed(file)
    for name in cls.__qualname__.split("."):
        if name != "<locals>":
            found = [n for n in ast.walk(tree) if getattr(n, "name", None) == name and hasattr(n, "body")]
            if not found:
                return []
            tree = found[0]
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
                    why = f"{name} is imported for type checkers only ({base_name(file)}:{node.lineno})"
                    return why, "move that import out of the TYPE_CHECKING block"
    return f"{name} is not known where the class is declared", "import it, or declare it at the top of the module"
