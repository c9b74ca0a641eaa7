"""Time and ids."""

import os
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import fait
from fait._clock import freeze


def test_new_ids_are_version_7_uuids_that_sort_by_time() -> None:
    before = datetime.now(UTC).timestamp()
    ids = [fait.new_id() for _ in range(2000)]

    assert len(set(ids)) == len(ids)
    for each in ids:
        parsed = uuid.UUID(each)
        assert str(parsed) == each
        assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)
    stamps = [int(each.replace("-", "")[:12], 16) for each in ids]
    assert stamps == sorted(stamps)
    assert int(before * 1000) <= stamps[0] <= int(datetime.now(UTC).timestamp() * 1000)


def test_new_ids_of_concurrent_threads_are_distinct() -> None:
    def draw(_: int) -> list[str]:
        return [fait.new_id()[14:] for _ in range(5000)]

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as threads:
            drawn = [each for ids in threads.map(draw, range(8)) for each in ids]
    finally:
        sys.setswitchinterval(interval)

    assert len(set(drawn)) == len(drawn)


def test_new_ids_of_forked_child_differ_from_its_parent() -> None:
    fait.new_id()  # fills the pool of random bytes of the parent
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.write(writing, fait.new_id().encode())
        os._exit(0)
    os.waitpid(child, 0)
    child_id = os.read(reading, 100).decode()
    os.close(reading)
    os.close(writing)

    assert child_id[14:] != fait.new_id()[14:]


def test_now_inside_freeze_is_constant() -> None:
    timestamp = datetime(2024, 1, 1, tzinfo=UTC)

    with freeze(timestamp):
        assert fait.now() is timestamp
    assert fait.now() > timestamp
