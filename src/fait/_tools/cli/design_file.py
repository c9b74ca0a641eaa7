"""Files of `fait design` and `fait advise --out`: how a design document is read, and when it may be written again."""

from pathlib import Path
from typing import Annotated, Final

import typer

from fait._design.document import DesignDocument, parse_document
from fait._errors import UsageError
from fait._tools.cli.standard_input import read_bytes

__all__ = ["MAX_FILE_BYTES", "ForceOption", "existing_document", "read_text", "write_text"]

MAX_FILE_BYTES: Final = 16 << 20
"""Maximum size of a design document or of an advisor's answer."""

ForceOption = Annotated[bool, typer.Option("--force", help="Overwrite generated parts that were edited by hand.")]


def existing_document(out: Path, *, force: bool) -> DesignDocument | None:
    """Return the document that is written again; None if there is none.

    Args:
        out: the file.
        force: whether generated parts that were edited by hand may be overwritten.

    Raises:
        UsageError: the file cannot be read, is not a design document, its markers are damaged, or a generated part was
            edited and `force` is false.
    """
    if not out.exists():
        return None
    document = parse_document(read_text(out), str(out))
    _check_replaceable(document, str(out), force=force)
    return document


def _check_replaceable(document: DesignDocument, name: str, *, force: bool) -> None:
    if document.problems:
        line, problem = document.problems[0]
        raise UsageError(f"{name}:{line}: {problem}. Restore the marker from version control. Nothing was written.")
    edited = [each for each in document.parts().values() if each.is_edited]
    if edited and not force:
        names = ", ".join(f"{each.name} (line {each.line})" for each in edited)
        raise UsageError(
            f"{name}: generated parts were edited by hand: {names}. Move your text outside of the markers, then run "
            "the command again with --force, which overwrites them. Nothing was written."
        )


def read_text(path: Path) -> str:
    """Return the text of a file; `-` is standard input.

    Raises:
        UsageError: it cannot be read, is too large, or is not UTF-8.
    """
    try:
        data = read_bytes() if str(path) == "-" else path.read_bytes()
        if len(data) > MAX_FILE_BYTES:
            raise UsageError(f"{path} has more than {MAX_FILE_BYTES >> 20} MiB. Nothing was written.")
        return data.decode("utf-8")
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}. Nothing was written.") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not UTF-8 text. Nothing was written.") from None


def write_text(out: Path, text: str) -> None:
    """Write a design document.

    Raises:
        UsageError: the file cannot be written.
    """
    try:
        out.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise UsageError(f"cannot write {out}: {error.strerror}.") from None
