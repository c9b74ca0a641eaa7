"""The backend's SQL by name, read once."""

from typing import Final

from fait._store.sql import load

__all__ = ["SQL"]

SQL: Final = load("fait._store.sqlite")
