"""Faults in the design document and in its comparison with the code."""

from tests.planted.mutant import Mutant

DOCUMENT = "tests/design/test_document.py::test_"
DISCREPANCIES = "tests/design/test_discrepancies.py::test_"

FAULTS = [
    Mutant(
        "an edit by hand inside a generated part is not noticed",
        "_design/document.py",
        "edited-part",
        "return False",
        DISCREPANCIES + "edit_by_hand_inside_a_generated_part_is_found",
    ),
    Mutant(
        "text of users is lost when a document is written again",
        "_design/document.py",
        "text-of-users",
        "parts = [_renewed(each, texts.get(each.name)) for each in written if each.name in texts]",
        DOCUMENT + "text_of_users_is_kept_in_its_place",
    ),
    Mutant(
        "consumers of a document are not compared with the code",
        "_design/discrepancies.py",
        "missing-consumer",
        "pass",
        DISCREPANCIES + "consumer_that_the_document_misses_is_found",
    ),
    Mutant(
        "a changed promise to a consumer is accepted",
        "_design/discrepancies.py",
        "changed-guarantee",
        "if changes := '':",
        DISCREPANCIES + "changed_guarantee_is_found",
    ),
    Mutant(
        "a removed section is accepted",
        "_design/discrepancies.py",
        "missing-section",
        "if False:",
        DISCREPANCIES + "removed_section_is_found",
    ),
    Mutant(
        "a new schema version counts as a changed schema",
        "_design/discrepancies.py",
        "new-version",
        "if False:",
        DISCREPANCIES + "new_version_is_found",
    ),
]
