"""Describes record classes, which are classes with fields: their kind, their fields, and the types of these.

Struct, dataclass, attrs, Pydantic, TypedDict and NamedTuple keep their fields in different places and have different
words for a field without a default. All of this is here, so that no other module depends on the library that made a
class. None of these libraries is imported: a program that has such a class has imported its library.

Fields and types are separate. The fields of a class are always known; its types may refer to names that are not defined
yet, or that only a local scope has.
"""

import sys
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Literal, NamedTuple, TypeVar, cast, get_args, get_origin

from msgspec import NODEFAULT, Struct, structs

__all__ = [
    "Kind",
    "RecordField",
    "Scopes",
    "Unknown",
    "Unresolved",
    "bytes_format_of",
    "changed_copy",
    "compares_by_value",
    "custom_json_of",
    "fields_of",
    "is_frozen",
    "is_record",
    "json_form_of",
    "kind_of",
    "lineage_of",
    "omits_default_if_decoded",
    "omits_defaults",
    "own_annotations",
    "own_types",
    "types_of",
    "unknown_members_of",
    "unknown_members_of_config",
]

T = TypeVar("T")

Kind = Literal["plain", "struct", "dataclass", "attrs", "pydantic", "typed_dict", "named_tuple"]
"""What made a class; `plain` for every class that is not a record class."""

Unknown = Literal["ignored", "refused", "kept"]
"""What happens to members of the JSON that are no fields, when an instance is decoded."""

Scopes = Callable[[type], Mapping[str, Any] | None]
"""Returns the local names that the annotations of a class may refer to; None if there are none."""


class RecordField(NamedTuple):
    """A field of a record class.

    Attributes:
        name: name of the attribute, or of the key.
        encoded_name: its name in JSON.
        default: the default value; `msgspec.NODEFAULT` if there is none.
        factory: returns the default value of each instance; None if there is no factory. A factory of an attrs class
            may take the unfinished instance, so only the class can call it.
        required: whether a value must be given.
    """

    name: str
    encoded_name: str
    default: Any = NODEFAULT
    factory: Callable[..., Any] | None = None
    required: bool = False


class Unresolved(NamedTuple):
    """Takes the place of a type whose annotation could not be evaluated.

    Attributes:
        name: the name that is not defined, or the annotation and the error.
    """

    name: str


def kind_of(cls: Any, *, inherited: bool = True) -> Kind:
    """Return the kind of a class.

    Args:
        cls: a class; other values are plain.
        inherited: whether a plain subclass of a dataclass or attrs class, which has the same fields, is of that kind.
    """
    if not _is_class(cls):
        return "plain"

    def has(mark: str) -> bool:
        return hasattr(cls, mark) if inherited else mark in cls.__dict__

    if hasattr(cls, "__pydantic_fields__") and hasattr(cls, "model_validate_json"):
        return "pydantic"
    if issubclass(cls, Struct):
        return "struct"
    if has("__attrs_attrs__"):
        return "attrs"
    if has("__dataclass_fields__"):
        return "dataclass"
    if typing.is_typeddict(cls):
        return "typed_dict"
    return "named_tuple" if tuple in cls.__mro__ and hasattr(cls, "_fields") else "plain"


def _is_class(cls: object) -> bool:
    return isinstance(cls, type)


def is_record(cls: Any) -> bool:
    """Return whether a value is a record class."""
    return kind_of(cls) != "plain"


def is_frozen(cls: Any) -> bool:
    """Return whether the fields of an instance cannot be assigned."""
    kind = kind_of(cls)
    if kind == "pydantic":
        return bool(cls.model_config.get("frozen"))
    if kind == "struct":
        return bool(cls.__struct_config__.frozen)
    if kind == "dataclass":
        return bool(cls.__dataclass_params__.frozen)
    if kind == "attrs":
        return bool(cls.__setattr__.__name__ == "_frozen_setattrs")
    return kind == "named_tuple"


def compares_by_value(cls: Any) -> bool:
    """Return whether instances with equal fields are equal."""
    if kind_of(cls) == "struct":
        return cls.__struct_config__.eq or cls.__eq__ is not Struct.__eq__
    return typing.is_typeddict(cls) or cls.__eq__ is not object.__eq__


def json_form_of(cls: Any) -> tuple[Any, ...]:
    """Return what else the JSON of an instance depends on: the tag's field, the tag, an array instead of an object."""
    if kind_of(cls) != "struct":
        return ()
    config = cls.__struct_config__
    return config.tag_field, config.tag, config.array_like


def omits_defaults(cls: Any) -> bool:
    """Return whether the JSON of an instance leaves out fields that have their default."""
    return kind_of(cls) == "struct" and bool(cls.__struct_config__.omit_defaults)


