"""What the SQL of both backends shares: statements are files of their own, and indexes have unique names."""

import json
import re
from collections.abc import Sequence
from importlib.resources import files
from typing import Final

__all__ = ["MAX_NAME_BYTES", "index_name", "load_statements"]

MAX_NAME_BYTES: Final = 63
"""Maximum length of an identifier in PostgreSQL, which truncates longer ones without an error."""


def load_statements(package: str) -> dict[str, str]:
    """Return the statements in a package's `sql` folder, without comment lines, by the name of their file."""
    folder = files(package).joinpath("sql")
    return {
        file.name.removesuffix(".sql"): re.sub(r"^\s*--.*\n", "", file.read_text("utf-8"), flags=re.MULTILINE).strip()
        for file in folder.iterdir()
        if file.name.endswith(".sql")
    }


def index_name(table: str, columns: Sequence[str]) -> str:
    """Return a readable name that no other index or table has."""
    import hashlib  # here, as it is slow to import and only indexes need it

    names = (table, *columns)
    suffix = hashlib.sha256(json.dumps(names).encode()).hexdigest()[:8]
    return "_".join(names).encode()[: MAX_NAME_BYTES - 9].decode(errors="ignore") + "_" + suffix
