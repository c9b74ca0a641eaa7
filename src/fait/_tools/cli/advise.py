"""`fait advise`: which patterns a system needs, or none, with reasons. It reads a text or facts, or asks."""

import sys
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer

from fait._advice.facts import Module, read_modules
from fait._advice.questions import QUESTIONS
from fait._advice.reading.read import MAX_TEXT_BYTES, read
from fait._advice.recommend import ModuleRecommendation, Recommendation, recommend
from fait._advice.report import AXIS_WORDS, HEADLINE_WORDS, as_data
from fait._advice.rules import Rule
from fait._errors import MissingExtra, UsageError
from fait._tools.cli.interview import STATE_FILE, interview
from fait._tools.cli.options import JsonOption
from fait._tools.cli.output import command, print_json, print_line

__all__ = ["advise"]

_MAX_FLIPS: Final = 4
"""Maximum number of changes that are listed without --explain."""

_Text = Annotated[str | None, typer.Argument(metavar="DESCRIPTION", help="The system, in your own words, in English.")]
_TextFile = Annotated[
    Path | None, typer.Option("--text", metavar="FILE", allow_dash=True, help="Read the description; - is stdin.")
]
_FactsFile = Annotated[
    Path | None,
    typer.Option("--facts", metavar="FILE", allow_dash=True, help="Read facts as JSON or YAML; - is stdin."),
]
_State = Annotated[
    Path, typer.Option("--state", metavar="FILE", help="Answers of an interview that was quit, to resume it.")
]
_Explain = Annotated[
    bool, typer.Option("--explain", help="Print each rule that applied, its weight, and what would change the result.")
]


@command
async def advise(
    description: _Text = None,
    text: _TextFile = None,
    facts: _FactsFile = None,
    state: _State = Path(STATE_FILE),
    explain: _Explain = False,
    as_json: JsonOption = False,
) -> None:
    """Recommend events, an outbox, read models, or plain tables, with reasons.

    Without a description and without facts, the command asks in the terminal. It needs no network and no model.
    """
    if (modules := _modules(description, text, facts, state)) is None:
        return None
    result = recommend(modules)
    if as_json:
        return print_json(as_data(result))
    return _print(result, explain=explain)


def _modules(description: str | None, text: Path | None, facts: Path | None, state: Path) -> tuple[Module, ...] | None:
    given = [each for each in (description, text, facts) if each is not None]
    if len(given) > 1:
        raise UsageError("pass one of: a description, --text FILE, --facts FILE.")
    if facts is not None:
        return read_modules(_decoded(facts))
    if text is not None:
        return read(_content(text).decode("utf-8", "replace"))
    if description is not None:
        return read(description)
    if not sys.stdin.isatty():
        raise UsageError('describe the system: fait advise "…", or --text FILE, or --facts FILE.')
    return interview(state)


def _content(path: Path) -> bytes:
    """Read a file or standard input, up to one byte more than a description may have."""
    if str(path) == "-":
        return sys.stdin.buffer.read(MAX_TEXT_BYTES + 1)
    try:
        with path.open("rb") as file:
            return file.read(MAX_TEXT_BYTES + 1)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}.") from None


def _decoded(path: Path) -> Any:
    content = _content(path)
    try:
        if path.suffix in {".yaml", ".yml"}:
            return msgspec.yaml.decode(content)
        return msgspec.json.decode(content)
    except ImportError:
        raise MissingExtra("reading facts from YAML", "yaml") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: {error}") from None


def _print(result: Recommendation, *, explain: bool) -> None:
    print_line(f"{result.headline}: {HEADLINE_WORDS[result.headline]}")
    print_line(f"confidence {result.confidence:.2f}")
    for each in result.modules:
        _print_module(each, explain=explain)


def _print_module(each: ModuleRecommendation, *, explain: bool) -> None:
    axes = each.decision.axes
    print_line("")
    print_line(f"{each.module.name}: {each.decision.headline}")
    for axis, value in (("leaves by", axes.integration), ("truth in", axes.storage), ("read from", axes.read)):
        print_line(f"  {axis:10}{AXIS_WORDS[value]}")
    if each.decision.is_pilot:
        print_line("  Event sourcing is a candidate: try it in one small module first.")
    for rule in each.decision.rules:
        if rule.weight or rule.gives != "none" or explain:
            _print_rule(each, rule, explain=explain)
    for rule in each.decision.vetoed:
        print_line(f"  veto {rule.because} {rule.source}")
    _print_changes(each, explain=explain)


def _print_rule(each: ModuleRecommendation, rule: Rule, *, explain: bool) -> None:
    sign = "against" if rule.weight < 0 else "because"
    print_line(f"  {sign} {rule.because}{f' ({rule.id}, {rule.weight:+d})' if explain else ''} {rule.source}")
    if quote := each.quote_of(rule):
        print_line(f"    “{' '.join(quote.split())}”")


def _print_changes(each: ModuleRecommendation, *, explain: bool) -> None:
    if explain:
        scores = f"storage {each.decision.storage_score}, read {each.decision.read_score}"
        print_line(f"  scores: {scores}; margin {each.decision.margin}")
    for flip in each.flips if explain else each.flips[:_MAX_FLIPS]:
        question = QUESTIONS[flip.fact]
        answer = dict(question.choices(flip.fact))[flip.value]
        print_line(f"  would change this: {question.text} {answer} → {flip.headline}")
