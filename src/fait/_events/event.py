"""Declares event classes: `@fait.event` gives a class a stored name and a schema version.

    @fait.event("shop.order-placed", version=2)
    class OrderPlaced:
        customer_id: str
        total: Decimal
        placed_at: datetime

A plain class is rebuilt as a frozen `msgspec.Struct`. Frozen dataclasses, Structs, attrs classes and Pydantic models
remain as they are. Events are stored under the stored name, not the import path, so a class may be moved and renamed.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from datetime import timedelta
from types import FunctionType
from typing import Any, Final, NamedTuple, TypeVar, cast, dataclass_transform

import msgspec
from msgspec import Struct, field

from fait._errors import DeclarationError, UsageError
from fait._events import type_inspection, validation
from fait._events.json_equality import order_sets
from fait._events.record import Kind, changed_copy, is_frozen, kind_of, types_of

__all__ = [
    "DEFAULT_RETENTION",
    "MAX_EVENT_NAME_CHARS",
    "MAX_SCHEMA_VERSION",
    "NOTHING_DECIDED",
    "EventType",
    "describe",
    "event",
    "event_type",
    "field",
    "is_event_name",
    "is_schema_version",
    "not_an_event",
    "replace",
]

C = TypeVar("C", bound=type)
T = TypeVar("T")

MAX_EVENT_NAME_CHARS: Final = 200
"""Maximum length of a stored name, in characters."""

MAX_SCHEMA_VERSION: Final = (1 << 31) - 1
"""Maximum schema version: PostgreSQL stores an integer of 32 bits."""

DEFAULT_RETENTION: Final = timedelta(days=7)
"""Retention of messages declared with `expires=True`."""

NOTHING_DECIDED: Final = "fait.nothing_decided"
"""Type of the event that remembers a key whose decision had no events. Reserved: no application declares, appends or
reads it."""

_encode = msgspec.json.Encoder(decimal_format="string").encode


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def event(
    name: str,
    /,
    *,
    version: int = 1,
    kw_only: bool = False,
    expires: bool | timedelta | None = None,
    was: Sequence[str] = (),
) -> Callable[[type[T]], type[T]]:
    """Declare a class as an event.

    A plain class becomes a frozen `msgspec.Struct` with the annotated fields. A dataclass, Struct, attrs class or
    Pydantic model remains as it is and must be frozen. Field types are resolved and checked when an app that includes
    the class is opened, or at first use, so forward references are allowed. A type that JSON cannot store exactly
    raises `DeclarationError` then.

    Args:
        name: the stored name, such as "shop.order-placed": 1 to 200 printable characters. Recorded events refer to it,
            so it must never change.
        version: the schema version, from 1; increase it when the fields change.
        kw_only: whether the fields of a plain class are keyword-only arguments.
        expires: declares a message, which may be dropped once it is older than this and every subscription has passed
            it; True: 7 days. Other events are kept.
        was: former names, oldest first. Events that are stored under them are of this type, with the same schema
            versions; all readers include them.

    Raises:
        DeclarationError: the name or version is invalid, the class is mutable, or it cannot be an event.
    """
    site = _DeclarationSite(sys._getframe(1))  # pyright: ignore[reportPrivateUsage] - the only way to the caller's line
    _check_name(name, version, site)
    stored = _StoredAs(name, version, _retention(name, expires, site), _former_names(name, was, site))

    def declare(cls: type[T]) -> type[T]:
        return _declare(cls, stored, site, kw_only=kw_only)

    return declare


def describe(
    name: str, /, *, version: int = 1, expires: bool | timedelta | None = None, was: Sequence[str] = ()
) -> Callable[[C], C]:
    """Declare a class as an event without changing it: for a class of a library, or one that cannot be frozen.

        fait.describe("crm.customer-changed")(crm.CustomerChanged)

    Args:
        name: the stored name, as for `event`.
        version: the schema version, from 1.
        expires: as for `event`.
        was: as for `event`.

    Raises:
        DeclarationError: the name or version is invalid, or the class is a plain class.
    """
    site = _DeclarationSite(sys._getframe(1))  # pyright: ignore[reportPrivateUsage] - the only way to the caller's line
    _check_name(name, version, site)
    stored = _StoredAs(name, version, _retention(name, expires, site), _former_names(name, was, site))

    def declare(cls: C) -> C:
        if _kind(cls, site) == "plain":
            raise DeclarationError(
                f"{cls.__qualname__} is a plain class, which describe cannot use unchanged: declare it with "
                f"@fait.event({name!r}) ({site.location})"
            )
        _mark(cls, EventType(stored, cls, site, rebuilt=False))
        return cls

    return declare


def replace(event: T, /, **changes: Any) -> T:
    """Return a copy of an event with some fields changed.

    Args:
        event: the event, which is not changed.
        **changes: new values by field name.

    Raises:
        UsageError: the first argument is not an event.
    """
    if event_type(type(event)) is None:
        raise not_an_event(event)
    return changed_copy(event, changes)


def event_type(cls: type) -> "EventType | None":
    """Return the declaration of this class, or None. A subclass does not inherit the declaration of its base."""
    return cls.__dict__.get("__fait__")


class EventType:
    """The declaration of an event class: stored name, schema version, encoder and decoder.

    Attributes:
        name: the stored name.
        schema_version: the schema version, from 1.
        cls: the class.
        source_location: file and line of the declaration: "orders.py:12".
        retention: minimum time for which a message is kept; None: the event does not expire.
        was: former names, oldest first.
        encode: encodes an event of this class as compact JSON and checks that it decodes to an equal event. Raises
            `InvalidValue` with the path of a value that cannot be stored exactly.
        decode: decodes that JSON. Raises the exceptions of msgspec or Pydantic.
    """

    __slots__ = (
        "_checked",
        "_rebuilt",
        "_site",
        "cls",
        "decode",
        "encode",
        "name",
        "retention",
        "schema_version",
        "source_location",
        "was",
    )

    name: str
    schema_version: int
    cls: type
    source_location: str
    retention: timedelta | None
    was: tuple[str, ...]
    encode: Callable[[Any], bytes]
    decode: Callable[[bytes | str], Any]

    def __init__(self, stored: "_StoredAs", cls: type, site: "_DeclarationSite", *, rebuilt: bool) -> None:
        self.name, self.schema_version, self.retention, self.was = stored
        self.cls = cls
        self.source_location = site.location
        self.encode = self._encode_first
        self.decode = self._decode_first
        self._site = site
        self._rebuilt = rebuilt
        self._checked = False

    def __repr__(self) -> str:
        return f"<event {self.name!r} version {self.schema_version}: {self.cls.__qualname__} ({self.source_location})>"

    @property
    def source_file(self) -> str:
        """Path of the file with the declaration."""
        return self._site.file

    @property
    def scope(self) -> Mapping[str, Any] | None:
        """Local names that the annotations of a rebuilt class may refer to; None for a class that was not rebuilt."""
        return (self._site.scope or {}) if self._rebuilt else None

    @property
    def refuses_unknown_keys(self) -> bool:
        """Whether decoding fails at an unknown key although the class does not ask for that; see `unknown_keys`."""
        return self._rebuilt

    def at_version(self, schema_version: int) -> "EventType":
        """Return the type as the target of conversions to another schema version, which its class does not decode."""
        other = copy(self)
        other.schema_version = schema_version
        return other

    def check(self) -> None:
        """Resolve the types of the class and check that JSON can store them exactly. Later calls do nothing.

        Raises:
            DeclarationError: lists all problems of the class, each with its line.
        """
        if self._checked:
            return
        report = type_inspection.inspect_types(self.cls, _scope)
        if report.problems:
            raise DeclarationError(
                type_inspection.format_problems(
                    self.name, self.cls, self.source_location, self._site.file, report.problems
                )
            )
        self._bind(report)
        self._checked = True
        self._site.scope = None

    def _bind(self, report: type_inspection.TypeReport) -> None:
        cls: Any = self.cls
        if kind_of(cls) == "pydantic":
            self.decode = cls.model_validate_json
            dump: Callable[[Any], bytes] = _dump_pydantic
        else:
            try:
                self.decode = msgspec.json.Decoder(cls).decode
            except Exception as error:  # annotations can evaluate to anything, so msgspec may fail in any way
                problem = type_inspection.Problem(cls, "", None, str(error), "another type for the field in question")
                raise DeclarationError(
                    type_inspection.format_problems(self.name, cls, self.source_location, self._site.file, [problem])
                ) from None
            dump = _encode
        if report.has_sets:
            dump = _with_ordered_sets(dump)
        self.encode = _encoder(f"event {self.name!r}", cls, dump, self.decode, report)

    def _encode_first(self, event: Any) -> bytes:
        self.check()
        return self.encode(event)

    def _decode_first(self, data: bytes | str) -> Any:
        self.check()
        return self.decode(data)


def _encoder(
    subject: str,
    cls: type,
    dump: Callable[[Any], bytes],
    load: Callable[[bytes | str], Any],
    report: type_inspection.TypeReport,
) -> Callable[[Any], bytes]:
    needs_check = validation.precheck(
        integers=report.has_integers,
        deep=report.is_recursive,
        naive=report.has_naive_datetimes,
        decimals=report.has_decimals,
    )

    def encode(event: Any) -> bytes:
        """Encode and check an event fast; if a check fails, `validate_slow` repeats it to find the reason."""
        if type(event) is cls:
            try:
                data = dump(event)
                if load(data) == event and not needs_check(data):
                    return data
            except Exception:  # noqa: S110 - user code may run here; `validate_slow` runs it again and reports
                pass
        return validation.validate_slow(event, subject, cls, dump, load)

    return encode


def _with_ordered_sets(dump: Callable[[Any], bytes]) -> Callable[[Any], bytes]:
    """Return an encoder that gives equal events the same text in every process, so that a repetition is recognized."""

    def dump_ordered(event: Any) -> bytes:
        return _encode(order_sets(event, msgspec.json.decode(dump(event))))

    return dump_ordered


def _dump_pydantic(event: Any) -> bytes:
    text: str = event.model_dump_json(by_alias=True, warnings="error")
    return text.encode()


class _StoredAs(NamedTuple):
    """How events of a class are stored: name, schema version, retention and former names."""

    name: str
    schema_version: int
    retention: timedelta | None
    was: tuple[str, ...]


class _DeclarationSite:
    """File and line of a declaration, and the local names that annotations may refer to until they are resolved."""

    __slots__ = ("file", "location", "scope")

    def __init__(self, frame: Any) -> None:
        self.file: str = frame.f_code.co_filename
        self.location: str = f"{type_inspection.base_name(self.file)}:{frame.f_lineno}"
        self.scope: Mapping[str, Any] | None = None if frame.f_locals is frame.f_globals else dict(frame.f_locals)


def _scope(cls: type) -> Mapping[str, Any] | None:
    declared = event_type(cls)
    return None if declared is None else declared.scope


def is_event_name(name: str) -> bool:
    """Return whether a string is a valid stored name: short, printable, without leading, trailing or double spaces."""
    return 1 <= len(name) <= MAX_EVENT_NAME_CHARS and name.isprintable() and name == name.strip() and "  " not in name


def is_schema_version(value: object) -> bool:
    """Return whether a value is an integer from 1 to `MAX_SCHEMA_VERSION`."""
    return type(value) is int and 1 <= value <= MAX_SCHEMA_VERSION


def _check_name(name: object, version: object, site: _DeclarationSite) -> None:
    if not isinstance(name, str):
        raise DeclarationError(f'an event needs a stored name: @fait.event("shop.order-placed") ({site.location})')
    if not is_event_name(name):
        raise DeclarationError(
            f"{name[:MAX_EVENT_NAME_CHARS]!r} is not a valid event name: use 1 to {MAX_EVENT_NAME_CHARS} printable "
            f"characters without leading, trailing or double spaces, for example 'shop.order-placed' ({site.location})"
        )
    if name == NOTHING_DECIDED:
        raise DeclarationError(f"the event name {name!r} is reserved ({site.location})")
    if not is_schema_version(version):
        raise DeclarationError(
            f"event {name!r} has version={version!r}; it must be 1, 2, 3, … up to {MAX_SCHEMA_VERSION} "
            f"({site.location})"
        )


def _former_names(name: str, was: object, site: _DeclarationSite) -> tuple[str, ...]:
    names: tuple[Any, ...] = tuple(cast("Sequence[Any]", was)) if isinstance(was, tuple | list) else ()
    if (was and not names) or name in names or not all(isinstance(each, str) and is_event_name(each) for each in names):
        raise DeclarationError(
            f"event {name!r} has was={was!r}; it must be a tuple of other event names: was=('old-name',) "
            f"({site.location})"
        )
    return tuple(dict.fromkeys(names))


def _retention(name: str, expires: object, site: _DeclarationSite) -> timedelta | None:
    if expires is None or expires is False:
        return None
    retention = DEFAULT_RETENTION if expires is True else expires
    if not isinstance(retention, timedelta) or retention <= timedelta():
        raise DeclarationError(
            f"event {name!r} has expires={expires!r}; it must be True ({DEFAULT_RETENTION.days} days) or a timedelta "
            f"greater than zero ({site.location})"
        )
    return retention


def _declare(cls: type[T], stored: _StoredAs, site: _DeclarationSite, *, kw_only: bool) -> type[T]:
    kind = _kind(cls, site)
    if not isinstance(kw_only, bool):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise DeclarationError(f"kw_only= is True or False, not {kw_only!r} ({site.location})")
    if kind == "plain":
        new = _freeze(cls, site, kw_only=kw_only)
        _mark(new, EventType(stored, new, site, rebuilt=True))
        return cast("type[T]", new)
    if kw_only:
        raise DeclarationError(
            f"kw_only= applies to plain classes; use the {kind}'s own option for {cls.__qualname__} ({site.location})"
        )
    if not is_frozen(cls):
        raise DeclarationError(
            f"{cls.__qualname__} is mutable, but events must be immutable: {_HOW_TO_FREEZE[kind]}. "
            f"If it cannot be frozen, use @fait.describe({stored.name!r}) ({site.location})"
        )
    _mark(cls, EventType(stored, cls, site, rebuilt=_extends_rebuilt(cls)))
    return cls


def not_an_event(value: object) -> UsageError:
    """Return the error for a value that was given as an event and whose class is not declared as one."""
    cls: Any = cast("Any", type(value))
    if isinstance(value, type):
        given = f"expected an event, got the class {value.__qualname__}: pass an instance, {value.__qualname__}(...)."
    elif cls.__module__ == "builtins":
        given = (
            f"expected an event, got {cls.__qualname__}: pass an instance of a class declared with @fait.event, or "
            "fait.Untyped(type, data) for an event without a class."
        )
    else:
        given = (
            f"{cls.__module__}.{cls.__qualname__} is not an event: declare it with @fait.event('some-name'), or use "
            "fait.Untyped(type, data) for an event without a class."
        )
    return UsageError(f"{given} Nothing was written.")


_HOW_TO_FREEZE: Mapping[Kind, str] = {
    "struct": "add frozen=True to the class statement",
    "dataclass": "add frozen=True to @dataclass",
    "attrs": "use @attrs.frozen, or add frozen=True",
    "pydantic": "add frozen=True to the class statement or to model_config",
}


def _kind(cls: Any, site: _DeclarationSite) -> Kind:
    if not _is_class(cls):
        raise DeclarationError(f"expected an event class, got an instance of {type(cls).__name__} ({site.location})")
    if (declared := event_type(cls)) is not None:
        raise DeclarationError(
            f"{cls.__qualname__} is already declared as {declared.name!r} at {declared.source_location} "
            f"({site.location})"
        )
    # A plain subclass of a dataclass has no fields of its own, whatever it annotates.
    if (kind := kind_of(cls, inherited=False)) in _HOW_TO_FREEZE:
        return kind
    if type(cls) is type:
        return "plain"
    raise DeclarationError(
        f"{cls.__qualname__} has the metaclass {type(cls).__name__} and cannot be rebuilt as an event: "
        f"remove the base class with that metaclass, or make it a frozen dataclass ({site.location})"
    )


def _is_class(cls: object) -> bool:
    return isinstance(cls, type)


def _extends_rebuilt(cls: type) -> bool:
    return any(_scope(base) is not None for base in cls.__mro__[1:])


def _mark(cls: type, declared: EventType) -> None:
    cast("Any", cls).__fait__ = declared


def _freeze(cls: type, site: _DeclarationSite, *, kw_only: bool) -> type:
    _check_plain(cls, site)
    namespace = {k: v for k, v in cls.__dict__.items() if k not in ("__dict__", "__weakref__")}
    bases = tuple(base for base in cls.__bases__ if base is not object)
    make = cast("Callable[..., type]", type(Struct))
    try:
        new = make(cls.__name__, (*bases, Struct), namespace, frozen=True, kw_only=kw_only, forbid_unknown_fields=True)
    except (TypeError, ValueError) as error:
        raise DeclarationError(f"{cls.__qualname__} cannot be an event: {error} ({site.location})") from None
    cast("Any", new).__get_pydantic_core_schema__ = classmethod(_pydantic_schema)
    for function in _functions(namespace):
        for cell in function.__closure__ or ():
            # Zero-argument super() and __class__ read this cell.
            if _cell_contents(cell) is cls:
                cell.cell_contents = new
    return new


def _pydantic_schema(cls: type, source: type, handler: Any) -> Any:
    """Let web frameworks that use Pydantic write events as JSON, and describe them in OpenAPI."""
    from fait._events.pydantic_schema import struct_schema  # Pydantic is optional

    return struct_schema(cls, types_of(cls, _scope), handler)


def _check_plain(cls: type, site: _DeclarationSite) -> None:
    def declaration_error(reason: str) -> DeclarationError:
        return DeclarationError(f"{cls.__qualname__} cannot be an event: {reason} ({site.location})")

    bases: tuple[Any, ...] = cls.__mro__[1:-1]
    for base in bases:
        if base.__module__ == "builtins" or issubclass(base, tuple):
            raise declaration_error(f"it is a subclass of {base.__name__}; declare a class with a field of that type")
        if base.__module__ != "typing" and "__annotations__" in base.__dict__ | _lazy_annotations(base):
            raise declaration_error(
                f"its base {base.__qualname__} is a plain class with fields; declare it as an event too, or remove "
                "its fields"
            )
    for name, member in cls.__dict__.items():
        if name in ("__init__", "__new__"):
            raise declaration_error(
                f"it defines {name}; use __post_init__ to check values, or a classmethod as a constructor"
            )
        if name == "__slots__":
            raise declaration_error("it defines __slots__, which events have anyway; remove the line")
        if type(member).__name__ == "cached_property":
            raise declaration_error(f"cached_property {name} would write to the frozen instance; use property")


def _lazy_annotations(cls: Any) -> Mapping[str, Any]:
    """Return a stand-in for `__annotations__`, which is computed by a function from Python 3.14 on."""
    return {"__annotations__": None} if cls.__dict__.get("__annotate_func__") is not None else {}


def _functions(namespace: Mapping[str, Any]) -> Iterator[FunctionType]:
    members = list(namespace.values())
    while members:
        member = members.pop()
        if isinstance(member, property):
            members += [member.fget, member.fset, member.fdel]
        elif isinstance(member, classmethod | staticmethod):
            members.append(cast("Any", member).__func__)
        elif isinstance(member, FunctionType):
            yield member
            members.append(getattr(member, "__wrapped__", None))


def _cell_contents(cell: Any) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # an empty cell
        return None
