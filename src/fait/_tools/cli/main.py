"""Where the `fait` command begins: it says what is missing before it loads what needs it."""

import sys
from importlib.util import find_spec

__all__ = ["run"]


def run() -> None:
    """Run the command line; without the extra it needs, say how to install it and exit with 2."""
    if not (find_spec("typer") and find_spec("rich")):
        sys.exit(_refuse())
    try:
        from fait._tools.cli.commands import fait

        fait()
    except KeyboardInterrupt:  # before a command has begun: to load them takes a moment
        sys.exit(130)


def _refuse() -> int:
    print('the fait command needs an optional dependency. Install it with: pip install "fait[cli]"', file=sys.stderr)
    return 2
