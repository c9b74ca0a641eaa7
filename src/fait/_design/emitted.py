"""Finds the events that a function makes, and the commands it issues, in the source of the function.

A call of an event class makes an event. Calls of functions and methods of the same top-level package are followed.
Nothing is executed. A class that is chosen at run time, as in `CLASSES[kind](...)`, is not found, and neither is
anything without source.
"""

import ast
import inspect
import sys
import textwrap
import typing
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import lru_cache
from types import FunctionType, ModuleType
from typing import Any, Final

from msgspec import Struct, field

from fait._decisions.aggregate import Aggregate, Command
from fait._decisions.boundary import Boundary
from fait._decisions.decider import Decider
from fait._design.published import imported_names
from fait._events.event import event_type

__all__ = ["Emitted", "annotated_result", "class_names", "emitted_by"]

_COMMAND_CALLS: Final = {"transact", "decide"}
"""Methods whose first argument is a command, a decider or a boundary."""


class Emitted(Struct):
    """What was found in the source of a function.

    Attributes:
        events: event classes that it makes, in the order of the source.
        commands: commands that it issues: `Order.cancel`, or the name of a boundary or the category of a decider.
        functions: the functions that were read, as module and qualified name.
    """

    events: dict[type, None] = field(default_factory=dict[type, None])
    commands: dict[str, None] = field(default_factory=dict[str, None])
    functions: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])


def emitted_by(function: Callable[..., Any], owner: type | None = None) -> Emitted:
    """Return what a function makes and issues, also through functions that it calls.

    Args:
        function: the function; of a decorated one, the function that the decorator wraps.
        owner: the class of a method, to follow calls of other methods.
    """
    found = Emitted()
    _read(function, owner, found)
    return found


def annotated_result(function: Callable[..., Any]) -> tuple[type, ...]:
    """Return the event classes in the annotation of a function's result; none if it cannot be evaluated."""
    with suppress(Exception):  # an annotation of the user may be any expression
        return tuple(dict.fromkeys(_event_classes(typing.get_type_hints(function).get("return"))))
    return ()


def class_names(function: Callable[..., Any], parameter: int) -> tuple[str, ...]:
    """Return the names of the classes in the annotation of a parameter; none if it cannot be evaluated."""
    with suppress(Exception):
        name = list(inspect.signature(function).parameters)[parameter]
        annotation = typing.get_type_hints(function)[name]
        classes = typing.get_args(annotation) or (annotation,)
        return tuple(each.__qualname__ for each in classes if isinstance(each, type))
    return ()


def _event_classes(annotation: Any) -> Iterator[type]:
    if isinstance(annotation, type) and event_type(annotation) is not None:
        yield annotation
    for each in typing.get_args(annotation):
        yield from _event_classes(each)


def _read(function: Callable[..., Any], owner: type | None, found: Emitted) -> None:
    function = inspect.unwrap(function)
    if not isinstance(function, FunctionType) or (key := _key(function)) in found.functions:
        return
    found.functions.add(key)
    tree = _parsed(function)
    names = _names_of(function, owner) | _locally_imported(tree, function)
    for call in (each for each in ast.walk(tree) if isinstance(each, ast.Call)):
        _read_call(call, names, function, found)


def _key(function: FunctionType) -> tuple[str, str]:
    return function.__module__, function.__qualname__


@lru_cache(4096)
def _parsed(function: FunctionType) -> ast.AST:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):  # no source, or a lambda in a part of an expression
        return ast.Module([], [])
    if function.__name__ != "<lambda>":
        return tree
    lambdas = [each for each in ast.walk(tree) if isinstance(each, ast.Lambda)]  # the source is the whole statement
    return lambdas[0] if len(lambdas) == 1 else ast.Module([], [])


def _locally_imported(tree: ast.AST, function: FunctionType) -> dict[str, Any]:
    """Return the values of names that a function imports itself, of modules that are imported already."""
    found = dict[str, Any]()
    for name, (module, attribute) in imported_names(tree, function.__globals__.get("__package__") or "").items():
        members = vars(sys.modules[module]) if module in sys.modules else {}
        found[name] = members.get(attribute) if attribute else sys.modules.get(module)
    return found


def _names_of(function: FunctionType, owner: type | None) -> dict[str, Any]:
    """Return the values of the names in a function; its first parameter stands for the class that owns it."""
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    closure = dict[str, Any]()
    for name, cell in cells:
        with suppress(ValueError):  # not defined yet
            closure[name] = cell.cell_contents
    first = function.__code__.co_varnames[:1]
    return {**function.__globals__, **closure, **(dict.fromkeys(first, owner) if owner is not None else {})}


def _read_call(call: ast.Call, names: dict[str, Any], caller: FunctionType, found: Emitted) -> None:
    target, owner = _resolve(call.func, names)
    if made := next((each for each in (target, owner) if _is_event(each)), None):
        found.events[made] = None
    elif isinstance(call.func, ast.Attribute) and call.func.attr in _COMMAND_CALLS and call.args:
        found.commands.update(dict.fromkeys(_command_names(*_resolve(call.args[0], names))))
    elif isinstance(function := _function_of(target), FunctionType) and _same_package(function, caller):
        _read(function, owner if isinstance(owner, type) else None, found)


def _is_event(value: Any) -> bool:
    return isinstance(value, type) and event_type(value) is not None


def _same_package(one: FunctionType, other: FunctionType) -> bool:
    return one.__module__.partition(".")[0] == other.__module__.partition(".")[0]


def _function_of(value: Any) -> Any:
    """Return the function behind a command, a class method or a static method."""
    return value.function if isinstance(value, Command) else getattr(value, "__func__", value)


def _command_names(target: Any, owner: Any) -> Iterator[str]:
    if isinstance(target, Command) and isinstance(owner, type) and issubclass(owner, Aggregate):
        yield f"{owner.__qualname__}.{target.function.__name__}"
    elif isinstance(target, Boundary):
        yield target.name
    elif isinstance(target, Decider):
        yield target.category


def _resolve(node: ast.expr, names: dict[str, Any]) -> tuple[Any, Any]:
    """Return the value of a name or of an attribute of a module or class, with the module or class; else None."""
    if isinstance(node, ast.Name):
        return names.get(node.id), None
    if not isinstance(node, ast.Attribute):
        return None, None
    owner, _ = _resolve(node.value, names)
    if isinstance(owner, ModuleType):
        return vars(owner).get(node.attr), owner
    if isinstance(owner, type):
        return next((vars(cls)[node.attr] for cls in owner.__mro__ if node.attr in vars(cls)), None), owner
    return None, None
