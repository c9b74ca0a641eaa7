"""A fingerprint of a fold: it differs when the code that makes state from events may give another state.

It is taken from the code that runs, not from the files it came from: a file may have been replaced under a running
process, and a console or a frozen program has none. Bytecode without line numbers, docstrings and padding does not
change with comments and formatting. It does change with Python's minor version, and then everything is folded anew.

What is looked at, as far as it belongs to the same top-level package as `evolve`: `evolve` itself; the functions,
classes, constants and closures it names, and what those name in turn; methods of its own class that it calls; the
fields, types and defaults of the state and of the events; the upcasters that lead to them.

What is not seen: names made at run time (`getattr(self, "on_" + kind)`), data files, the environment, other packages.
Whoever changes a fold through one of those deletes its snapshots, which is always allowed.
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
from fait._events.registry import Registry

__all__ = ["fold_hash"]

_FORMAT_VERSION: Final = 1
"""Raise it when this module looks at something else than before."""

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
    """The fingerprint of a fold.

    Args:
        evolve: the state after an event.
        initial: what gives the first state; the class of an aggregate.
        state: the type of the state.
        events: the classes that `evolve` takes.
        registry: knows how old versions of them are read.
    """
    owner = state if isinstance(state, type) and hasattr(state, "evolve") else None
    walk = _CodeWalk(_package(evolve.__module__), owner)
    walk.add((_FORMAT_VERSION, sys.implementation.cache_tag, evolve, state, initial))
    for cls in sorted(events, key=lambda cls: cls.__qualname__):
        if cls is Untyped:
            walk.add("untyped")
            continue
        declared = registry.add(cls)
        steps = [(step.from_version, step.function) for step in registry.upcasters_from(declared, 1)]
        walk.add((declared.name, declared.schema_version, cls, steps))
    return walk.digest()


class _Instruction(NamedTuple):
    offset: int
    name: str
    argument: Any
    jumps: bool


class _CodeWalk:
    """Collects text for whatever it is shown, each thing once."""

    def __init__(self, package: str, owner: type | None) -> None:
        self._package = package
        self._owner = owner  # of its members only those count that the fold names; the others are commands
        self._parts: list[str] = []
        self._open_containers: list[object] = []
        self._seen: dict[int, object] = {}  # the things, so that no id is given twice

    def digest(self) -> str:
        import hashlib  # slow to import, and needed where there are snapshots

        return hashlib.sha256("\0".join(self._parts).encode(errors="surrogatepass")).hexdigest()[:32]

    def add(self, thing: Any) -> None:
        """Collect what a value, a function, a class or a type means for a fold."""
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
        # Whether two equal constants are one object is chance, so only a container inside itself is cut short.
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
        """The name of a type, something that wraps a function, or a record that is a constant."""
        self._parts.append(_name(thing))
        for inner in ("__value__", "__supertype__", "__wrapped__", "factory"):  # a field's default may have the last
            if (found := getattr(thing, inner, None)) is not None:
                self.add(found)
                return
        if self._is_own_package(type(thing)):
            self._add_all(type(thing), *(getattr(thing, name, None) for name in _field_names(type(thing))))

    def _is_own_package(self, thing: Any) -> bool:
        return _package(getattr(thing, "__module__", None) or "") == self._package

    def _type(self, kind: Any) -> None:
        """A type as an annotation has it: what it looks like, and the classes in it."""
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
        known = function.__globals__
        for name in sorted({name for code in codes for name in _globals(code)} & known.keys()):
            self._add_all(name, known[name])
            self._add_module_members(known[name], names, set())
        for code in codes:
            for module in self._imported_modules(code, known.get("__package__") or ""):
                self._add_module_members(module, names, set())
        for cls in self._owner.__mro__ if self._owner else ():
            if self._is_own_package(cls):
                self._add_all(*(part for name in sorted(names & vars(cls).keys()) for part in (name, vars(cls)[name])))

    def _add_module_members(self, module: Any, names: set[str], visited: set[ModuleType]) -> None:
        """What a function may reach through a module, and through the modules in it."""
        if not isinstance(module, ModuleType) or _package(module.__name__) != self._package or module in visited:
            return
        visited.add(module)
        for name in sorted(names & vars(module).keys()):
            self._add_all(name, vars(module)[name])
            self._add_module_members(vars(module)[name], names, visited)

    def _imported_modules(self, code: CodeType, package: str) -> Iterator[ModuleType]:
        """The modules that a function imports as it runs; `from . import x` loads its level two steps before."""
        steps = _instructions(code)
        for place, step in enumerate(steps):
            if step.name == "IMPORT_NAME":
                level = steps[place - 2].argument
                if level or _package(step.argument) == self._package:
                    with suppress(ImportError):  # it will stop the fold too, which tells
                        yield import_module("." * level + step.argument, package)

    def _code(self, code: CodeType) -> None:
        steps = _instructions(code)
        offsets = [step.offset for step in steps]

        def place(offset: int) -> int:
            return bisect_left(offsets, offset)

        self._add_all(code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags & 0xFF)
        for step in steps:
            self._add_all(step.name, place(step.argument) if step.jumps else step.argument)
        for entry in cast("Any", dis.Bytecode(code)).exception_entries:
            self._add_all(place(entry.start), place(entry.end), place(entry.target), entry.depth)


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
    """The code of a function and of the functions, classes and comprehensions inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _nested_code(constant)


def _instructions(code: CodeType) -> list[_Instruction]:
    """The instructions. Whether two are fused depends on their being in one line, so those are told apart again."""
    found: list[_Instruction] = []
    for step in dis.get_instructions(code):
        if fused := _FUSED.fullmatch(step.opname):
            pairs = zip(fused.groups(), step.argval, strict=True)
            found += [_Instruction(step.offset, name, argument, jumps=False) for name, argument in pairs]
        elif step.opname not in _PADDING:
            jumps = step.opcode in dis.hasjrel or step.opcode in dis.hasjabs
            found.append(_Instruction(step.offset, step.opname, step.argval, jumps))
    return found


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
    except Exception:  # names that exist for type checkers alone: as they are written
        return dict(getattr(cls, "__annotations__", {}))


def _defaults(cls: Any) -> list[Any]:
    """The defaults of a record's fields, and how it is written as JSON."""
    if issubclass(cls, Struct):
        config = cls.__struct_config__
        return [*cls.__struct_defaults__, cls.__struct_encode_fields__, config.tag, config.tag_field, config.array_like]
    fields: Any = getattr(cls, "__pydantic_fields__", None) or getattr(cls, "__dataclass_fields__", {})
    found = [part for field in fields.values() for part in (field.default, field.default_factory)]
    return found + [attribute.default for attribute in getattr(cls, "__attrs_attrs__", ())]
