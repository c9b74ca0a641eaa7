"""Mutation testing with chosen mutants: each planted fault must make the test that is named for it fail.

    python -m tests.mutants [--one-in N] [NAME ...]

A name is that of a marker, as in `# fault: NAME`; without names, all faults are planted. With --one-in, only one fault
in N is: the commit that is checked out determines which.

Each fault is planted in its own copy of `src`, at its marker, and only the named test runs on that copy. Before that,
all named tests must pass on the unchanged code. The exit code is 1 if a fault survives.

Each test runs in a process of its own, forked from one that has imported the packages of the tests, but nothing of
fait, and that has started a PostgreSQL server. Tests that use a RabbitMQ or Kafka server run one after another, with
one server for all. The copies share the compiled form of unchanged files. So a fault costs little more than its test.
"""

import argparse
import importlib
import os
import py_compile
import re
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from compileall import compile_dir
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from xml.etree import ElementTree
from zlib import crc32

import pytest

from tests.planted import (
    advice,
    brokers,
    design,
    events,
    evolution,
    fleet,
    http,
    inbox,
    locks,
    policies,
    postgres,
    ranges,
    relay,
    schema,
    store,
    subscriptions,
    wire,
)
from tests.planted.mutant import Mutant, plant
from tests.planted.stale_names import stale_names
from tests.servers.broker import LARGE_SERVER, SHARED
from tests.servers.kafka import KafkaServer
from tests.servers.postgres import RUNNING, PostgresServer
from tests.servers.rabbitmq import RabbitmqServer

ROOT = Path(__file__).parents[1]
MAX_CONCURRENT_RUNS = 3
"""Maximum number of tests that run at the same time: more than 2 cores, because some tests wait."""

TEST_TIMEOUT_S = 20
"""Timeout for one test on unchanged code, and on a copy with a fault, at most; applied by pytest."""

MIN_TEST_TIMEOUT_S = 12
"""Minimum timeout for a test on a copy with a fault: longer than most tests wait for something by themselves."""

SLOWER = 5
"""How many times as long as on unchanged code a test may take with a fault, until it counts as failed."""

RUN_TIMEOUT_S = 150
"""Timeout for a whole run of pytest; a fault may hang it where its own timeout does not apply."""

PRELOADED = (
    "anyio.pytest_plugin",
    "apsw",
    "asyncpg",
    "django.db",
    "fastapi.testclient",
    "hypothesis",
    "opentelemetry.trace",
    "psycopg",
    "schemathesis.pytest.plugin",
    "sqlalchemy.ext.asyncio",
    "typer.testing",
    "uvicorn",
)
"""Packages that take long to import and do not depend on fait."""

NOT_THE_COPY = 9
"""Exit code of a run that has imported fait from elsewhere; pytest has none above 5."""

LARGE_SERVERS = {"kafka": KafkaServer, "rabbitmq": RabbitmqServer}

FORK = get_context("fork")

MUTANTS: list[Mutant] = [
    *advice.FAULTS,
    *brokers.FAULTS,
    *inbox.FAULTS,
    *events.FAULTS,
    *schema.FAULTS,
    *locks.FAULTS,
    *evolution.FAULTS,
    *design.FAULTS,
    *store.FAULTS,
    *postgres.FAULTS,
    *ranges.FAULTS,
    *fleet.FAULTS,
    *policies.FAULTS,
    *relay.FAULTS,
    *wire.FAULTS,
    *subscriptions.FAULTS,
    *http.FAULTS,
]


def options(work: Path, timeout_s: float = TEST_TIMEOUT_S) -> list[str]:
    """Options of pytest. Temporary files go to `work`: concurrent runs delete each other's default folders."""
    return ["-q", "-rf", "-p", "no:cacheprovider", f"--timeout={timeout_s}", f"--basetemp={work}/tests"]


def compiled_copy(source: Path) -> Path:
    """Copy `src` to a folder and compile it there. A file that is changed later is compiled again at each import."""
    shutil.copytree(ROOT / "src", source, ignore=shutil.ignore_patterns("__pycache__"))
    compile_dir(source, quiet=1, invalidation_mode=py_compile.PycInvalidationMode.CHECKED_HASH)
    return source


