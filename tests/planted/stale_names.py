"""Rejects faults whose replacement uses a name that the code no longer has.

Such a replacement raises an AttributeError or a NameError, so its test fails for the wrong reason and proves nothing
about the fault. Pyright checks all mutated Python files in one run; imports are absolute, so a copy type-checks in any
folder.
"""

import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from tests.planted.mutant import Mutant, plant

RULES = ("reportUndefinedVariable", "reportAttributeAccessIssue", "reportCallIssue")


def stale_names(mutants: Iterable[Mutant], root: Path) -> dict[str, list[str]]:
    """Return the errors in the mutated file of each fault, by the fault's marker. The unchanged files have none."""
    source = root / "src" / "fait"
    texts = {
        mutant.marker: plant((source / mutant.file).read_text(encoding="utf-8"), mutant)
        for mutant in mutants
        if mutant.is_python
    }
    return {marker: sorted(messages) for marker, messages in _check(texts, root).items()}


def _check(texts: dict[str, str], root: Path) -> dict[str, set[str]]:
    """Run pyright; returns its messages by the name of the text."""
    with tempfile.TemporaryDirectory(prefix="fait-mutants-") as folder:
        for name, text in texts.items():
            Path(folder, f"{name}.py").write_text(text, encoding="utf-8")
        settings = {"typeCheckingMode": "off", "extraPaths": [str(root / "src")]} | dict.fromkeys(RULES, "error")
        Path(folder, "pyrightconfig.json").write_text(json.dumps(settings), encoding="utf-8")
        run = subprocess.run(
            [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, "--project", folder],
            check=False,
            capture_output=True,
            text=True,
        )
    report = json.loads(run.stdout)
    assert report["summary"]["filesAnalyzed"] == len(texts), run.stdout[-2000:]
    messages: defaultdict[str, set[str]] = defaultdict(set)
    for each in report["generalDiagnostics"]:
        if each.get("rule") in RULES or each["severity"] == "error":
            messages[Path(each["file"]).stem].add(each["message"])
    return messages
