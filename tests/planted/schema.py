"""Faults in descriptions of event types and in their comparison."""

from tests.planted.mutant import Mutant

DESCRIBE = "tests/schema/test_describe.py::test_"
COMPARE = "tests/schema/test_compare.py::test_"
CLASSES = "tests/schema/test_compare_classes.py::test_"

FAULTS = [
    Mutant(
        "the fingerprint covers only as many levels of recursive records as there were rounds",
        "_schema/description.py",
        "fingerprint-of-the-root",
        "content = [root]",
        DESCRIBE + "fingerprints_of_records_that_refer_to_each_other_differently_differ",
    ),
    Mutant(
        "an integer that becomes a float is readable, although large ones are rounded",
        "_schema/compare.py",
        "integers-widened-to-doubles",
        "if True:",
        CLASSES + "integer_that_a_float_cannot_hold_is_shown",
    ),
    Mutant(
        "the check of a value that breaks takes a rounded integer for the same one",
        "_schema/acceptance.py",
        "integers-as-doubles",
        "return True",
        CLASSES + "integer_that_a_float_cannot_hold_is_shown",
    ),
    Mutant(
        "a changed default is readable although the writer left the old one out",
        "_schema/compare.py",
        "omitted-default",
        "verdict = Verdict.READABLE",
        CLASSES + "default_that_the_writer_omits_cannot_be_changed",
    ),
    Mutant(
        "a reader that could take a value for either of two records counts as compatible",
        "_schema/compare.py",
        "ambiguous-alternatives",
        "known = options",
        CLASSES + "union_of_untagged_models_is_not_extended",
    ),
    Mutant(
        "fields of a NamedTuple may be exchanged",
        "_schema/compare.py",
        "exchanged-items",
        "if False:",
        CLASSES + "fields_of_a_named_tuple_cannot_be_exchanged",
    ),
    Mutant(
        "alternatives of oneOf may overlap, so that a value has none of them",
        "_schema/read_json_schema.py",
        "one-of-with-overlap",
        "exclusive = True",
        COMPARE + "combination_that_is_not_understood_is_incompatible[schema1]",
    ),
    Mutant(
        "a tighter limit counts as a looser one",
        "_schema/limits.py",
        "tighter-limit",
        "if after < before:",
        COMPARE + "change_has_verdict_for_new_and_for_old_readers[minLength tightened]",
    ),
    Mutant(
        "a dataclass inside a Pydantic model that refuses other members counts as one that ignores them",
        "_schema/describe.py",
        "dataclass-inside-a-strict-model",
        "if False:",
        DESCRIBE + "dataclass_inside_a_strict_model_refuses_other_members",
    ),
    Mutant(
        "an integral number that msgspec takes for a constant counts as a float",
        "_schema/compare.py",
        "integer-for-a-constant",
        "if isinstance(mine, Number):",
        CLASSES + "integer_that_msgspec_takes_for_a_constant_is_not_a_float",
    ),
    Mutant(
        "of an inclusive and an exclusive limit, only the exclusive one is compared",
        "_schema/limits.py",
        "both-bounds",
        "return (exclusive, not integers and above is not None) if above is not None else (inclusive, False)",
        CLASSES + "inclusive_limit_that_is_tighter_than_an_exclusive_one_is_compared",
    ),
]