def run_unchanged(source: Path, tests: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run tests on unchanged code; their modules are compiled for the runs that follow."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-n", str(MAX_CONCURRENT_RUNS), f"--junitxml={report_in(source)}"),
            *options(source.parent),
            *tests,
        ],
        check=False,
        cwd=ROOT,
        env=environment | {"PYTHONPATH": str(source)},
        capture_output=True,
        text=True,
    )


def report_in(source: Path) -> Path:
    """Return the path of the report of the run on unchanged code."""
    return source.parent / "unchanged.xml"


def timeout_s(mutant: Mutant, durations: Mapping[str, float]) -> float:
    """Return the timeout of a mutant's test: many faults make it wait for something that never comes."""
    slowest = max((each for test, each in durations.items() if mutant.test.startswith(test)), default=TEST_TIMEOUT_S)
    return min(TEST_TIMEOUT_S, max(MIN_TEST_TIMEOUT_S, SLOWER * slowest))


def durations_in(report: Path) -> dict[str, float]:
    """Return how long each test took, in seconds, by its id without the parameters."""
    durations: dict[str, float] = {}
    for test, case in cases_in(report):
        durations[test] = max(float(case.attrib["time"]), durations.get(test, 0))
    return durations


def large_servers_in(report: Path) -> dict[str, set[str]]:
    """Return the names of the large servers that each test uses, by its id without the parameters."""
    servers = defaultdict[str, set[str]](set)
    for test, case in cases_in(report):
        servers[test] |= {each.attrib["value"] for each in case.iter("property") if each.attrib["name"] == LARGE_SERVER}
    return servers


def cases_in(report: Path) -> Iterator[tuple[str, ElementTree.Element]]:
    """Yield the tests of a report, with their ids without the parameters."""
    for case in ElementTree.parse(report).iter("testcase"):
        file, *classes = re.split(r"\.(?=[A-Z])", case.attrib["classname"])
        yield "::".join([f"{file.replace('.', '/')}.py", *classes, case.attrib["name"].partition("[")[0]]), case


def prepare(servers: Collection[str] = ()) -> None:
    """Import packages and start servers in a process that runs tests in forks of itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in PRELOADED:
            importlib.import_module(name)
    RUNNING[18] = PostgresServer(18)
    SHARED.update({each: LARGE_SERVERS[each]() for each in servers})


def run_forked(source: Path, work: Path, test: str, timeout_s: float) -> None:
    """Run a test on the copy of fait in `source`, and end this process with pytest's exit code."""
    output = os.open(work / "output", os.O_CREAT | os.O_WRONLY)
    os.dup2(output, 1)
    os.dup2(output, 2)
    sys.dont_write_bytecode = True
    os.environ |= {"PYTHONPATH": str(source), "PYTHONDONTWRITEBYTECODE": "1"}
    sys.path.insert(0, str(source))
    code = pytest.main([*options(work, timeout_s), "-x", "-Wignore::pytest.PytestAssertRewriteWarning", test])
    sys.stdout.flush()
    where = sys.modules["fait"].__file__ or ""
    if not where.startswith(str(source)):
        print(f"{where} is not the copy", flush=True)
        os._exit(NOT_THE_COPY)
    os._exit(code)


def timed_outcome(mutant: Mutant, unchanged: Path, timeout_s: float) -> tuple[str, float]:
    """The outcome of one mutant, and the seconds that it took."""
    start = time.monotonic()
    return outcome(mutant, unchanged, timeout_s), time.monotonic() - start


def all_outcomes(mutants: Sequence[Mutant], unchanged: Path) -> list[tuple[str, float]]:
    """The outcomes of mutants, with the seconds that they took."""
    durations, servers = durations_in(report_in(unchanged)), large_servers_in(report_in(unchanged))
    used = {each: servers[each.test.partition("[")[0]] for each in mutants}
    large = set[str]().union(*used.values())
    with (
        ProcessPoolExecutor(MAX_CONCURRENT_RUNS - bool(large), FORK, prepare) as pool,
        ProcessPoolExecutor(1, FORK, partial(prepare, large)) as one_by_one,
    ):
        outcomes = [
            (one_by_one if used[each] else pool).submit(timed_outcome, each, unchanged, timeout_s(each, durations))
            for each in mutants
        ]
        return [each.result() for each in outcomes]


