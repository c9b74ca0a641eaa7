"""The commands of docs/quickstart.md run as printed, in an environment with only the wheel of this tree.

Only two things differ: pip installs the wheel, not a release, and another port is used if port 8000 is in use.
"""

import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "quickstart.md").read_text("utf-8")
CREATE, RUN, REQUEST, LOOK, CHANGE = re.findall(r"^```console\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
CART, ADD = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)

MAX_CPU_S = 40
"""Maximum CPU time of all commands after the installation: on an idle machine, less than a minute with all waits."""


def uv(*arguments: str | Path) -> None:
    program = shutil.which("uv", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    assert program, "uv is not installed: make install"
    done = subprocess.run([program, *arguments], check=False, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    uv("build", "--quiet", "--wheel", "--no-build-isolation", "--python", sys.executable, "--out-dir", folder)
    return next(folder.glob("*.whl"))


@pytest.fixture
def folder(wheel: Path, tmp_path: Path) -> Path:
    """A folder with the environment that the first commands of the page create."""
    created = [command for command, _ in steps(CREATE)][:3]
    assert created == [
        "python3 -m venv .venv", ". .venv/bin/activate", 'pip install "fait[dev,fastapi,sqlite]" pytest',
    ]  # fmt: skip
    python = tmp_path / ".venv" / "bin" / "python"
    uv("venv", "--quiet", "--python", sys.executable, tmp_path / ".venv")
    uv("pip", "install", "--quiet", "--python", python, f"{wheel}[dev,fastapi,sqlite]", "pytest")
    return tmp_path


@pytest.fixture(scope="module")
def port() -> str:
    with socket.socket() as free:
        free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            free.bind(("127.0.0.1", 8000))
        except OSError:
            free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


def steps(block: str) -> Iterator[tuple[str, str]]:
    """Yield the commands of a block, each with its output."""
    for step in block.removeprefix("$ ").split("\n$ "):
        command, _, output = step.partition("\n")
        yield command, output


def masked(text: str) -> list[str]:
    """Return the words of an output, without what differs from run to run; a terminal aligns columns with spaces."""
    for pattern in (r"\d{4}-\d\d-\d\dT[\d:.]+Z", r"in \d+\.\d+s", r'(?<="correlation_id":")[^"]+'):
        text = re.sub(pattern, "MASKED", text)
    return text.split()


def environment(folder: Path) -> dict[str, str]:
    kept = {key: os.environ[key] for key in ("HOME", "LANG", "LC_ALL", "TMPDIR") if key in os.environ}
    return kept | {"PATH": f"{folder}/.venv/bin:/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"}


def check(commands: list[tuple[str, str]], folder: Path, cwd: Path, port: str) -> None:
    """Run commands in one shell; each has the documented output and the exit code 0."""
    script = "".join(f"{command}\nprintf '\\n=== %s\\n' $?\n" for command, _ in commands).replace(":8000/", f":{port}/")
    done = subprocess.run(
        ["bash", "-c", script], cwd=cwd, env=environment(folder), capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip
    outputs = done.stdout.split("\n=== ")
    for number, (command, expected) in enumerate(commands):
        output = outputs[number].partition("\n")[2] if number else outputs[0]
        assert outputs[number + 1].partition("\n")[0] == "0", f"{command}: {done.stderr}"
        assert masked(output) == masked(expected), f"{command}: {output} {done.stderr}"


def wait_for(text: str, log: Path) -> None:
    deadline = time.monotonic() + 60
    while text not in log.read_text("utf-8"):
        assert time.monotonic() < deadline, f"{text!r} was not printed: {log.read_text('utf-8')}"
        time.sleep(0.02)


def change(file: Path) -> None:
    """Replace the method of the page in a file."""
    old = re.search(r"    def add\(.*?(?=\n\n)", CART, re.DOTALL)
    assert old is not None
    text = file.read_text("utf-8")
    assert old[0] in text
    file.write_text(text.replace(old[0], ADD.rstrip("\n")), "utf-8")


def cpu_s() -> float:
    """Return the CPU time of all ended subprocesses, which depends less on other programs than the time of day."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def test_commands_of_the_page_have_the_documented_outputs_within_a_minute(folder: Path, port: str) -> None:
    started_at = cpu_s()
    check([*steps(CREATE)][3:], folder, folder, port)
    project, log = folder / "shop", folder / "log"
    [(command, expected)] = steps(RUN)
    if port != "8000":
        command = f"{command} --port {port}"
    with log.open("wb") as output:
        shell = ["bash", "-c", f"exec {command}"]
        server = subprocess.Popen(shell, cwd=project, env=environment(folder), stdout=output, stderr=output)
    try:
        wait_for("product: ", log)
        check([*steps(REQUEST), *steps(LOOK)], folder, project, port)
        apps = [each for each in psutil.Process(server.pid).children() if "spawn_main" in " ".join(each.cmdline())]
        change(project / "shop.py")
        wait_for("Reloading", log)
        for app in apps:
            app.wait(30)  # the next request goes to the new process
        check([*steps(CHANGE)], folder, project, port)
        server.send_signal(signal.SIGINT)
        assert server.wait(20) == 0
    finally:
        server.kill()
        server.wait()

    lines = log.read_text("utf-8").replace(f":{port}", ":8000").splitlines()
    assert lines[: expected.count("\n")] == expected.splitlines()
    assert cpu_s() - started_at < MAX_CPU_S


def test_page_shows_the_code_of_the_project() -> None:
    assert CART in (ROOT / "examples" / "starter" / "shop.py").read_text("utf-8")
