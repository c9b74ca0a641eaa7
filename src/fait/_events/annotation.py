"""Determines the event classes that a function accepts, from the annotation of its event parameter.

Only this annotation is evaluated: other annotations may refer to names that are imported for type checkers only.
"""

import inspect
import sys
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fait._arguments import described
from fait._errors import DeclarationError

__all__ = ["annotated_events", "check_parameters", "local_names"]


def annotated_events(
    function: Callable[..., Any], arguments: Sequence[str], names: Mapping[str, Any]
) -> tuple[type, ...]:
    """Return the classes in the annotation of the parameter for the event, in order, without duplicates.

    Understands `A | B`, `Union`, aliases, `type` statements, `Annotated`, quoted names and type variables with bounds.

    Args:
        function: a function, or the function behind a method.
        arguments: what the function is called with, in order; one of them is "event".
        names: local names at the definition of the function; see `local_names`.

    Raises:
        DeclarationError: it cannot be called so, or the annotation names no class.
    """
    function = getattr(function, "__func__", function)
    code = getattr(function, "__code__", None)
    if code is None:
        raise DeclarationError(f"evolve must be a function with annotated parameters, not {described(function)}")
    where = f"{code.co_filename}:{code.co_firstlineno}"
    parameter = arguments.index("event")
    if parameter >= code.co_argcount:
        raise DeclarationError(
            f"{function.__qualname__} ({where}) needs a parameter for the event, annotated with the event classes "
            "it accepts"
        )
    check_parameters(function, arguments)
    name = code.co_varnames[parameter]
    try:
        annotation = _annotation(function, name, names)
        classes = tuple(dict.fromkeys(_classes_in(annotation, lambda text: _evaluate(function, text, names))))
    except NameError as error:
        raise DeclarationError(
            f"{function.__qualname__} ({where}): the annotation of {name!r} refers to {error.name}, which is not "
            "defined at run time. If it is imported under TYPE_CHECKING, move the import out of that block."
        ) from None
    if not classes:
        raise DeclarationError(
            f"{function.__qualname__} ({where}): annotate {name!r} with the event classes it accepts, as in "
            "`event: OrderPlaced | OrderPaid`"
        )
    return classes


def check_parameters(function: Callable[..., Any], arguments: Sequence[str]) -> None:
    """Raise `DeclarationError` if a function, or that behind a method, cannot be called with these arguments."""
    function = getattr(function, "__func__", function)
    if (code := getattr(function, "__code__", None)) is None:
        return
    required = code.co_argcount - len(function.__defaults__ or ())
    if required > len(arguments) or (code.co_argcount < len(arguments) and not code.co_flags & inspect.CO_VARARGS):
        raise DeclarationError(
            f"{function.__qualname__} ({code.co_filename}:{code.co_firstlineno}) is called with "
            f"({', '.join(arguments)}), but has other parameters"
        )


def local_names(depth: int) -> Mapping[str, Any]:
    """Return the local names of the function `depth` frames above the caller; none at module level."""
    frame = sys._getframe(depth + 1)  # pyright: ignore[reportPrivateUsage]
    return {} if frame.f_locals is frame.f_globals else dict(frame.f_locals)


def _annotation(function: Any, name: str, names: Mapping[str, Any]) -> Any:
    if sys.version_info >= (3, 14):
        import annotationlib

        raw = annotationlib.get_annotations(function, format=annotationlib.Format.FORWARDREF).get(name)
        if isinstance(raw, annotationlib.ForwardRef):
            raw = raw.evaluate(globals=function.__globals__, locals=dict(names))
        return raw
    return function.__annotations__.get(name)


def _evaluate(function: Any, text: str, names: Mapping[str, Any]) -> Any:
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    closure = {name: cell.cell_contents for name, cell in cells}
    parameters = {parameter.__name__: parameter for parameter in getattr(function, "__type_params__", ())}
    return eval(text, function.__globals__, {**names, **closure, **parameters})  # noqa: S307 - the program's own annotation


def _classes_in(annotation: Any, evaluate: Callable[[str], Any]) -> list[type]:
    """Return the classes in an annotation."""
    if annotation is None or annotation is Any or annotation is object:
        return []
    if isinstance(annotation, str):
        return _classes_in(evaluate(annotation), evaluate)
    if isinstance(annotation, typing.ForwardRef):
        return _classes_in(annotation.__forward_arg__, evaluate)
    if isinstance(annotation, typing.TypeVar):
        parts = annotation.__constraints__ or (annotation.__bound__,)
        return [cls for part in parts for cls in _classes_in(part, evaluate)]
    if hasattr(annotation, "__value__"):  # a `type` statement
        return _classes_in(annotation.__value__, evaluate)
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _classes_in(typing.get_args(annotation)[0], evaluate)
    if origin in (typing.Union, types.UnionType):
        return [cls for part in typing.get_args(annotation) for cls in _classes_in(part, evaluate)]
    cls = origin or annotation
    return [cls] if isinstance(cls, type) and cls is not types.NoneType else []
