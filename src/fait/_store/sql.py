"""SQL lives in `.sql` files, one statement each; this reads a backend's files by name."""

import re
from importlib.resources import files

__all__ = ["load_statements"]


def load_statements(package: str) -> dict[str, str]:
    """Every statement of a package's `sql` folder by its file's stem, without the header that describes it."""
    folder = files(package).joinpath("sql")
    return {
        file.name.removesuffix(".sql"): re.sub(r"^\s*--.*\n", "", file.read_text("utf-8"), flags=re.MULTILINE).strip()
        for file in folder.iterdir()
        if file.name.endswith(".sql")
    }
