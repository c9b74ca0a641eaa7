import pytest

from fait._advice.facts import FACTS, Fact, facts_of, read_modules
from fait._errors import UsageError


def test_facts_outside_of_modules_hold_in_each_module() -> None:
    modules = read_modules({"lifespan": "years", "modules": [{"name": "a", "loss": "tolerable"}, {"name": "b"}]})

    assert [each.name for each in modules] == ["a", "b"]
    assert modules[0].facts == {"lifespan": Fact("years"), "loss": Fact("tolerable")}
    assert modules[1].facts == {"lifespan": Fact("years")}


def test_facts_without_modules_are_those_of_the_system() -> None:
    assert read_modules({"intent_matters": True})[0].name == "system"


def test_null_is_an_unknown_fact() -> None:
    assert facts_of({"loss": None}) == {}


def test_fact_with_quote_and_confidence_is_read_as_printed() -> None:
    assert facts_of({"loss": {"value": "tolerable", "quote": "q", "confidence": 0.5}}) == {
        "loss": Fact("tolerable", "q", 0.5)
    }


def test_unknown_name_is_an_error_that_lists_the_names() -> None:
    with pytest.raises(UsageError, match="unknown fact 'histry'") as raised:
        facts_of({"histry": "none"})

    assert all(name in str(raised.value) for name in FACTS)


@pytest.mark.parametrize(("name", "value"), [("history_need", "full"), ("intent_matters", 1), ("contention", True)])
def test_unknown_value_is_an_error_that_lists_the_values(name: str, value: object) -> None:
    with pytest.raises(UsageError, match=f"{name} cannot be") as raised:
        facts_of({name: value})

    assert all(str(each).lower() in str(raised.value) for each in FACTS[name])


@pytest.mark.parametrize("document", [[], "text", {"modules": {}}, {"modules": [{}]}, {"modules": [1]}, {"loss": {}}])
def test_other_documents_are_refused(document: object) -> None:
    with pytest.raises(UsageError):
        read_modules(document)


@pytest.mark.parametrize(
    "names",
    [["a", "a"], ["a", "b", "a"], ["a", "b", "b"], ["Orders", "Orders", "Orders"], [" ", " "], ["ä", "b", "c", "ä"]],
)
def test_modules_with_the_same_name_are_refused(names: list[str]) -> None:
    with pytest.raises(UsageError, match="two modules have the name"):
        read_modules({"modules": [{"name": each} for each in names]})
