"""Names in SQL: the only place where identifiers are quoted, and our statements with the schema's name in place."""

from fait.store.sql import load

__all__ = ["in_schema", "quote", "statements"]


def quote(name: str) -> str:
    """A name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def in_schema(sql: str, schema: str) -> str:
    """An SQL text of ours, with `{schema}` replaced by the schema's quoted name."""
    return sql.replace("{schema}", quote(schema))


def statements(schema: str) -> dict[str, str]:
    """Every statement of the `sql` folder by its name, for one schema."""
    return {name: in_schema(sql, schema) for name, sql in load("fait.store.postgres").items()}
