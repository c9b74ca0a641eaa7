"""Describes event types and compares two versions of one: which data can the other version read?

    old, new = describe(OrderPlacedV1), describe(OrderPlaced)
    for difference in compare(old, new):
        print(difference.path, difference.verdict, difference.explanation)

A description is the JSON of an event type in a form that depends on no library. `compare` also judges JSON Schemas of
others. It says for each difference what a reader must do, and shows an event that breaks where it finds one.
"""

from types import FunctionType

from fait._schema.compare import compare
from fait._schema.describe import describe
from fait._schema.description import Description
from fait._schema.difference import Difference, Direction, Rule, Verdict, worst_verdict
from fait._schema.json_schema import json_schema
from fait._schema.samples import samples

__all__ = [
    "Description",
    "Difference",
    "Direction",
    "Rule",
    "Verdict",
    "compare",
    "describe",
    "json_schema",
    "samples",
    "worst_verdict",
]

for _name in __all__:
    _exported: object = globals()[_name]
    if isinstance(_exported, type | FunctionType):
        _exported.__module__ = "fait.schema"
