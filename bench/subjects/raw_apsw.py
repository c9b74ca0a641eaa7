"""SQLite through apsw, the driver that fait uses."""

from subjects.raw_sqlite import TABLE, Raw

__all__ = ["TABLE", "WORKLOADS"]

WORKLOADS = Raw("apsw").workloads
