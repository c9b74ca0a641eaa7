"""The SQL statements of the SQLite backend by name, loaded once."""

from typing import Final

from fait._store.sql import load_statements

__all__ = ["SQL"]

SQL: Final = load_statements("fait._store.sqlite")
