"""Fold hashes: a hash of the code that a fold runs. It changes when the fold might compute another state.

The hash covers the bytecode of the running process rather than source files: a file may have been replaced while the
process runs, and a console or a frozen program has none. Line numbers, docstrings and padding are excluded, so comments
and formatting do not change the hash. Another minor version of Python changes it; snapshots are then saved again.

Covered, within the top-level package of `evolve`: `evolve` itself; the functions, classes, constants and closures it
names, and those that they name in turn; methods of its own class that it calls; the fields, types and defaults of the
state and of the events; the upcasters of the events.

Not covered: names computed at run time (`getattr(self, "on_" + kind)`), data files, the environment, other packages.
After such a change, delete the snapshots; that is safe at any time.
"""

import dis
import re
import sys
import typing
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import date, time, timedelta, tzinfo
from decimal import Decimal
from enum import Enum
from functools import cached_property, partial
from importlib import import_module
from types import CodeType, FunctionType, MappingProxyType, MethodType, ModuleType
from typing import Any, Final, NamedTuple, cast
from uuid import UUID

from msgspec import Struct

from fait._events.envelope import Untyped
from fait._events.registry import Registry, declaration_of

__all__ = ["fold_hash"]

_FORMAT_VERSION: Final = 1
"""Version of the hashed content. Increment it when this module hashes other content than before."""

_PLAIN_TYPES: Final = (
    type(None), type(...), bool, int, float, complex, str, bytes, range, Decimal, date, time, timedelta, tzinfo, UUID
)  # fmt: skip
_CONTAINERS: Final = (tuple, list, set, frozenset, dict, MappingProxyType)
_PADDING: Final = {"NOP", "CACHE", "EXTENDED_ARG"}
_FUSED: Final = re.compile(r"((?:LOAD|STORE)_FAST(?:_BORROW)?)_((?:LOAD|STORE)_FAST(?:_BORROW)?)")
_ADDRESS: Final = re.compile(r" at 0x[0-9A-Fa-f]+")


def fold_hash(
    evolve: Callable[..., Any], initial: Callable[..., Any], state: object, events: Iterable[type], registry: Registry
) -> str:
    """Return the hash of a fold, as 32 hexadecimal digits.

    Args:
        evolve: the function that returns the state after an event.
        initial: the function that returns the initial state; the class of an aggregate.
        state: the type of the state.
        events: the event classes that `evolve` handles.
        registry: holds the events' upcasters.
    """
    owner = state if isinstance(state, type) and hasattr(state, "evolve") else None
    walk = _CodeWalk(_package(evolve.__module__), owner)
    walk.add((_FORMAT_VERSION, sys.implementation.cache_tag, evolve, state, initial))
    for cls in sorted(events, key=lambda cls: cls.__qualname__):
        if cls is Untyped:
            walk.add("untyped")
            continue
        declared = declaration_of(cls)
        steps = [(step.from_version, step.function) for step in registry.upcasters_from(declared, 1)]
        walk.add((declared.name, declared.schema_version, cls, steps))
    return walk.digest()


class _Instruction(NamedTuple):
    offset: int
    name: str
    argument: Any
    jumps: bool


