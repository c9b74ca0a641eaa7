"""Scores the advisor against a set of descriptions: `python -m tests.advice.score FILE [--facts]`.

A line of the file is an object with `id`, `text` (or `facts`), `headline`, and optionally `acceptable`, `must_not`,
`kind`, `modules` and `paraphrase_of`.
"""

import json
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from fait._advice.facts import read_modules
from fait._advice.reading.read import read
from fait._advice.recommend import Recommendation, recommend

Case = dict[str, Any]


def load(path: Path) -> list[Case]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]


def answer(case: Case) -> Recommendation:
    return recommend(read_modules(case["facts"]) if "facts" in case else read(case["text"]))


def is_exact(case: Case, given: Recommendation) -> bool:
    return given.headline == case["headline"]


def is_acceptable(case: Case, given: Recommendation) -> bool:
    return given.headline in (case["headline"], *case.get("acceptable", ()))


def is_forbidden(case: Case, given: Recommendation) -> bool:
    return given.headline in case.get("must_not", ())


def integration_agrees(case: Case, given: Recommendation) -> bool:
    """Whether an outbox is recommended if, and only if, one is expected."""
    expected = any(each["integration"] in ("outbox", "cdc") for each in case.get("modules", ()))
    return expected == any(each.decision.axes.integration in ("outbox", "cdc") for each in given.modules)


def storage_agrees(case: Case, given: Recommendation) -> bool:
    """Whether the modules of both have the same kinds of storage."""
    expected = {each["storage"] for each in case.get("modules", ())}
    return not expected or expected == {each.decision.axes.storage for each in given.modules}


def paraphrases_agree(results: list[tuple[Case, Recommendation]]) -> tuple[int, int]:
    headlines = {case["id"]: given.headline for case, given in results}
    pairs = [(case["id"], case["paraphrase_of"]) for case, _ in results if case.get("paraphrase_of") in headlines]
    return sum(headlines[one] == headlines[other] for one, other in pairs), len(pairs)


def report(results: list[tuple[Case, Recommendation]], *, verbose: bool) -> None:
    total = len(results)
    for name, test in {
        "exact": is_exact,
        "acceptable": is_acceptable,
        "must not": is_forbidden,
        "outbox agrees": integration_agrees,
        "storage agrees": storage_agrees,
    }.items():
        count = sum(test(*each) for each in results)
        print(f"{name:15} {count:3} of {total} ({100 * count / total:.1f} %)")
    print("paraphrases that agree: {} of {}".format(*paraphrases_agree(results)))
    kinds = defaultdict[str, list[bool]](list)
    confusion = Counter[tuple[str, str]]()
    for case, given in results:
        kinds[case.get("kind", "facts")].append(is_acceptable(case, given))
        if not is_acceptable(case, given):
            confusion[case["headline"], given.headline] += 1
            if verbose:
                print("  wrong:", case["id"], case["headline"], "given", given.headline)
    print("acceptable by kind:", ", ".join(f"{kind} {sum(each)}/{len(each)}" for kind, each in sorted(kinds.items())))
    for (expected, headline), count in sorted(confusion.items()):
        print(f"  {expected} answered with {headline}: {count}")


if __name__ == "__main__":
    cases = load(Path(sys.argv[1]))
    report([(case, answer(case)) for case in cases], verbose="-v" in sys.argv)