def omits_default_if_decoded(cls: Any, field: RecordField) -> bool:
    """Return whether the JSON of an instance that was decoded without a field leaves the field out.

    msgspec leaves such a default of a dataclass to the attribute of the class, and encodes the attributes of the
    instance. A class with slots has no such attribute.
    """
    return kind_of(cls) == "dataclass" and field.factory is None and getattr(cls, field.name, None) is field.default


def unknown_members_of(cls: Any) -> Unknown:
    """Return what happens to members of the JSON that are no fields, when an instance is decoded."""
    kind = kind_of(cls)
    if kind == "pydantic":
        return unknown_members_of_config(cls.model_config) or "ignored"
    return "refused" if kind == "struct" and cls.__struct_config__.forbid_unknown_fields else "ignored"


def unknown_members_of_config(config: Mapping[str, Any] | None) -> Unknown | None:
    """Return what a configuration of Pydantic says of members that are no fields; None if it says nothing."""
    return _PYDANTIC_EXTRA.get((config or {}).get("extra", ""))


_PYDANTIC_EXTRA: Final[Mapping[str, Unknown]] = {
    "ignore": "ignored",
    "forbid": "refused",
    "allow": "kept",
}


def custom_json_of(cls: Any) -> str | None:
    """Return what makes the JSON of an instance something else than its types say; None if nothing does."""
    if kind_of(cls) != "pydantic":
        return None
    decorators: Any = cls.__pydantic_decorators__
    if decorators.field_serializers or decorators.model_serializers:
        return "a serializer"
    if decorators.computed_fields:
        return "a computed field"
    if cls.__pydantic_root_model__:
        return "a root model"
    return next(
        (f"model_config[{name!r}]" for name, value in cls.model_config.items() if _is_custom(name, value)), None
    )


def _is_custom(option: str, value: Any) -> bool:
    """Return whether an option of Pydantic changes or limits values beyond what the types say."""
    if option == "ser_json_bytes":
        return False
    # fault: texts-changed-by-a-model
    return option == "json_encoders" or option.startswith("ser_json_") or (option.startswith("str_") and bool(value))


def bytes_format_of(cls: Any) -> str:
    """Return how the JSON of a Pydantic model encodes bytes: `utf8` or `base64`."""
    return str(cls.model_config.get("ser_json_bytes", "utf8"))


def changed_copy(record: T, changes: Mapping[str, Any]) -> T:
    """Return a copy of an instance of a record class with some fields changed.

    Args:
        record: the instance, which is not changed.
        changes: new values by field name.
    """
    if isinstance(record, Struct):
        return cast("T", structs.replace(record, **changes))
    if isinstance(record, dict):
        return cast("T", {**record, **changes})
    value: Any = record
    if hasattr(value, "__replace__"):
        return cast("T", value.__replace__(**changes))
    match kind_of(type(value)):
        case "attrs":
            current = {each.alias: getattr(value, each.name) for each in value.__attrs_attrs__ if each.init}
            return cast("T", type(value)(**{**current, **changes}))
        case "pydantic":
            return cast("T", value.model_copy(update=changes))
        case "named_tuple":
            return cast("T", value._replace(**changes))
        case _:
            import dataclasses  # loads `inspect`, which is slow; a program with dataclasses has loaded it already

            return cast("T", dataclasses.replace(value, **changes))


def fields_of(cls: Any) -> tuple[RecordField, ...]:
    """Return the fields of a record class, in order; a plain class has none.

    A dataclass's `InitVar` is among them although it is not stored, so that it can be found and rejected.
    """
    return tuple(_FIELDS[kind_of(cls)](cls))


def _struct_fields(cls: Any) -> Iterator[RecordField]:
    names, defaults = cls.__struct_fields__, cls.__struct_defaults__
    defaults = (NODEFAULT,) * (len(names) - len(defaults)) + defaults
    for name, encoded_name, default in zip(names, cls.__struct_encode_fields__, defaults, strict=True):
        yield _field(name, encoded_name, default, getattr(default, "factory", None), NODEFAULT)


def _dataclass_fields(cls: Any) -> Iterator[RecordField]:
    from dataclasses import MISSING

    for name, field in cls.__dataclass_fields__.items():
        if field._field_type.name != "_FIELD_CLASSVAR":
            factory = None if field.default_factory is MISSING else field.default_factory
            yield _field(name, name, field.default, factory, MISSING)


def _attrs_fields(cls: Any) -> Iterator[RecordField]:
    from attr import NOTHING

    for attribute in cls.__attrs_attrs__:
        factory = getattr(attribute.default, "factory", None)
        yield _field(attribute.name, attribute.name, attribute.default, factory, NOTHING)


def _pydantic_fields(cls: Any) -> Iterator[RecordField]:
    for name, info in cls.__pydantic_fields__.items():
        default = NODEFAULT if info.is_required() else info.default
        yield _field(name, info.serialization_alias or name, default, info.default_factory, NODEFAULT)


def _typed_dict_fields(cls: Any) -> Iterator[RecordField]:
    for name in own_annotations(cls):  # a TypedDict has the annotations of its bases, too
        yield RecordField(name, name, required=name in cls.__required_keys__)


