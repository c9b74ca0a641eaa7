"""Loads the SQL statements of a backend. Each is a file of its own."""

import re
from importlib.resources import files

__all__ = ["load_statements"]


def load_statements(package: str) -> dict[str, str]:
    """Return the statements in a package's `sql` folder, without comment lines, by the name of their file."""
    folder = files(package).joinpath("sql")
    return {
        file.name.removesuffix(".sql"): re.sub(r"^\s*--.*\n", "", file.read_text("utf-8"), flags=re.MULTILINE).strip()
        for file in folder.iterdir()
        if file.name.endswith(".sql")
    }
