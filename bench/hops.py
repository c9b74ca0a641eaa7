"""Counts the functions of fait that a command and a delivery enter, and measures the size of the code.

`make hops` takes some seconds; options are passed as in `make hops ARGS="--list --store memory:"`. Without `--store`,
it measures in memory, on SQLite in a temporary file, and on PostgreSQL if the server of the tests is installed.

command     One `transact` of an aggregate whose stream has one event, and which emits one, until it returns. No
            subscription runs in the process.
delivery    From the moment that event is in the log until `Recorder.record` has returned, which moves the checkpoint of
            an `async` handler in the same process. Counted is what runs outside of the context (`contextvars`) of the
            command: the tasks of the processor, worker threads, and background tasks that happen to run, such as a
            poller or the sending of NOTIFY. The append itself is not counted, nor are tasks and callbacks that it
            creates. The heartbeat and the retention sleep during the measurement.

functions   Distinct functions, methods and lambdas. Comprehensions and generator expressions are not functions.
calls       Calls of these functions. A coroutine or generator that resumes is not a call, but counts as a function if
            the journey enters it in no other way.
files       Distinct files with these functions.
to, from    Functions first entered before `Log.append`, and from `Log.append` on.

Each journey is repeated until it is warm, and then 21 times more; the table shows the run with the median number of
functions. Functions of other packages are not counted, nor is generated code, such as the `__init__` of a `Struct`.

The size is that of all modules in `src/fait`. The lines of a function are those of its body, from the first statement
to the last, without the docstring. The attributes of a class are those that its methods set on `self`, and its
`__slots__`; inherited ones and the fields of a `Struct` do not count, nor do classes without attributes.
"""

import argparse
import ast
import asyncio
import json
import sys
import tempfile
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from contextvars import ContextVar
from itertools import count
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import fait
from tests.servers.postgres import PostgresServer, installations

__all__ = ["listing", "main", "markdown", "measure", "size"]

SRC = Path(fait.__file__).parent
WARM_UP, RUNS = 30, 21
COMPREHENSIONS = {"<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>"}
POSTGRES = 18

in_command: ContextVar[bool] = ContextVar("in_command", default=False)

app = fait.App("hops")


@fait.event("hops.counted")
class Counted:
    n: int


class Counter(fait.Aggregate, category="counter"):
    n: int = 0

    def add(self, n: int) -> None:
        self.emit(Counted(self.n + n))

    def evolve(self, event: Counted) -> None:
        self.n = event.n


@app.on(Counted)
async def note(_event: Counted) -> None:
    pass


app.include(Counter)


class Journey:
    """The functions of fait that one run enters.

    Attributes:
        functions: names and files, in the order of the first entry.
        calls: number of calls.
    """

    def __init__(self) -> None:
        self.functions: dict[CodeType, tuple[str, str]] = {}
        self.calls = 0

    def enter(self, frame: FrameType) -> None:
        code = frame.f_code
        if not code.co_filename.startswith(str(SRC)) or code.co_name in COMPREHENSIONS:
            return
        self.functions.setdefault(code, (code.co_qualname, str(Path(code.co_filename).relative_to(SRC))))
        self.calls += not is_resumed(frame)

    def summary(self, split_at: CodeType) -> dict[str, Any]:
        names, order = list(self.functions.values()), list(self.functions)
        before = order.index(split_at) if split_at in self.functions else None
        return {
            "functions": len(names),
            "calls": self.calls,
            "files": len({file for _, file in names}),
            "before_append": before,
            "from_append": None if before is None else len(names) - before,
            "list": [f"{file}  {name}" for name, file in names],
        }


def is_resumed(frame: FrameType) -> bool:
    """Whether a frame that is being entered continues after `yield` or `await`: the argument of its RESUME says so."""
    return bool(frame.f_code.co_code[frame.f_lasti + 1] & 3)


class Tracer:
    """Records the journey in progress, in all threads that start after it was installed."""

    def __init__(self) -> None:
        self.journey: Journey | None = None
        self.counts_command = True

    def install(self) -> None:
        threading.setprofile(self._profile)
        sys.setprofile(self._profile)

    def remove(self) -> None:
        sys.setprofile(None)
        threading.setprofile(None)

    def _profile(self, frame: FrameType, event: str, _arg: object) -> None:
        if event == "call" and self.journey is not None and (self.counts_command or not in_command.get()):
            self.journey.enter(frame)


async def measure(url: str) -> dict[str, Any]:
    """Measure both journeys on a store. The store must be empty or used by this program only."""
    tracer = Tracer()
    tracer.install()
    try:
        return {
            "command": await _median_run(url, tracer, _command, run="elsewhere"),
            "delivery": await _median_run(url, tracer, _delivery, run="here"),
        }
    finally:
        tracer.remove()