def _named_tuple_fields(cls: Any) -> Iterator[RecordField]:
    for name in cls._fields:
        yield _field(name, name, cls._field_defaults.get(name, NODEFAULT), None, NODEFAULT)


def _field(name: str, encoded_name: str, default: Any, factory: Any, missing: object) -> RecordField:
    if factory is not None or default is missing:
        return RecordField(name, encoded_name, NODEFAULT, factory, required=factory is None)
    return RecordField(name, encoded_name, default)


_FIELDS: Final[Mapping[Kind, Callable[[Any], Iterator[RecordField]]]] = {
    "plain": lambda _: iter(()),
    "struct": _struct_fields,
    "dataclass": _dataclass_fields,
    "attrs": _attrs_fields,
    "pydantic": _pydantic_fields,
    "typed_dict": _typed_dict_fields,
    "named_tuple": _named_tuple_fields,
}


def types_of(cls: Any, scopes: Scopes, bound: Mapping[Any, Any] = {}) -> dict[str, Any]:
    """Return the types of all annotated attributes of a class, with those of its bases.

    Args:
        cls: a class; of a record class, all fields are annotated attributes.
        scopes: returns the local names for a class.
        bound: the types that take the place of the type variables of a generic class.

    Returns:
        The types by name; an annotation that cannot be evaluated as `Unresolved`.
    """
    if kind_of(cls) == "pydantic":
        return {name: info.rebuild_annotation() for name, info in cls.__pydantic_fields__.items()}
    variables, found = _variables(cls, bound), dict[str, Any]()
    for base in lineage_of(cls):
        own = own_types(base, scopes)
        found.update({name: _substitute(kind, variables.get(base, {})) for name, kind in own.items()})
    return found


def lineage_of(cls: Any) -> Iterator[Any]:
    """Yield the bases of a class and the class itself, in the order in which their fields override each other."""
    yield from (*_typed_dict_bases(cls), cls) if typing.is_typeddict(cls) else reversed(cls.__mro__)


def own_types(cls: type, scopes: Scopes) -> dict[str, Any]:
    """Return the types of the attributes that a class annotates itself; see `types_of`."""
    module = vars(sys.modules[cls.__module__]) if cls.__module__ in sys.modules else {}
    # Module names take precedence: a field may have the name of its type, and is a member of the class under it.
    names, members = {**module, **(scopes(cls) or {})}, {**vars(cls), cls.__name__: cls}
    return {name: _resolve(raw, cls.__module__, members, names) for name, raw in own_annotations(cls).items()}


def _typed_dict_bases(cls: Any) -> Iterator[Any]:
    for base in getattr(cls, "__orig_bases__", ()):
        if typing.is_typeddict(base):
            yield from _typed_dict_bases(base)
            yield base


def own_annotations(cls: type) -> Mapping[str, Any]:
    """Return the annotations of a class without those of its bases, as written or as evaluated by Python."""
    if sys.version_info >= (3, 14):
        import annotationlib

        return annotationlib.get_annotations(cls, format=annotationlib.Format.FORWARDREF)
    own: Mapping[str, Any] = cls.__dict__.get("__annotations__", {})  # noqa: RUF063 - importing `inspect` is slow
    return own


def _resolve(raw: Any, module: str, members: dict[str, Any], names: dict[str, Any]) -> Any:
    if isinstance(raw, type):
        return raw
    # get_type_hints accepts ClassVar and Final at the top level only for classes and modules.
    holder = types.ModuleType(module)
    holder.__annotations__ = {"it": raw}
    try:
        return typing.get_type_hints(holder, members, names, include_extras=True)["it"]
    except NameError as error:
        return Unresolved(str(error.name))
    except Exception as error:  # an annotation may be any expression
        return Unresolved(f"{raw!s} ({type(error).__name__})")


def _variables(cls: Any, bound: Mapping[Any, Any]) -> dict[Any, Mapping[Any, Any]]:
    """Return the values of the type variables of each class in the MRO."""
    bindings: dict[Any, Mapping[Any, Any]] = {cls: bound}
    for base in getattr(cls, "__mro__", ()):
        for generic in base.__dict__.get("__orig_bases__", ()):
            origin: Any = get_origin(generic)
            if parameters := getattr(origin, "__parameters__", ()):
                args = [_substitute(arg, bindings.get(base, {})) for arg in get_args(generic)]
                bindings.setdefault(origin, dict(zip(parameters, args, strict=False)))
    return bindings


def _substitute(kind: Any, variables: Mapping[Any, Any]) -> Any:
    if isinstance(kind, TypeVar):
        return variables.get(kind, kind)
    parameters: Any = getattr(kind, "__parameters__", ()) if get_origin(kind) is not None else ()
    return kind[tuple(variables.get(p, p) for p in parameters)] if parameters and variables else kind
