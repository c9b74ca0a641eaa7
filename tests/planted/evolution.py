"""Faults in the check of event types."""

from tests.planted.mutant import Mutant

FIELD = "tests/evolution/test_changes_of_one_field.py::test_"
CHECK = "tests/evolution/test_check.py::test_"
PROOF = "tests/evolution/test_proof_adversarial.py::test_"

FAULTS = [
    Mutant(
        "a field that the next version does not have counts as readable",
        "_evolution/check/automatic.py",
        "removed-optional-member",
        "differences, removed = [], []",
        CHECK + "violation_of_rule_is_the_only_one_with_its_text[FAIT107]",
    ),
    Mutant(
        "types whose names differ only in case are accepted",
        "_evolution/check/check_types.py",
        "names-by-case",
        "if one == other:",
        CHECK + "violation_of_rule_is_the_only_one_with_its_text[FAIT109]",
    ),
    Mutant(
        "a member that the next version does not know is no error in the result of an upcaster",
        "_evolution/check/path.py",
        "unknown-member-in-result",
        "return",
        PROOF + "wrong_upcaster_is_found_under_its_rule[leaves_the_old_name]",
    ),
    Mutant(
        "a member that an upcaster never passes on is not reported",
        "_evolution/check/coverage.py",
        "lost-member",
        "pass",
        PROOF + "wrong_upcaster_is_found_under_its_rule[swallows_nested_field]",
    ),
    Mutant(
        "an upcaster may change its input",
        "_evolution/check/running.py",
        "changed-input",
        "if False:",
        PROOF + "wrong_upcaster_is_found_under_its_rule[changes_nested_list]",
    ),
    Mutant(
        "two different results of one upcaster are accepted",
        "_evolution/check/running.py",
        "unrepeatable",
        "if len(first) != len(second):",
        CHECK + "violation_of_rule_is_the_only_one_with_its_text[FAIT111]",
    ),
    Mutant(
        "the class of today may refuse a sample of a lock",
        "_evolution/check/proof.py",
        "class-refuses-locked-sample",
        "if not problem or not self._is_faithful(name):",
        CHECK + "class_that_refuses_a_locked_sample_is_found",
    ),
    Mutant(
        "the class of today may refuse generated events that the locked class read",
        "_evolution/check/proof.py",
        "validator-added-later",
        "return False",
        CHECK + "code_of_a_class_that_refuses_what_the_locked_class_read_is_found",
    ),
    Mutant(
        "an exemption that accepts nothing stays unnoticed",
        "_evolution/check/report.py",
        "unused-exemption",
        "if False:",
        "tests/evolution/test_report.py::test_exemption_that_accepts_nothing_is_a_violation",
    ),
    Mutant(
        "a class whose enum has other meanings for its values is the locked one",
        "_evolution/locks/lock.py",
        "moved-names-in-a-lock",
        "meanings: list[Any] = []",
        CHECK + "exchanged_values_of_an_enum_change_a_locked_version",
    ),
    Mutant(
        "an upcaster of one field hides the exchanged values of another one",
        "_evolution/check/untouched.py",
        "untouched-meaning",
        "return False",
        FIELD + "exchanged_values_of_an_enum_are_found_next_to_an_upcaster_of_another_field[False]",
    ),
    Mutant(
        "a default may change although an earlier version leaves the old one out",
        "_evolution/check/automatic.py",
        "default-omitted-earlier",
        "is_omitted = False",
        CHECK + "default_that_an_earlier_version_omits_cannot_be_changed",
    ),
    Mutant(
        "a new member may have another default in each reading",
        "_evolution/locks/reading.py",
        "unrepeatable-default",
        "return []",
        CHECK + "new_member_with_a_default_that_differs_in_each_reading_is_found",
    ),
]
