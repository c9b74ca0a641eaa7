"""The code of the guide to testing is a test module that passes in memory and on SQLite."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from fait.testing import given

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "testing.md").read_text("utf-8")


START = """
import hypothesis
import pytest

pytestmark = pytest.mark.anyio
hypothesis.settings.register_profile(
    "guide", deadline=None, max_examples=10, suppress_health_check=list(hypothesis.HealthCheck)
)
hypothesis.settings.load_profile("guide")


@pytest.fixture
def anyio_backend():
    return "asyncio"


"""
"""What a test module of a user with asynchronous tests begins with; and limits for slow machines."""


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", GUIDE, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("store", ["memory", "sqlite"])
def test_guide_is_a_test_module_that_passes(store: str, tmp_path: Path) -> None:
    code = "\n\n".join(blocks("python"))
    (tmp_path / "test_guide.py").write_text(START + code, "utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", f"--fait-store={store}"]

    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=200, check=False)

    assert f"{code.count('def test_')} passed" in done.stdout, done.stdout + done.stderr


def test_guide_shows_the_real_text_of_a_difference() -> None:
    shown = next(each for each in blocks("text") if each.startswith("the new events differ"))
    namespace: dict[str, object] = {"__name__": "guide"}
    exec(blocks("python")[0], namespace)
    account, opened, deposited, withdrawn = (
        namespace[name] for name in ("Account", "Opened", "Deposited", "Withdrawn")
    )
    case = given(account, opened("ada"), deposited(100)).when(account.withdraw, 10)  # type: ignore[operator, call-overload]

    with pytest.raises(AssertionError) as caught:
        case.then(withdrawn(11), opened("bob"))  # type: ignore[operator]

    assert f"{caught.value}\n" == shown


def test_links_of_guide_exist() -> None:
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", GUIDE):
        assert (ROOT / "docs" / link).exists(), link
