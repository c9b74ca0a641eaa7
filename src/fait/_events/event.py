"""An event is a fact that happened: a class with a stored name, declared once and frozen for ever.

    @fait.event("shop.order-placed", version=2)
    class OrderPlaced:
        customer_id: str
        total: Decimal
        placed_at: datetime

A plain class is rebuilt as a frozen `msgspec.Struct`. Frozen dataclasses, Structs, attrs classes and Pydantic models
are kept as they are. The stored name identifies the event, never the import path: the class may move and be renamed.
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from types import FunctionType
from typing import Any, Final, Literal, TypeVar, cast, dataclass_transform

import msgspec
from msgspec import Struct, field, structs

from fait._errors import DeclarationError
from fait._events import type_inspection, validation

__all__ = ["DEFAULT_RETENTION", "EventType", "describe", "event", "event_type", "field", "is_event_name", "replace"]

C = TypeVar("C", bound=type)
T = TypeVar("T")

Kind = Literal["plain", "struct", "dataclass", "attrs", "pydantic"]
MAX_NAME: Final = 200

DEFAULT_RETENTION: Final = timedelta(days=7)
"""How long a message is kept that says no more than that it expires."""

_encode = msgspec.json.Encoder(decimal_format="string").encode


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def event(
    name: str, /, *, version: int = 1, kw_only: bool = False, expires: bool | timedelta | None = None
) -> Callable[[type[T]], type[T]]:
    """Declares a class as an event.

    A plain class becomes a frozen `msgspec.Struct` with the annotated fields. A dataclass, Struct, attrs class or
    Pydantic model stays what it is and must be frozen. Types are not resolved before the first use, so forward
    references are fine.

    Args:
        name: the stored name, such as "shop.order-placed": 1 to 200 printable characters. It never changes.
        version: the schema version, from 1; raise it when the fields change.
        kw_only: whether the fields of a plain class are given by keyword only.
        expires: for a message that is worth nothing once it was handled: after how long it may be dropped, True = 7
            days. A fact is kept for ever.

    Raises:
        DeclarationError: the name or version is not usable, or the class is mutable or cannot be an event.
    """
    place = _DeclarationSite(sys._getframe(1))  # pyright: ignore[reportPrivateUsage] - the one way to the caller's line
    _check_name(name, version, place)
    keep = _retention(name, expires, place)

    def declare(cls: type[T]) -> type[T]:
        return _declare(cls, name, version, place, keep, kw_only=kw_only)

    return declare


def describe(name: str, /, *, version: int = 1, expires: bool | timedelta | None = None) -> Callable[[C], C]:
    """Declares a class as an event and leaves it as it is: for classes that cannot be frozen, or that others own.

        describe("crm.customer-changed")(their.CustomerChanged)

    Args:
        name: the stored name, as for `event`.
        version: the schema version, from 1.
        expires: as for `event`.

    Raises:
        DeclarationError: the name or version is not usable, or the class is a plain class.
    """
    place = _DeclarationSite(sys._getframe(1))  # pyright: ignore[reportPrivateUsage] - the one way to the caller's line
    _check_name(name, version, place)
    keep = _retention(name, expires, place)

    def declare(cls: C) -> C:
        if _kind(cls, place) == "plain":
            raise DeclarationError(
                f"{cls.__qualname__} is a plain class and would have to be rebuilt: use @fait.event({name!r}) "
                f"({place.where})"
            )
        _mark(cls, EventType(name, version, cls, place, keep, rebuilt=False))
        return cls

    return declare


def replace(event: T, /, **changes: Any) -> T:
    """A copy of an event with some fields changed. The event itself stays as it is."""
    if isinstance(event, Struct):
        return cast("T", structs.replace(event, **changes))
    if hasattr(event, "__replace__"):
        return cast("T", cast("Any", event).__replace__(**changes))
    if attributes := getattr(type(event), "__attrs_attrs__", ()):
        kept = {a.alias: getattr(event, a.name) for a in attributes if a.init}
        return type(event)(**(kept | changes))
    import dataclasses  # loads `inspect`; whoever has a dataclass has paid for it already

    return cast("T", dataclasses.replace(cast("Any", event), **changes))


def event_type(cls: type) -> "EventType | None":
    """What was declared about this very class. A subclass of an event is no event until it is declared itself."""
    return cls.__dict__.get("__fait__")


class EventType:
    """What is known about one event class: its stored name, its version and how to write and read it.

    Attributes:
        name: the stored name.
        version: the schema version, from 1.
        cls: the class.
        where: file and line of the declaration, "orders.py:12".
        keep: how long a message is kept at least; None = a fact, kept for ever.
        encode: turns an event of this class into compact JSON, proven to read back as an equal event. Raises
            `InvalidValue` with the path of what cannot be stored exactly.
        decode: turns that JSON back into an event. Raises the error of msgspec or Pydantic.
    """

    __slots__ = (
        "_checked",
        "_place",
        "_rebuilt",
        "cls",
        "decode",
        "encode",
        "name",
        "retention",
        "schema_version",
        "source_location",
    )

    encode: Callable[[Any], bytes]
    decode: Callable[[bytes | str], Any]

    def __init__(
        self, name: str, version: int, cls: type, place: "_DeclarationSite", keep: timedelta | None, *, rebuilt: bool
    ) -> None:
        self.name = name
        self.schema_version = version
        self.cls = cls
        self.source_location = place.where
        self.retention = keep
        self.encode = self._encode_first
        self.decode = self._decode_first
        self._place = place
        self._rebuilt = rebuilt
        self._checked = False

    def __repr__(self) -> str:
        return f"<event {self.name!r} version {self.schema_version}: {self.cls.__qualname__} ({self.source_location})>"

    @property
    def scope(self) -> Mapping[str, Any] | None:
        """The local names that the annotations of a rebuilt class may mention; None for a class kept as it is."""
        return (self._place.scope or {}) if self._rebuilt else None

    def check(self) -> None:
        """Resolves the types of the class and proves that JSON holds them exactly. Does nothing the second time.

        Raises:
            DeclarationError: it lists all problems of the class, each with its line.
        """
        if self._checked:
            return
        shape = type_inspection.inspect_types(self.cls, _scope)
        if shape.problems:
            raise DeclarationError(
                type_inspection.format_problems(
                    self.name, self.cls, self.source_location, self._place.file, shape.problems
                )
            )
        self._bind(shape)
        self._checked = True
        self._place.scope = None

    def _bind(self, shape: type_inspection.TypeReport) -> None:
        cls: Any = self.cls
        if hasattr(cls, "__pydantic_fields__") and hasattr(cls, "model_validate_json"):
            self.decode = cls.model_validate_json
            dump: Callable[[Any], bytes] = _dump_pydantic
        else:
            try:
                self.decode = msgspec.json.Decoder(cls).decode
            except Exception as problem:  # its types are whatever the annotations of strangers evaluate to
                reason = type_inspection.Problem(cls, "", None, str(problem), "another type for the field in question")
                raise DeclarationError(
                    type_inspection.format_problems(self.name, cls, self.source_location, self._place.file, [reason])
                ) from None
            dump = _encode
        self.encode = _encoder(f"event {self.name!r}", cls, dump, self.decode, shape)

    def _encode_first(self, event: Any) -> bytes:
        self.check()
        return self.encode(event)

    def _decode_first(self, data: bytes | str) -> Any:
        self.check()
        return self.decode(data)


def _encoder(
    what: str,
    cls: type,
    dump: Callable[[Any], bytes],
    load: Callable[[bytes | str], Any],
    shape: type_inspection.TypeReport,
) -> Callable[[Any], bytes]:
    doubtful = validation.precheck(
        integers=shape.has_integers,
        deep=shape.is_recursive,
        naive=shape.has_naive_datetimes,
        decimals=shape.has_decimals,
    )

    def encode(event: Any) -> bytes:
        """The whole proof of a good event; whatever fails it is looked at again, slowly, to say why."""
        if type(event) is cls:
            try:
                data = dump(event)
                if load(data) == event and not doubtful(data):
                    return data
            except Exception:  # noqa: S110 - user code may run in here; `explain` runs it again and tells
                pass
        return validation.validate_slow(event, what, cls, dump, load)

    return encode


def _dump_pydantic(event: Any) -> bytes:
    text: str = event.model_dump_json(by_alias=True, warnings="error")
    return text.encode()


class _DeclarationSite:
    """Where a class was declared, and the local names it may refer to until its types are resolved."""

    __slots__ = ("file", "scope", "where")

    def __init__(self, frame: Any) -> None:
        self.file: str = frame.f_code.co_filename
        self.where = f"{type_inspection.base_name(self.file)}:{frame.f_lineno}"
        self.scope: Mapping[str, Any] | None = None if frame.f_locals is frame.f_globals else dict(frame.f_locals)


def _scope(cls: type) -> Mapping[str, Any] | None:
    known = event_type(cls)
    return None if known is None else known.scope


def is_event_name(name: str) -> bool:
    """Whether a text can name an event type: short, printable, without blanks that nobody sees."""
    return 1 <= len(name) <= MAX_NAME and name.isprintable() and name == name.strip() and "  " not in name


def _check_name(name: object, version: object, place: _DeclarationSite) -> None:
    if not isinstance(name, str):
        raise DeclarationError(f'an event needs its stored name: @fait.event("shop.order-placed") ({place.where})')
    if not is_event_name(name):
        raise DeclarationError(
            f"{name[:MAX_NAME]!r} is not an event name: use 1 to {MAX_NAME} printable characters without leading, "
            f"trailing or double blanks, for example 'shop.order-placed' ({place.where})"
        )
    if type(version) is not int or version < 1:
        raise DeclarationError(f"the version of event {name!r} is {version!r}; versions are 1, 2, 3, … ({place.where})")


def _retention(name: str, expires: object, place: _DeclarationSite) -> timedelta | None:
    if expires is None or expires is False:
        return None
    keep = DEFAULT_RETENTION if expires is True else expires
    if not isinstance(keep, timedelta) or keep <= timedelta():
        raise DeclarationError(
            f"expires= of event {name!r} is {expires!r}: it takes True, for {DEFAULT_RETENTION.days} days, or a timedelta above "
            f"zero ({place.where})"
        )
    return keep


def _declare(
    cls: type[T], name: str, version: int, place: _DeclarationSite, keep: timedelta | None, *, kw_only: bool
) -> type[T]:
    kind = _kind(cls, place)
    if kind == "plain":
        new = _freeze(cls, place, kw_only=kw_only)
        _mark(new, EventType(name, version, new, place, keep, rebuilt=True))
        return cast("type[T]", new)
    if kw_only:
        raise DeclarationError(
            f"kw_only is for plain classes; {cls.__qualname__} has its own way to say it ({place.where})"
        )
    if not _is_frozen(cls, kind):
        raise DeclarationError(
            f"{cls.__qualname__} is mutable, and a fact cannot change: {_HOW_TO_FREEZE[kind]}. "
            f"If it cannot be frozen: @fait.describe({name!r}) ({place.where})"
        )
    _mark(cls, EventType(name, version, cls, place, keep, rebuilt=_extends_rebuilt(cls)))
    return cls


_HOW_TO_FREEZE: Mapping[Kind, str] = {
    "struct": "add frozen=True to the class statement",
    "dataclass": "add frozen=True to @dataclass",
    "attrs": "use @attrs.frozen, or add frozen=True",
    "pydantic": "add frozen=True to the class statement or to model_config",
}


def _kind(cls: Any, place: _DeclarationSite) -> Kind:
    if not _is_class(cls):
        raise DeclarationError(f"an event is a class, and a {type(cls).__name__} is none ({place.where})")
    if (known := event_type(cls)) is not None:
        raise DeclarationError(
            f"{cls.__qualname__} is declared already, as {known.name!r} ({known.source_location}) ({place.where})"
        )
    if hasattr(cls, "__pydantic_fields__") and hasattr(cls, "model_validate_json"):
        return "pydantic"
    if issubclass(cls, Struct):
        return "struct"
    if "__attrs_attrs__" in cls.__dict__:
        return "attrs"
    if "__dataclass_fields__" in cls.__dict__:
        return "dataclass"
    if type(cls) is type:
        return "plain"
    raise DeclarationError(
        f"{cls.__qualname__} has the metaclass {type(cls).__name__} and cannot be rebuilt as an event: "
        f"drop the base class that brings it, or make it a frozen dataclass ({place.where})"
    )


def _is_class(cls: object) -> bool:
    return isinstance(cls, type)


def _is_frozen(cls: Any, kind: Kind) -> bool:
    if kind == "pydantic":
        return bool(cls.model_config.get("frozen"))
    if kind == "struct":
        return bool(cls.__struct_config__.frozen)
    if kind == "dataclass":
        return bool(cls.__dataclass_params__.frozen)
    return bool(cls.__setattr__.__name__ == "_frozen_setattrs")


def _extends_rebuilt(cls: type) -> bool:
    return any(_scope(base) is not None for base in cls.__mro__[1:])


def _mark(cls: type, declared: EventType) -> None:
    cast("Any", cls).__fait__ = declared


def _freeze(cls: type, place: _DeclarationSite, *, kw_only: bool) -> type:
    _check_plain(cls, place)
    namespace = {k: v for k, v in cls.__dict__.items() if k not in ("__dict__", "__weakref__")}
    bases = tuple(base for base in cls.__bases__ if base is not object)
    make = cast("Callable[..., type]", type(Struct))
    try:
        new = make(cls.__name__, (*bases, Struct), namespace, frozen=True, kw_only=kw_only)
    except (TypeError, ValueError) as problem:
        raise DeclarationError(f"{cls.__qualname__} cannot be an event: {problem} ({place.where})") from None
    for function in _functions(namespace):
        for cell in function.__closure__ or ():
            # Zero-argument super() and __class__ look into this cell.
            if _content(cell) is cls:
                cell.cell_contents = new
    return new


def _check_plain(cls: type, place: _DeclarationSite) -> None:
    def refuse(why: str) -> DeclarationError:
        return DeclarationError(f"{cls.__qualname__} cannot be an event: {why} ({place.where})")

    bases: tuple[Any, ...] = cls.__mro__[1:-1]
    for base in bases:
        if base.__module__ == "builtins" or issubclass(base, tuple):
            raise refuse(f"it is a {base.__name__}; make it a class of its own")
        if base.__module__ != "typing" and "__annotations__" in base.__dict__ | _lazy_annotations(base):
            raise refuse(
                f"its base {base.__qualname__} has fields but is a plain class; declare it too, or drop its fields"
            )
    for name, member in cls.__dict__.items():
        if name in ("__init__", "__new__"):
            raise refuse(f"it defines {name}; use __post_init__ to check values, or a classmethod to build them")
        if name == "__slots__":
            raise refuse("it defines __slots__; events have slots already, so drop the line")
        if type(member).__name__ == "cached_property":
            raise refuse(f"cached_property {name} needs a place to write to; use property")


def _lazy_annotations(cls: Any) -> Mapping[str, Any]:
    """From Python 3.14 on, annotations live behind a function."""
    return {"__annotations__": None} if cls.__dict__.get("__annotate_func__") is not None else {}


def _functions(namespace: Mapping[str, Any]) -> Iterator[FunctionType]:
    waiting = list(namespace.values())
    while waiting:
        member = waiting.pop()
        if isinstance(member, property):
            waiting += [member.fget, member.fset, member.fdel]
        elif isinstance(member, classmethod | staticmethod):
            waiting.append(cast("Any", member).__func__)
        elif isinstance(member, FunctionType):
            yield member
            waiting.append(getattr(member, "__wrapped__", None))


def _content(cell: Any) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # an empty cell
        return None
