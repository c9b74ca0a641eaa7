"""SQLite through the standard library's module."""

from subjects.raw_sqlite import TABLE, Raw

__all__ = ["TABLE", "WORKLOADS"]

WORKLOADS = Raw("sqlite3").workloads
