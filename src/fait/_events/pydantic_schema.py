"""The schema of a Struct for Pydantic, with which web frameworks read and write JSON and describe it in OpenAPI.

Only Pydantic calls this, so a program with read models and events does not import it.
"""

from collections.abc import Mapping
from types import GenericAlias, UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import msgspec
from pydantic_core import CoreSchema, core_schema

__all__ = ["StructSchema", "struct_schema"]

_CONTAINERS = (list, tuple, dict, set, frozenset)
_HOOK = "__get_pydantic_core_schema__"


class StructSchema:
    """Gives Pydantic the schema of the Struct that it annotates, as in `Annotated[Order, StructSchema()]`."""

    def __get_pydantic_core_schema__(self, source: type[Any], handler: Any) -> CoreSchema:
        return struct_schema(source, get_type_hints(source, include_extras=True), handler)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: Any) -> dict[str, Any]:
        return handler(schema)


def struct_schema(cls: type[Any], types: Mapping[str, Any], handler: Any) -> CoreSchema:
    """Return the schema of a Struct: an object with its fields, under their names in JSON.

    Args:
        cls: the class.
        types: the type of each field.
        handler: Pydantic's handler, which makes the schemas of the types.
    """
    fields = {
        each.name: core_schema.typed_dict_field(
            handler.generate_schema(_with_schemas(types[each.name])),
            required=each.required,
            validation_alias=each.encode_name,
            serialization_alias=each.encode_name,
        )
        for each in msgspec.structs.fields(cls)
    }
    members = core_schema.typed_dict_schema(
        fields, metadata={"pydantic_js_updates": {"title": cls.__name__}}, extra_behavior="ignore"
    )
    return core_schema.no_info_after_validator_function(
        lambda values: values if isinstance(values, cls) else cls(**values),
        core_schema.json_or_python_schema(
            members, core_schema.union_schema([core_schema.is_instance_schema(cls), members])
        ),
        ref=f"{cls.__module__}.{cls.__qualname__}:{id(cls)}",
        serialization=core_schema.plain_serializer_function_ser_schema(msgspec.structs.asdict, return_schema=members),
    )


def _with_schemas(declared: Any) -> Any:
    """Return a type in which each Struct that Pydantic does not know is annotated with its schema."""
    if _is_unknown_struct(declared):
        return Annotated[declared, StructSchema()]
    origin: Any = get_origin(declared)
    arguments = tuple(map(_with_schemas, get_args(declared)))
    if origin in (Union, UnionType):
        return Union[arguments]  # noqa: UP007 - the members are known at run time only
    return GenericAlias(origin, arguments) if origin in _CONTAINERS else declared


def _is_unknown_struct(declared: Any) -> bool:
    return isinstance(declared, type) and issubclass(declared, msgspec.Struct) and not hasattr(declared, _HOOK)