class _CodeWalk:
    """Walks the objects that code refers to and collects text for the hash, once for each object."""

    def __init__(self, package: str, owner: type | None) -> None:
        self._package = package
        self._owner = owner  # only the members that the fold refers to are hashed; the others are commands
        self._parts: list[str] = []
        self._open_containers: list[object] = []
        self._seen: dict[int, object] = {}  # holds the objects, so that their ids are not reused

    def digest(self) -> str:
        import hashlib  # here, as it is slow to import and only snapshots need it

        return hashlib.sha256("\0".join(self._parts).encode(errors="surrogatepass")).hexdigest()[:32]

    def add(self, thing: Any) -> None:
        """Add a value, function, class or type, with everything it refers to."""
        if isinstance(thing, _PLAIN_TYPES) and not isinstance(thing, Enum):
            self._parts.append(repr(thing))
        elif isinstance(thing, _CONTAINERS):
            self._container(thing)
        elif isinstance(thing, CodeType):
            self._code(thing)
        elif typing.get_args(thing):
            self._type(thing)
        elif id(thing) in self._seen:
            self._parts.append(_name(thing))
        else:
            self._seen[id(thing)] = thing
            self._add_new(thing)

    def _add_all(self, *things: Any) -> None:
        for thing in things:
            self.add(thing)

    def _container(self, thing: Any) -> None:
        # Equal constants may or may not be the same object. So containers are not deduplicated; only recursion stops.
        self._parts.append(type(thing).__name__)
        if any(each is thing for each in self._open_containers):
            return
        self._open_containers.append(thing)
        if isinstance(thing, set | frozenset):
            self._add_all(*sorted(cast("Iterable[Any]", thing), key=_stable_repr))
        else:
            self._add_all(*(thing.items() if isinstance(thing, dict | MappingProxyType) else thing))
        self._open_containers.pop()
        self._parts.append("end")

    def _add_new(self, thing: Any) -> None:
        match thing:
            case FunctionType():
                self._function(thing)
            case type():
                self._class(thing)
            case ModuleType():
                self._parts.append(_name(thing))
            case Enum():
                self._add_all(_name(thing), thing.name, type(thing))
            case MethodType():
                self._add_all("method", thing.__func__)
            case property():
                self._add_all("property", thing.fget)
            case partial():
                self._add_all("partial", thing.func, thing.args, thing.keywords)
            case cached_property():
                self._add_all("property", thing.func)
            case re.Pattern():
                self._add_all("pattern", cast("Any", thing).pattern, thing.flags)
            case _:
                self._add_other(thing)

    def _add_other(self, thing: Any) -> None:
        """Add a type alias, a wrapper of a function, or a constant that is an instance of a record class."""
        self._parts.append(_name(thing))
        for attribute in ("__value__", "__supertype__", "__wrapped__", "factory"):  # factory: the default of a field
            if (inner := getattr(thing, attribute, None)) is not None:
                self.add(inner)
                return
        if self._is_own_package(type(thing)):
            self._add_all(type(thing), *(getattr(thing, name, None) for name in _field_names(type(thing))))

    def _is_own_package(self, thing: Any) -> bool:
        return _package(getattr(thing, "__module__", None) or "") == self._package

    def _type(self, kind: Any) -> None:
        """Add a type in an annotation: its representation and the classes in it."""
        self._parts.append(_stable_repr(kind))
        parts = typing.get_args(kind)
        self._add_all(*((typing.get_origin(kind), *parts) if parts else (kind,)))

    def _class(self, cls: type) -> None:
        self._parts.append(_name(cls))
        if not self._is_own_package(cls):
            return
        for name, kind in _annotations(cls).items():
            self._parts.append(name)
            self._type(kind)
        self._add_all(*_defaults(cls), *(base for base in cls.__mro__[1:] if self._is_own_package(base)))
        if self._owner is None or not issubclass(self._owner, cls):
            for name, member in sorted(vars(cls).items()):
                if not name.startswith("__") or (_is_code(member) and not name.startswith("__annotate")):
                    self._add_all(name, member)

    def _function(self, function: FunctionType) -> None:
        self._parts.append(_name(function) if not self._is_own_package(function) else "function")
        if not self._is_own_package(function):
            return
        self._add_all(function.__code__, function.__defaults__, function.__kwdefaults__)
        self._add_all(*(_cell_contents(cell) for cell in function.__closure__ or ()))
        codes = list(_nested_code(function.__code__))
        names = {name for code in codes for name in code.co_names}
        namespace = function.__globals__
        for name in sorted({name for code in codes for name in _globals(code)} & namespace.keys()):
            self._add_all(name, namespace[name])
            self._add_module_members(namespace[name], names, set())
        for code in codes:
            for module in self._imported_modules(code, namespace.get("__package__") or ""):
                self._add_module_members(module, names, set())
        for cls in self._owner.__mro__ if self._owner else ():
            if self._is_own_package(cls):
                self._add_all(*(part for name in sorted(names & vars(cls).keys()) for part in (name, vars(cls)[name])))

    def _add_module_members(self, module: Any, names: set[str], visited: set[ModuleType]) -> None:
        """Add the named members of a module, and of the modules reached through it."""
        if not isinstance(module, ModuleType) or _package(module.__name__) != self._package or module in visited:
            return
        visited.add(module)
        for name in sorted(names & vars(module).keys()):
            self._add_all(name, vars(module)[name])
            self._add_module_members(vars(module)[name], names, visited)

    def _imported_modules(self, code: CodeType, package: str) -> Iterator[ModuleType]:
        """Yield the modules that a function imports when it runs. The import level is loaded two steps before."""
        steps = _instructions(code)
        for index, step in enumerate(steps):
            if step.name == "IMPORT_NAME":
                level = steps[index - 2].argument
                if level or _package(step.argument) == self._package:
                    with suppress(ImportError):  # the fold itself will raise it
                        yield import_module("." * level + step.argument, package)

    def _code(self, code: CodeType) -> None:
        steps = _instructions(code)
        offsets = [step.offset for step in steps]

        def index_of(offset: int) -> int:
            return bisect_left(offsets, offset)

        self._add_all(code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags & 0xFF)
        for step in steps:
            self._add_all(step.name, index_of(step.argument) if step.jumps else step.argument)
        for entry in cast("Any", dis.Bytecode(code)).exception_entries:
            self._add_all(index_of(entry.start), index_of(entry.end), index_of(entry.target), entry.depth)


