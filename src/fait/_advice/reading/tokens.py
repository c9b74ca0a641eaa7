"""From text to tokens: words in a common form, numbers with their value, and where each is in the text.

Words are lower-case stems in American spelling, so one entry of the lexicon stands for all forms of a word. A long word
that the lexicon does not know, but that differs by one letter from one that it knows, is taken as a typing error.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

__all__ = ["MIN_CORRECTED_LENGTH", "Token", "deletions", "stem", "tokens_of"]

MIN_CORRECTED_LENGTH: Final = 7
"""Minimum length of a word, in letters, that may be a typing error of another."""
_MIN_BRITISH_LENGTH: Final = 5
"""A word ending in -is(e) or -our that is longer, in letters, is respelled; shorter ones are other words."""
_SHORT: Final = 3
"""Maximum length of a word, in letters, that keeps its ending."""
_MAX_WORD_LENGTH: Final = 40
"""Maximum length of a word, in letters; longer ones are not examined."""

_TOKEN: Final = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?|\d[\d.,]*(?:(?<=\d)[kKmM](?![^\W\d_]))?|[^\s\w]|_")

_ABBREVIATIONS: Final[Mapping[str, str]] = dict(
    pair.split("=")
    for pair in (
        "hv=have upld=upload uplds=uploads l8r=later sb=somebody sth=something aint=isn't prob=problem probs=problems loosing=losing ev=events img=image imgs=images 4ever=forever 2day=today w=with wd=would shd=should cd=could tht=that ths=this r=are u=you ur=your bc=because b4=before msg=message "
        "msgs=messages txn=transaction txns=transactions tx=transaction evt=event evts=events acct=account "
        "accts=accounts db=database dbs=databases ppl=people cust=customer custs=customers adj=adjustment "
        "adjs=adjustments chg=change chgs=changes hist=history notif=notification notifs=notifications svc=service "
        "svcs=services sec=second secs=seconds min=minute mins=minutes hr=hour hrs=hours ms=millisecond "
        "recalc=recalculate recalcs=recalculations info=information infos=information mgr=manager sys=system "
        "wo=without abt=about nd=and thru=through tho=though docs=documents doc=document app=app apps=apps "
        "readmodel=projection datas=data cuz=because coz=because plz=please pls=please gonna=going wanna=want "
        "dont=don't doesnt=doesn't cant=can't wont=won't isnt=isn't arent=aren't mustnt=mustn't shouldnt=shouldn't "
        "didnt=didn't wasnt=wasn't werent=weren't wouldnt=wouldn't couldnt=couldn't havent=haven't hasnt=hasn't "
        "cannot=can't evry=every evryone=everyone nobdy=nobody wat=what wen=when pymt=payment pymts=payments "
        "inv=invoice invs=invoices trx=transaction trxs=transactions amt=amount amts=amounts bal=balance qty=quantity "
        "mgmt=management dept=department repl=replace upd=update upds=updates del=delete req=request reqs=requests"
    ).split()
)
_IRREGULAR: Final[Mapping[str, str]] = dict(
    pair.split("=")
    for pair in (
        "lost=lose losing=lose loses=lose loss=lose losses=lose sent=send told=tell tells=tell knew=know known=know "
        "saw=see seen=see held=hold stood=stand was=was were=was been=be had=have has=have did=do done=do does=do "
        "went=go gone=gone came=come wrote=write written=write paid=pay kept=keep got=get gotten=get left=leave "
        "learnt=learn learned=learn heard=hear made=make took=take taken=take gave=give given=give found=find "
        "forgot=forget forgotten=forget forgets=forget thrown=throw threw=throw overwritten=overwrite "
        "overwrote=overwrite rewritten=rewrite rewrote=rewrite undone=undo said=say says=say people=people children=child women=woman men=man "
        "bought=buy sold=sell shown=show brought=bring understood=understand met=meet ran=run fed=feed fell=fall "
        "fallen=fall hung=hang froze=freeze frozen=freeze broke=break broken=break died=die dies=die dying=die "
        "data=data news=news less=less this=this his=his its=its as=as is=is us=us yes=yes always=always "
        "centre=center centres=center metre=meter metres=meter litre=liter litres=liter cheque=check cheques=check "
        "programme=program programmes=program catalogue=catalog catalogues=catalog dialogue=dialog grey=gray "
        "licence=license licences=license tyre=tire kerb=curb storey=story analyse=analyze analysed=analyze "
        "analyses=analyze paying=pay nothing=nothing something=something anything=anything everything=everything "
        "during=during evening=evening morning=morning status=status thing=thing things=thing being=be "
        "dropped=drop happens=happen happened=happen fulfil=fulfill enrol=enroll enrols=enroll "
        "process=process address=address access=access business=business express=express press=press "
        "series=series wishes=wish lying=lie speed=speed need=need needs=need needed=need feed=feed seed=seed "
        "indeed=indeed exceed=exceed proceed=proceed bed=bed red=red string=string king=king ring=ring spring=spring "
        "sing=sing wing=wing bring=bring various=various previous=previous bus=bus plus=plus campus=campus"
    ).split()
)
_NUMBER_WORDS: Final[Mapping[str, float]] = {
    "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10,
    "eleven": 11, "twelve": 12, "dozen": 12, "fourteen": 14, "fifteen": 15, "sixteen": 16, "twenty": 20, "thirty": 30,
    "forty": 40, "fifty": 50, "sixty": 60, "eighty": 80, "ninety": 90, "hundred": 100, "thousand": 1e3, "million": 1e6,
    "billion": 1e9, "trillion": 1e12,
}  # fmt: skip
_FACTORS: Final[Mapping[str, float]] = {"k": 1e3, "m": 1e6}
_PLURAL_HUNDREDS: Final[Mapping[str, float]] = {
    "dozens": 50, "hundreds": 500, "thousands": 5e3, "millions": 5e6, "billions": 5e9, "trillions": 5e12,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Token:
    """A word, a number or a punctuation mark.

    Attributes:
        start: where it starts in the text.
        end: where it ends.
        text: the word in lower case.
        stem: the common form of the word, or the characters.
        number: the value if it is a number.
    """

    start: int
    end: int
    text: str
    stem: str
    number: float | None = None


def tokens_of(text: str) -> Iterator[Token]:
    """Split a text into tokens."""
    for match in _TOKEN.finditer(text):
        word = match[0]
        yield Token(match.start(), match.end(), word.lower(), stem(word), _number(word.lower()))


def _number(word: str) -> float | None:
    if not word[0].isdigit():
        return _NUMBER_WORDS.get(word, _PLURAL_HUNDREDS.get(word))
    factor = _FACTORS.get(word[-1], 1)
    digits = word.rstrip("kmKM").rstrip(".,")
    if re.fullmatch(r"\d{1,3}(?:[.,]\d{3})+", digits):
        digits = re.sub("[.,]", "", digits)
    try:
        return float(digits.replace(",", ".")) * factor
    except ValueError:
        return None


@lru_cache(maxsize=20_000)
def stem(word: str) -> str:
    """Return the common form of a word."""
    word = word.lower().replace("’", "'")
    word = _ABBREVIATIONS.get(word, word)
    if "'" in word and not word.endswith("n't"):
        word = word.partition("'")[0]
    if not word.isalpha() or len(word) > _MAX_WORD_LENGTH:
        return word
    base = _IRREGULAR.get(word)
    return word if base == word else _american(_without_ending(base or word))


def _without_ending(word: str) -> str:
    for ending, replacement in (("ies", "y"), ("ied", "y"), ("sses", "ss"), ("ches", "ch"), ("shes", "sh")):
        if word.endswith(ending) and len(word) > len(ending) + 1:
            return word[: -len(ending)] + replacement
    if word.endswith("s") and not word.endswith(("ss", "us", "is")) and len(word) > _SHORT:
        word = word[:-1]
    for ending in ("ing", "ed"):
        if (
            word.endswith(ending)
            and len(word) > len(ending) + 2
            and any(each in "aeiouy" for each in word[: -len(ending)])
        ):
            word = _undoubled(word[: -len(ending)])
            break
    return word[:-1] if word.endswith("e") and len(word) > _SHORT else word


def _undoubled(word: str) -> str:
    return word[:-1] if len(word) > _SHORT and word[-1] == word[-2] and word[-1] not in "sz" else word


def _american(word: str) -> str:
    if word.endswith("sation"):
        return word[:-6] + "zation"
    if len(word) > _MIN_BRITISH_LENGTH and word.endswith(("is", "our")):
        return word[:-2] + "iz" if word.endswith("is") else word[:-3] + "or"
    return word


def deletions(word: str) -> Iterator[str]:
    """Yield the word and each word that results from leaving out one letter."""
    yield word
    for index in range(len(word)):
        yield word[:index] + word[index + 1 :]
