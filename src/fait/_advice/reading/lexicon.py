"""The words of the advisor, as the files in `data/` declare them: groups of phrases, and the weights of words."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final, cast

import msgspec

from fait._advice.recommend import Headline

__all__ = ["ModuleWords", "Weights", "lexicon", "module_words", "parse_weights", "weights"]

_DATA: Final = files("fait._advice.reading").joinpath("data")


class ModuleWords(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a description is split into modules.

    Attributes:
        continuations: a sentence that begins with one of these continues the one before.
        no_names: a heading with one of these is no name of a module.
    """

    continuations: frozenset[str]
    no_names: frozenset[str]


@dataclass(frozen=True, slots=True)
class Weights:
    """How much words speak for each headline, in tenths.

    Attributes:
        bias: the weight of a description without words.
        words: the weights of a word, by its beginning.
    """

    bias: Mapping[Headline, int]
    words: Mapping[str, Mapping[Headline, int]]


@cache
def lexicon() -> dict[str, list[str]]:
    """Return words and phrases by the name of their group."""
    return msgspec.convert(_load("lexicon.toml"), dict[str, list[str]])


@cache
def module_words() -> ModuleWords:
    """Return the words by which a description is split."""
    return msgspec.convert(_load("modules.toml"), ModuleWords)


@cache
def weights() -> Weights:
    """Return the weights of words."""
    return parse_weights(_load("weights.toml"))


def parse_weights(document: Mapping[str, Any]) -> Weights:
    """Return the weights in a document: for each headline its bias, and words by their weight."""
    bias = dict[Headline, int]()
    known = dict[str, dict[Headline, int]]()
    for name, table in document.items():
        headline = cast("Headline", name)
        bias[headline] = table["bias"]
        for weight, same in table["words"].items():
            for word in same.split():
                known.setdefault(word, {})[headline] = int(weight)
    return Weights(bias, known)


def _load(name: str) -> dict[str, Any]:
    return tomllib.loads(_DATA.joinpath(name).read_text(encoding="utf-8"))
