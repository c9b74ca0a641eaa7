"""Faults in the advisor."""

from tests.planted.mutant import Mutant

READING = "tests/advice/test_reading.py::test_"
RECOMMEND = "tests/advice/test_recommend.py::test_"

FAULTS = [
    Mutant(
        "wishes and hearsay are evidence",
        "_advice/reading/sentences.py",
        "advice-of-no-evidence",
        "clauses = set[int]()",
        READING + "hearsay_is_no_evidence",
    ),
    Mutant(
        "a phrase outweighs the description",
        "_advice/reading/read.py",
        "advice-of-one-phrase",
        "if True:",
        READING + "stated_fact_that_contradicts_the_words_of_the_description_is_dropped",
    ),
    Mutant(
        "weights outweigh a veto",
        "_advice/recommend.py",
        "advice-without-veto",
        "if score >= EVENT_SOURCING_SCORE:",
        RECOMMEND + "veto_outweighs_every_weight_for_event_sourcing",
    ),
    Mutant(
        "one of several different modules gives the headline",
        "_advice/recommend.py",
        "advice-never-mixed",
        "if False:",
        RECOMMEND + "modules_that_differ_are_mixed_unless_one_carries_the_system",
    ),
    Mutant(
        "modules that differ are not separated",
        "_advice/reading/read.py",
        "advice-never-split",
        "if False:",
        READING + "named_parts_that_need_different_things_are_mixed",
    ),
]
