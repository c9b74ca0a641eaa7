"""`import fait` is fast: optional dependencies and slow modules are imported where they are needed."""

import subprocess
import sys

NOT_AT_IMPORT = {
    "apsw",
    "asyncpg",
    "attr",
    "fastapi",
    "opentelemetry",
    "psycopg",
    "pydantic",
    "rich",
    "sqlite3",
    "starlette",
    "typer",
}
SLOW = {"hashlib", "importlib.resources", "tempfile", "urllib.parse"}
"""Slow modules of the standard library: importing them takes a quarter of the time of `import fait`."""


def test_import_of_fait_loads_no_optional_or_slow_module() -> None:
    program = "import sys, fait; print(*sys.modules)"

    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)

    assert "fait" in done.stdout.split()
    assert (NOT_AT_IMPORT | SLOW) & set(done.stdout.split()) == set()