async def _median_run(url: str, tracer: Tracer, act: Callable[..., Awaitable[Journey]], *, run: Any) -> dict[str, Any]:
    journeys = list[Journey]()
    async with app.open(url, run=run, lease_s=3600) as system:
        for _ in range(WARM_UP + RUNS):
            id = fait.new_id()
            await system.transact(Counter.add, id, 1)
            await system.wait(timeout_s=30) if run == "here" else None
            await asyncio.sleep(0.01)  # until background tasks have nothing left to do
            journeys.append(await act(system, tracer, id))
        split_at = type(system._store.log).append.__code__
    median = sorted(journeys[WARM_UP:], key=lambda each: len(each.functions))[RUNS // 2]
    return median.summary(split_at)


async def _command(system: fait.System, tracer: Tracer, id: str) -> Journey:
    tracer.counts_command, tracer.journey = True, Journey()
    journey = tracer.journey
    await system.transact(Counter.add, id, 1)
    tracer.journey = None
    return journey


async def _delivery(system: fait.System, tracer: Tracer, id: str) -> Journey:
    tracer.counts_command, journey = False, Journey()
    recorded, recorder = asyncio.Event(), type(system._store.recorder)
    record = recorder.record

    async def record_and_stop(self: Any, work: Any) -> bool:
        done = await record(self, work)
        tracer.journey = None
        recorded.set()
        return done

    recorder.record = record_and_stop
    tracer.journey = journey
    try:
        token = in_command.set(True)
        await system.transact(Counter.add, id, 1)
        in_command.reset(token)
        await recorded.wait()
    finally:
        recorder.record = record
    return journey


def size() -> dict[str, Any]:
    """Measure the size of the code."""
    texts = [path.read_text("utf-8") for path in sorted(SRC.rglob("*.py"))]
    nodes = [node for text in texts for node in ast.walk(ast.parse(text))]
    functions = [_lines(node) for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    classes = {node.name: len(_attributes(node)) for node in nodes if isinstance(node, ast.ClassDef)}
    most = sorted(((n, name) for name, n in classes.items() if n), reverse=True)
    return {
        "modules": len(texts),
        "lines": sum(len(text.splitlines()) for text in texts),
        "functions": len(functions),
        "function_lines": {"p50": percentile(functions, 0.5), "p99": percentile(functions, 0.99)},
        "classes_with_attributes": len(most),
        "attributes": {share: percentile([n for n, _ in most], int(share[1:]) / 100) for share in ("p50", "p90")},
        "most_attributes": {name: n for n, name in most[:5]},
    }


def percentile(numbers: list[int], share: float) -> int:
    return sorted(numbers)[min(len(numbers) - 1, int(len(numbers) * share))]


def _lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def _attributes(node: ast.ClassDef) -> set[str]:
    methods = [each for each in node.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)]
    return set(_slots(node)) | {name for method in methods for name in _set_on_self(method)}


def _set_on_self(method: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    for each in ast.walk(method):
        if isinstance(each, ast.Attribute) and isinstance(each.ctx, ast.Store) and ast.unparse(each.value) == "self":
            yield each.attr


def _slots(node: ast.ClassDef) -> Iterator[str]:
    for each in node.body:
        if isinstance(each, ast.Assign) and ast.unparse(each.targets[0]) == "__slots__":
            value = ast.literal_eval(each.value)
            yield from [value] if isinstance(value, str) else value


def markdown(result: dict[str, Any]) -> str:
    """Format a result as tables."""
    lines = [
        "| journey | backend | functions | calls | files | to `Log.append` | from |",
        "|---|---|--:|--:|--:|--:|--:|",
    ]
    for backend, journeys in result["journeys"].items():
        for name, each in journeys.items():
            figures = [each[key] for key in ("functions", "calls", "files", "before_append", "from_append")]
            cells = ["–" if figure is None else str(figure) for figure in figures]
            lines.append(f"| {name} | {backend} | {' | '.join(cells)} |")
    code = result["size"]
    lengths, attributes = code["function_lines"], code["attributes"]
    most = ", ".join(f"{name} {n}" for name, n in code["most_attributes"].items())
    lines += ["", f"modules: {code['modules']}, {code['lines']} lines"]
    lines += [f"functions: {code['functions']}, lines p50 {lengths['p50']}, p99 {lengths['p99']}"]
    lines += [f"classes with attributes: {code['classes_with_attributes']}, attributes p50 {attributes['p50']}"]
    lines[-1] += f", p90 {attributes['p90']}, most: {most}"
    return "\n".join(lines)


def listing(result: dict[str, Any]) -> Iterator[str]:
    """Lines with the functions of each journey, in the order of their first entry."""
    for backend, journeys in result["journeys"].items():
        for name, each in journeys.items():
            yield f"\n{name}, {backend}"
            for number, function in zip(count(1), each["list"], strict=False):
                if each["before_append"] == number - 1:
                    yield "      ── Log.append"
                yield f"{number:5} {function}"


def main() -> int:
    options = _options()
    with ExitStack() as resources:
        stores = options.store or list(_default_stores(resources))
        journeys = {url.partition(":")[0]: asyncio.run(measure(url)) for url in stores}
    result = {"python": sys.version.split()[0], "journeys": journeys, "size": size()}
    if options.json:
        print(json.dumps(result, indent=1))
        return 0
    print(markdown(result))
    if options.list:
        print(*listing(result), sep="\n")
    return 0


def _default_stores(resources: ExitStack) -> Iterator[str]:
    yield "memory:"
    folder = resources.enter_context(tempfile.TemporaryDirectory(prefix="fait-hops-"))
    yield f"sqlite:///{folder}/hops.db"
    if POSTGRES in installations():
        yield resources.enter_context(PostgresServer(POSTGRES)).url
    else:
        print(f"NOT MEASURED: PostgreSQL {POSTGRES} is not installed", file=sys.stderr)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", action="append", metavar="URL", help="store to measure; may be repeated")
    parser.add_argument("--list", action="store_true", help="also print the functions of each journey in order")
    parser.add_argument("--json", action="store_true", help="print JSON, with these lists, in place of the table")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