def outcome(mutant: Mutant, unchanged: Path, timeout_s: float) -> str:
    """The result of one mutant: "killed" if its test failed, otherwise the reason why it was not."""
    with tempfile.TemporaryDirectory(prefix="fait-mutant-", dir=unchanged.parent) as folder:
        work = Path(folder)
        source = work / "src"
        shutil.copytree(unchanged, source, copy_function=os.link)
        file = source / "fait" / mutant.file
        text = plant(file.read_text(encoding="utf-8"), mutant)
        file.unlink()  # the copies share its content
        file.write_text(text, encoding="utf-8")
        run = FORK.Process(target=run_forked, args=(source, work, mutant.test, timeout_s))
        run.start()
        run.join(RUN_TIMEOUT_S)
        if run.is_alive():
            run.kill()
            return f"no result after {RUN_TIMEOUT_S} s"
        output = (work / "output").read_text(encoding="utf-8", errors="replace")
    if run.exitcode == 1 and f"FAILED {mutant.test}" in output:
        return "killed"
    return "survived" if run.exitcode == 0 else f"the test did not run:\n{output[-4000:]}"


def selected(names: Sequence[str], one_in: int = 1) -> list[Mutant]:
    """One in so many of the mutants with these names, or of all if there are none; exits if a name is unknown."""
    if unknown := sorted(set(names) - {mutant.marker for mutant in MUTANTS}):
        sys.exit(f"Unknown faults: {', '.join(unknown)}. The names are in tests/planted. No fault was planted.")
    commit = current_commit() if one_in > 1 else ""
    named = [mutant for mutant in MUTANTS if not names or mutant.marker in names]
    return [mutant for mutant in named if crc32(f"{commit} {mutant.marker}".encode()) % one_in == 0]


def current_commit() -> str:
    """The id of the commit that is checked out; empty outside of a repository."""
    command = ["git", "rev-parse", "HEAD"]
    return subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True).stdout.strip()


def checked(mutants: Sequence[Mutant], unchanged: Path) -> str:
    """Why no fault can be planted: a name that the code does not have, or a test that fails. Empty if there is none."""
    with ThreadPoolExecutor() as pool:
        names = pool.submit(stale_names, mutants, ROOT)
        run = run_unchanged(unchanged, sorted({mutant.test for mutant in mutants}))
    if stale := names.result():
        lines = [f"{marker}: {message}" for marker, messages in stale.items() for message in messages]
        advice = "The replacements above use names that the code no longer has: update them in tests/planted."
        return "\n".join([*lines, advice])
    if run.returncode:
        advice = "No fault was planted: the named tests above fail on the unchanged code."
        return "\n".join([run.stdout[-3000:], run.stderr[-3000:], advice])
    return ""


def main(arguments: Sequence[str]) -> int:
    """Plant the named faults, or all of them; 0 if each was killed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--one-in", type=int, choices=range(1, 101), default=1, metavar="N")
    given = parser.parse_args(arguments)
    mutants = selected(given.names, given.one_in)
    print(f"{len(mutants)} of {len(MUTANTS)} faults are planted", flush=True)
    with tempfile.TemporaryDirectory(prefix="fait-mutants-") as folder:
        unchanged = compiled_copy(Path(folder) / "src")
        if problem := checked(mutants, unchanged):
            print(problem)
            return 1
        outcomes = all_outcomes(mutants, unchanged)
    for mutant, (result, seconds) in zip(mutants, outcomes, strict=True):
        print(f"{seconds:4.1f} s  {mutant.fault:<52}  {result:<8}  {mutant.test.rpartition('::')[2]}")
    killed = [result for result, _ in outcomes].count("killed")
    print(f"{killed} killed, {len(mutants) - killed} survived")
    return int(killed < len(mutants))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
