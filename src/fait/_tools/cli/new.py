"""`fait new`: copies the example project `examples/starter`, which is part of the package, into a new folder.

The folder is opened once, and each file is created in it with O_EXCL: no link is followed, and nothing is overwritten.
"""

import keyword
import os
import re
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Final

import typer

from fait._errors import UsageError
from fait._tools.cli.output import CommandFailed, command

__all__ = ["new"]

_TEMPLATE_NAME: Final = "shop"
"""The name of the example project, which the new project's name replaces in its files and their names."""

_FILES: Final = ("README.md", "pyproject.toml", ".gitignore", "shop.py", "api.py", "test_shop.py")

_MAX_NAME_CHARS: Final = 40
"""Maximum length of a project's name, in characters."""

_NEXT_COMMANDS: Final = """created {name} with {count} files. Type next:

  cd {name}
  pytest          # the tests of the project
  fait dev        # the app on an SQLite file; it starts again when you save a file
"""


@command
async def new(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Name of the project, and of its folder and its Python module.")
    ],
) -> None:
    """Create a project in a new folder: events, an aggregate, a read model, their tests.

    If FastAPI is installed, the project has an HTTP API. Nothing that exists is changed.
    """
    _check_name(name)
    texts = _project(name, with_api=find_spec("fastapi") is not None)
    folder = _open_new_folder(name)
    try:
        for file, text in texts.items():
            _write_new(folder, file, text)
    finally:
        os.close(folder)
    print(_NEXT_COMMANDS.format(name=name, count=len(texts)), end="")


def _check_name(name: str) -> None:
    """Refuse a name that no module can have, or that would replace another module.

    Raises:
        UsageError: it is such a name. The message has a command to type.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name) or len(name) > _MAX_NAME_CHARS:
        raise UsageError(
            f"{name!r} cannot name a project: a name has up to {_MAX_NAME_CHARS} lower-case letters, digits and "
            f"underscores, begins with a letter, and is no keyword of Python. Nothing was written. Type: fait new "
            f"{_valid_name(name)}"
        )
    if name == "api" or find_spec(name):
        raise UsageError(
            f"{name!r} cannot name a project: the module {name} exists already, in Python, in a package or in every "
            f"project. Nothing was written. Type: fait new my_{name}"
        )


def _valid_name(name: str) -> str:
    """Return a valid name that resembles a given one."""
    words = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")[: _MAX_NAME_CHARS - 3].rstrip("_")
    return words if words[:1].isalpha() and not keyword.iskeyword(words) else f"my_{words or 'project'}"


def _project(name: str, *, with_api: bool) -> dict[str, str]:
    """Return the texts of a project's files, by name. Without an API, the lines that mention it are left out."""
    template = _template()
    texts = {each: (template / each).read_text("utf-8") for each in _FILES}
    if not with_api:
        texts = {each: _without_api(text) for each, text in texts.items() if each != "api.py"}
    return {each.replace(_TEMPLATE_NAME, name): text.replace(_TEMPLATE_NAME, name) for each, text in texts.items()}


def _without_api(text: str) -> str:
    return "".join(line for line in text.splitlines(keepends=True) if "api" not in line)


def _template() -> Path:
    """The example project, in the installed package or in the source tree that contains this file."""
    package = Path(__file__).parents[2]
    for root in (package, package.parents[1]):
        if (root / "examples" / "starter").is_dir():
            return root / "examples" / "starter"
    raise CommandFailed("the example project is missing. Install fait from its wheel, or run it from its source tree.")


def _open_new_folder(name: str) -> int:
    """Create a folder, or take an empty one, and return its file descriptor.

    Raises:
        CommandFailed: it exists and is not empty, or it is no folder.
    """
    with suppress(FileExistsError):
        os.mkdir(name)
    try:
        folder = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        raise CommandFailed(
            f"{name} exists and is a file or a link. Nothing was written. Choose another name, or remove it."
        ) from None
    if os.listdir(folder):
        os.close(folder)
        raise CommandFailed(
            f"the folder {name} exists and is not empty. Nothing was written. Choose another name, such as: fait new "
            f"{name}_2"
        )
    return folder


def _write_new(folder: int, name: str, text: str) -> None:
    def open_in_folder(path: str, flags: int) -> int:
        return os.open(path, flags, 0o666, dir_fd=folder)

    # fault: new-project-overwrites-files
    with open(name, "x", encoding="utf-8", opener=open_in_folder) as file:
        file.write(text)
