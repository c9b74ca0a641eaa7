"""Reading a log whose positions have a gap of 2^62 takes as many queries as any other."""

import re
from collections.abc import Callable
from pathlib import Path

import apsw
import asyncpg
import pytest

from fait._events.query import EVERYTHING, Query
from fait._store.open import open_store
from fait._store.ports.store import Store
from fait.testing.contract.store import added, everything, new, write
from tests.servers.postgres import connection_arguments

GAP = 1 << 62
QUERIES = [EVERYTHING, Query(("rare",)), Query(tags=("k:1",)), Query(category="a"), Query(("rare",), tags=("k:1",))]
