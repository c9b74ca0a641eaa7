"""`import fait` is cheap: what only some users need is loaded when they use it."""

import subprocess
import sys

NOT_AT_IMPORT = {"apsw", "asyncpg", "attr", "psycopg", "pydantic", "rich", "sqlite3", "typer"}
SLOW = {"hashlib", "importlib.resources", "tempfile", "urllib.parse"}
"""Of the standard library: together they take as long as a quarter of fait."""


def test_the_front_door_loads_no_optional_dependency() -> None:
    program = "import sys, fait; print(*sys.modules)"

    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)

    assert "fait" in done.stdout.split()
    assert (NOT_AT_IMPORT | SLOW) & set(done.stdout.split()) == set()
