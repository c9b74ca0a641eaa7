"""Only `_events/record.py` reads the fields of record classes from the places where their libraries keep them."""

from pathlib import Path

import pytest

SRC = Path(__file__).parents[2] / "src" / "fait"
DESCRIPTION = SRC / "_events" / "record.py"
ATTRIBUTES = (
    "__attrs_attrs__",
    "__dataclass_fields__",
    "__dataclass_params__",
    "__pydantic_fields__",
    "__struct_config__",
    "__struct_defaults__",
    "__struct_encode_fields__",
    "__struct_fields__",
    "_field_defaults",
)


@pytest.mark.parametrize("attribute", ATTRIBUTES)
def test_only_the_description_of_records_reads_attribute(attribute: str) -> None:
    readers = {path for path in SRC.rglob("*.py") if attribute in path.read_text(encoding="utf-8")}

    assert readers == {DESCRIPTION}
