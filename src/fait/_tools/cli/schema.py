"""`fait schema`: locks the versions of event types, and shows, checks and exports them.

Each command is in a module of its own, `schema_*.py`.
"""

import typer

from fait._tools.cli import schema_check, schema_diff, schema_export, schema_lock, schema_new_version, schema_show

__all__ = ["schema"]

schema = typer.Typer(
    help="Lock the versions of event types in files, and show, check and export them.", no_args_is_help=True
)

schema.command("lock")(schema_lock.lock)
schema.command("check")(schema_check.check)
schema.command("diff")(schema_diff.diff)
schema.command("new-version")(schema_new_version.new_version)
schema.command("show")(schema_show.show)
schema.command("export")(schema_export.export)
