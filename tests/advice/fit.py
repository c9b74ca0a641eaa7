"""Fits the weights of words of the advisor to descriptions: `python -m tests.advice.fit [--cross]`.

The weights are those of a logistic regression whose features are the different words of a description. They are
written to `reading/data/weights.toml`. With --cross, nothing is written: the descriptions of each author are scored, by
the whole advisor, with weights that are fitted to those of the other authors. This is the rate to expect for unread
descriptions.
"""

import math
import sys
import textwrap
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fait._advice.reading import evidence, lexicon
from fait._advice.reading.sentences import sentences_of
from tests.advice.score import Case, answer, load, report

HEADLINES = ("crud", "async_messaging", "outbox", "cqrs", "event_sourcing", "streaming", "mixed")
FOLDER = Path(__file__).parent
FILES = sorted(FOLDER.glob("development*.jsonl"))
TARGET = Path(lexicon.__file__).parent / "data" / "weights.toml"

ROUNDS = 200
RATE = 0.1
PENALTY = 1.0
IDF_POWER = 1.5
MIN_COUNT = 2
"""Minimum number of descriptions with a word, for it to have weights."""
MIN_WEIGHT = 2
"""Minimum absolute weight that is written; smaller ones change nothing that can be measured."""

Document = dict[str, dict[str, Any]]


def main(arguments: list[str]) -> None:
    cases = [case for file in FILES for case in load(file)]
    if "--cross" not in arguments:
        TARGET.write_text(rendered(fit(cases)), encoding="utf-8")
        return
    results = [
        (case, answered)
        for author in sorted({case["author"] for case in cases} - {"rules"})
        for case, answered in _left_out(cases, author)
    ]
    report(results, verbose="-v" in arguments)


def _left_out(cases: Sequence[Case], author: str) -> Iterator[tuple[Case, Any]]:
    use(fit([case for case in cases if case["author"] != author]))
    own = [case for case in cases if case["author"] == author]
    results = [(case, answer(case)) for case in own]
    good = sum(r.headline in (c["headline"], *c.get("acceptable", ())) for c, r in results)
    bad = sum(r.headline in c.get("must_not", ()) for c, r in results)
    print(f"without {author}: {good} of {len(own)}, must not {bad}", flush=True)
    yield from results


def use(document: Mapping[str, Any]) -> None:
    """Make the advisor use other weights."""
    known = lexicon.parse_weights(document)
    lexicon.weights = lambda: known
    evidence._long_words.cache_clear()


def fit(cases: Sequence[Case]) -> Document:
    """Return the weights for descriptions."""
    use({})
    texts = [sorted(evidence.evidence_of(sentences_of(case["text"], 0, len(case["text"])))) for case in cases]
    counts = Counter(word for words in texts for word in words)
    scale = {
        word: (1 + math.log((1 + len(texts)) / (1 + count))) ** IDF_POWER / 4
        for word, count in counts.items()
        if count >= MIN_COUNT
    }
    rows = [
        [(word, scale[word] / math.sqrt(max(evidence.MIN_WORDS, len(words)))) for word in words if word in scale]
        for words in texts
    ]
    weights, bias = _regression(rows, [HEADLINES.index(case["headline"]) for case in cases])
    document: Document = {
        name: {"bias": _rounded(value), "words": {}} for name, value in zip(HEADLINES, bias, strict=True)
    }
    for word in sorted(weights):
        for name, weight in zip(HEADLINES, weights[word], strict=True):
            if abs(value := _rounded(weight * scale[word])) >= MIN_WEIGHT:
                same = document[name]["words"]
                same[str(value)] = f"{same[str(value)]} {word}" if str(value) in same else word
    return document


def _rounded(weight: float) -> int:
    return round(weight * evidence.SCALE)


def _regression(
    rows: Sequence[Sequence[tuple[str, float]]], labels: Sequence[int]
) -> tuple[dict[str, list[float]], list[float]]:
    """Fit by gradient descent with adaptive steps (Adam); each headline counts as much as the others."""
    size = len(HEADLINES)
    share = [len(labels) / (size * max(1, labels.count(each))) for each in range(size)]
    weights = {word: [0.0] * size for row in rows for word, _ in row}
    parameters = {**weights, "": [0.0] * size}
    first = {word: [0.0] * size for word in parameters}
    second = {word: [0.0] * size for word in parameters}
    for step in range(1, ROUNDS + 1):
        gradient = {word: [PENALTY * value for value in row] for word, row in parameters.items()}
        gradient[""] = [0.0] * size
        for row, label in zip(rows, labels, strict=True):
            _add_gradient(parameters, gradient, [*row, ("", 1.0)], label, share[label])
        rate = RATE * (1 - step / (ROUNDS + 1))
        for word, row in parameters.items():
            for each in range(size):
                slope = gradient[word][each]
                first[word][each] = m = 0.9 * first[word][each] + 0.1 * slope
                second[word][each] = v = 0.99 * second[word][each] + 0.01 * slope * slope
                row[each] -= rate * (m / (1 - 0.9**step)) / (math.sqrt(v / (1 - 0.99**step)) + 1e-8)
    return weights, parameters[""]


def _add_gradient(
    parameters: Mapping[str, list[float]],
    gradient: defaultdict[str, list[float]] | dict[str, list[float]],
    row: Sequence[tuple[str, float]],
    label: int,
    share: float,
) -> None:
    scores = [sum(parameters[word][each] * value for word, value in row) for each in range(len(HEADLINES))]
    odds = [math.exp(score - max(scores)) for score in scores]
    total = sum(odds)
    errors = [share * (value / total - (each == label)) for each, value in enumerate(odds)]
    for word, value in row:
        slopes = gradient[word]
        for each, error in enumerate(errors):
            slopes[each] += error * value


def rendered(document: Document) -> str:
    """Return the weights as TOML, the strongest first."""
    lines = [
        "# How much the beginning of a word speaks for a headline, in tenths. Written by tests/advice/fit.py.",
    ]
    for name, table in document.items():
        lines += ["", f"[{name}]", f"bias = {table['bias']}", "", f"[{name}.words]"]
        for value in sorted(table["words"], key=lambda each: -int(each)):
            words = textwrap.wrap(table["words"][value], 112)
            lines += [f'{value} = "{words[0]}"'] if len(words) == 1 else [f'{value} = """', *words, '"""']
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main(sys.argv[1:])