def _package(module: str) -> str:
    return module.partition(".")[0]


def _name(thing: Any) -> str:
    if isinstance(thing, ModuleType):
        return thing.__name__
    named: Any = thing if hasattr(thing, "__qualname__") else thing.__class__
    return f"{getattr(named, '__module__', '')}.{named.__qualname__}"


def _stable_repr(thing: object) -> str:
    return _ADDRESS.sub("", repr(thing))


def _is_code(member: Any) -> bool:
    return isinstance(member, FunctionType | classmethod | staticmethod | property)


def _cell_contents(cell: Any) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # an empty cell
        return None


def _nested_code(code: CodeType) -> Iterator[CodeType]:
    """Yield the code of a function and of the functions, classes and comprehensions inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _nested_code(constant)


def _instructions(code: CodeType) -> list[_Instruction]:
    """Return the instructions, with fused ones split: the compiler fuses only instructions of the same source line."""
    instructions: list[_Instruction] = []
    for step in dis.get_instructions(code):
        if fused := _FUSED.fullmatch(step.opname):
            pairs = zip(fused.groups(), step.argval, strict=True)
            instructions += [_Instruction(step.offset, name, argument, jumps=False) for name, argument in pairs]
        elif step.opname not in _PADDING:
            jumps = step.opcode in dis.hasjrel or step.opcode in dis.hasjabs
            instructions.append(_Instruction(step.offset, step.opname, step.argval, jumps))
    return instructions


def _globals(code: CodeType) -> Iterator[str]:
    return (step.argument for step in _instructions(code) if step.name in ("LOAD_GLOBAL", "LOAD_NAME"))


def _field_names(cls: Any) -> tuple[str, ...]:
    attributes = [attribute.name for attribute in getattr(cls, "__attrs_attrs__", ())]
    return tuple(
        getattr(cls, "__struct_fields__", None)
        or getattr(cls, "__dataclass_fields__", None)
        or getattr(cls, "__pydantic_fields__", None)
        or attributes
    )


def _annotations(cls: Any) -> dict[str, Any]:
    try:
        return typing.get_type_hints(cls, include_extras=True)
    except Exception:  # a name is imported for type checkers only; use the unresolved annotations
        return dict(getattr(cls, "__annotations__", {}))


def _defaults(cls: Any) -> list[Any]:
    """Return the defaults of a record class's fields, and its JSON options."""
    if issubclass(cls, Struct):
        config = cls.__struct_config__
        return [*cls.__struct_defaults__, cls.__struct_encode_fields__, config.tag, config.tag_field, config.array_like]
    fields: Any = getattr(cls, "__pydantic_fields__", None) or getattr(cls, "__dataclass_fields__", {})
    defaults = [part for field in fields.values() for part in (field.default, field.default_factory)]
    return defaults + [attribute.default for attribute in getattr(cls, "__attrs_attrs__", ())]
