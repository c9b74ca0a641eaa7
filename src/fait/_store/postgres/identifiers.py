"""Quotes SQL identifiers, and provides the statements of the `sql` folder for one schema."""

import re
from functools import lru_cache
from typing import Final

from fait._errors import UsageError
from fait._store.sql import load_statements

__all__ = ["check_schema", "in_schema", "literal", "quote", "statements"]

_SQL: Final = load_statements("fait._store.postgres")


def quote(name: str) -> str:
    """Return a name as a SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Return a text as a SQL literal, which means the same with and without `standard_conforming_strings`."""
    quoted = "'" + text.replace("'", "''") + "'"
    # fault: backslash-in-a-literal
    return "E" + quoted.replace("\\", "\\\\") if "\\" in text else quoted


def in_schema(sql: str, schema: str) -> str:
    """Replace `{schema}` by the quoted name of the schema, also inside a literal."""
    name = quote(schema)
    literal_start = literal(name)[:-1]
    return re.sub(r"'?\{schema\}", lambda match: literal_start if match[0][0] == "'" else name, sql)


def check_schema(name: str) -> None:
    """Check the name of a schema. PostgreSQL would cut a longer one off, and use another schema.

    Raises:
        UsageError: the name is invalid.
    """
    if not name or "\0" in name or "$$" in name or len(name.encode()) > 63:
        raise UsageError(
            "invalid schema: expected a name of 1 to 63 bytes without $$, as in "
            "postgresql://host/database?schema=shop or outbox(connection, schema='shop'). Nothing was written."
        )


@lru_cache
def statements(schema: str) -> dict[str, str]:
    """Return every statement of the `sql` folder by its name, for one schema.

    Raises:
        UsageError: the name of the schema is invalid.
    """
    check_schema(schema)
    return {name: in_schema(sql, schema) for name, sql in _SQL.items()}
