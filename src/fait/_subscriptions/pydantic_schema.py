"""The schema of a read model's rows for Pydantic, with which web frameworks write JSON and OpenAPI.

Only Pydantic calls this, so a program with read models does not import it.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from pydantic_core import CoreSchema, core_schema

__all__ = ["struct_schema"]


def struct_schema(cls: type[Any], types: Mapping[str, Any], handler: Any) -> CoreSchema:
    """Return the schema of a Struct: an object with its fields.

    Args:
        cls: the class.
        types: the type of each field.
        handler: Pydantic's handler, which makes the schemas of the types.
    """
    fields = {
        each.name: core_schema.typed_dict_field(handler.generate_schema(types[each.name]), required=each.required)
        for each in msgspec.structs.fields(cls)
    }
    members = core_schema.typed_dict_schema(fields)
    return core_schema.no_info_after_validator_function(
        lambda values: values if isinstance(values, cls) else cls(**values),
        core_schema.json_or_python_schema(
            members, core_schema.union_schema([core_schema.is_instance_schema(cls), members])
        ),
        ref=f"{cls.__module__}.{cls.__qualname__}:{id(cls)}",
        serialization=core_schema.plain_serializer_function_ser_schema(msgspec.structs.asdict, return_schema=members),
    )
