"""`fait schema export`: writes the JSON Schemas of all versions, for programs in other languages."""

from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import typer

from fait._evolution.locks.folder import lock_path
from fait._evolution.locks.history import drafts
from fait._schema.describe import describe
from fait._schema.json_schema import json_schema
from fait._tools.cli.options import JsonOption
from fait._tools.cli.output import command, count_of, print_json, print_message
from fait._tools.cli.schema_project import LocksOption, Project, SchemaAppOption, open_project

__all__ = ["export"]


@command
async def export(
    app: SchemaAppOption = None,
    locks: LocksOption = None,
    to: Annotated[Literal["jsonschema"], typer.Option("--to", help="Format of the schemas.")] = "jsonschema",
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="DIR", help="Folder to write; one file for each version. Default: print."),
    ] = None,
    base_url: Annotated[
        str, typer.Option(metavar="URL", help="Beginning of the $id of each schema; its path follows.")
    ] = "urn:fait:events:",
    as_json: JsonOption = False,
) -> None:
    """Export the JSON Schemas of all locked versions and of all drafts.

    Each schema has an $id. A locked version has the schema that was published with it.
    """
    project = open_project(app, locks)
    schemas = {path: _with_id(path, title, each, base_url) for path, title, each in _schemas(project)}
    if out is None:
        return print_json(schemas)
    for path, each in schemas.items():
        _write(out / path, each)
    if as_json:
        return print_json({"written": [str(out / path) for path in schemas]})
    return print_message(f"{count_of(len(schemas), 'schema')} written to {out}")


def _schemas(project: Project) -> list[tuple[str, str, dict[str, Any]]]:
    """Return path, title and JSON Schema of each version."""
    locks = project.read_locks()
    current = drafts(locks, project.registry.types.values())
    found = [(each.name, each.schema_version, json_schema(describe(each.cls))) for each in current]
    found += [(lock.type, lock.version, lock.json_schema) for each in locks.values() for lock in each.values()]
    found.sort(key=lambda each: each[:2])
    return [(lock_path(type, version), f"{type} version {version}", schema) for type, version, schema in found]


def _with_id(path: str, title: str, schema: dict[str, Any], base_url: str) -> dict[str, Any]:
    place = path.replace("%", "%25") if "://" in base_url else path  # a server decodes the path of a URL
    return {"$schema": schema["$schema"], "$id": base_url + place, "title": title, **schema}


def _write(file: Path, schema: dict[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(msgspec.json.format(msgspec.json.encode(schema, order="deterministic"), indent=2) + b"\n")
