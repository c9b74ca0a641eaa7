"""The interview of `fait advise`: asks in the terminal, one question at a time, only what can still change the result.

Answers are kept in a file after each question, so an interview that was quit, or killed, continues where it was.
"""

from pathlib import Path
from typing import Final

import msgspec

from fait._advice.facts import FACTS, Fact, Module, Value, facts_of
from fait._advice.questions import QUESTIONS, open_questions
from fait._errors import UsageError
from fait._tools.cli.output import print_line
from fait._tools.cli.standard_input import interruptible

__all__ = ["STATE_FILE", "Answers", "interview"]

STATE_FILE: Final = ".fait-advise.json"
"""Name of the file with the answers, in the working directory."""

_HELP: Final = "number of the answer, s to skip, b to go back, q to quit and continue later"


class Answers:
    """The answers so far, in order. A skipped question has the answer None."""

    def __init__(self, given: dict[str, Value | None]) -> None:
        self._given = given

    @property
    def facts(self) -> dict[str, Fact]:
        """The facts that were answered."""
        return {name: Fact(value) for name, value in self._given.items() if value is not None}

    @property
    def open(self) -> list[str]:
        """The facts to ask for, in order."""
        return open_questions(self.facts, frozenset(self._given))

    @property
    def progress(self) -> str:
        """Which question comes next, of about how many."""
        return f"{len(self._given) + 1} of about {len(self._given) + len(self.open)}"

    def give(self, name: str, value: Value | None) -> None:
        """Store an answer; None skips the question."""
        self._given[name] = value

    def go_back(self) -> None:
        """Remove the last answer, if there is one."""
        if self._given:
            self._given.popitem()

    def save(self, path: Path) -> None:
        """Write the answers to a file."""
        path.write_bytes(msgspec.json.encode(self._given))

    @classmethod
    def load(cls, path: Path) -> "Answers":
        """Read the answers from a file; without the file there are none.

        Raises:
            UsageError: the file has no answers of an interview.
        """
        if not path.exists():
            return cls({})
        try:
            given = msgspec.json.decode(path.read_bytes(), type=dict[str, str | bool | None])
            facts_of(given)
        except (msgspec.DecodeError, UnicodeDecodeError, UsageError) as error:
            raise UsageError(f"{path} has no answers of an interview ({error}). Delete it to begin again.") from None
        return cls(given)


def interview(path: Path) -> tuple[Module, ...] | None:
    """Ask until no open question can change the result. Return None if the user quits; the file keeps the answers."""
    answers = Answers.load(path)
    print_line(f"Answer with the {_HELP}.")
    while questions := answers.open:
        if not _ask(answers, questions[0]):
            print_line(f"The answers are in {path}. Run fait advise here to continue.")
            return None
        answers.save(path)
    path.unlink(missing_ok=True)
    return (Module("system", answers.facts),)


def _ask(answers: Answers, name: str) -> bool:
    """Ask one question and store its answer. Return whether the interview continues."""
    question = QUESTIONS[name]
    print_line("")
    print_line(f"[{answers.progress}] {question.text}")
    for number, (_, text) in enumerate(question.choices(name), 1):
        print_line(f"  {number}  {text}")
    while True:
        reply = _reply()
        if reply == "q":
            return False
        if _apply(answers, name, reply):
            return True
        print_line(f"Expected the {_HELP}.")


def _apply(answers: Answers, name: str, reply: str) -> bool:
    """Store a reply. Return False if it is none."""
    if reply == "b":
        answers.go_back()
    elif reply == "s":
        answers.give(name, None)
    elif reply.isdecimal() and 1 <= int(reply) <= len(FACTS[name]):
        answers.give(name, FACTS[name][int(reply) - 1])
    else:
        return False
    return True


def _reply() -> str:
    try:
        with interruptible():
            return input("> ").strip().lower()
    except EOFError:
        return "q"
