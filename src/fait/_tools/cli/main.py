"""Entry point of the `fait` command. It checks for the optional dependencies before it imports them."""

import io
import sys
from importlib.util import find_spec

__all__ = ["run"]


def run() -> None:
    """Run the command line. If the `cli` extra is not installed, print how to install it and exit with 2."""
    if not (find_spec("typer") and find_spec("rich")):
        print(
            'fait: the command line requires the cli extra. Install it with: pip install "fait[cli]"', file=sys.stderr
        )
        sys.exit(2)
    _encode_output()
    try:
        from fait._tools.cli.commands import fait

        fait()
    except KeyboardInterrupt:  # Ctrl-C during the imports, before a command handles it
        sys.exit(130)


def _encode_output() -> None:
    """Write UTF-8 to files and pipes, and to a terminal escape what it cannot show: stored text may be any Unicode."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding=stream.encoding if stream.isatty() else "utf-8", errors="backslashreplace")
