"""Screening of a bounty's words before it is published: versioned rules over normalised text, codes out, never free text."""

import functools
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypedDict

from market.policy import decisions, wording

_RULES: Final = Path(__file__).parent / "data" / "screening_rules.json"
# Words from which on a field must read as the language of the rules.
_MIN_WORDS: Final = 4
_MIN_KNOWN_SHARE: Final = 0.15
_MIN_LATIN_SHARE: Final = 0.6
# Rules are linear in the text, but nobody needs longer fields.
_MAX_CHARS: Final = 4000


class _RuleText(TypedDict, total=False):
    code: str
    all: list[str]
    none: list[str]
    scope: str


class _RuleFile(TypedDict):
    version: str
    vocabulary: dict[str, str]
    rules: list[_RuleText]
    known_words: str


@dataclass(frozen=True)
class _Rule:
    """Refuses a passage that all of ``needed`` and none of ``excused`` find."""

    code: str
    needed: tuple[re.Pattern[str], ...]
    excused: tuple[re.Pattern[str], ...]
    reads_whole_text: bool


@dataclass(frozen=True)
class _RuleSet:
    version: str
    rules: tuple[_Rule, ...]
    known_words: frozenset[str]


def screen(*, text_fields: Iterable[str]) -> decisions.Decision:
    """Decide whether a bounty's words may be published.

    The rules read English. A field in another language is refused as "language_not_screened": what was not read is not
    allowed. They are a first filter for plain requests, no match for a patient author: reports, people and limits stand behind.

    Args:
        text_fields: title, question, phrases: everything a worker will read.

    Returns:
        A refusal with the codes of the deny classes found ("credentials", "identity_proxy", "private_person", "harassment",
        "fake_engagement", "regulated_goods", "reconnaissance", "trespass", "minors", "medical_legal", "sanctions_evasion",
        "language_not_screened", "text_too_long"), or permission; with the version of the rules.
    """
    rule_set = _rule_set()
    fields = [field for field in text_fields if field]
    if any(len(field) > _MAX_CHARS for field in fields):
        return decisions.decide(codes={"text_too_long"}, version=rule_set.version)
    codes: set[str] = set()
    if not all(_is_readable(field, rule_set.known_words) for field in fields):
        codes.add("language_not_screened")
    # One disguise at a time, over all fields together.
    for variant in set(zip(*(wording.readings(field) for field in fields), strict=True)):
        codes |= _codes_of(variant, rule_set.rules)
    return decisions.decide(codes=codes, version=rule_set.version)


def version() -> str:
    """Return the version of the rules in force."""
    return _rule_set().version


def _codes_of(fields: tuple[str, ...], rules: tuple[_Rule, ...]) -> set[str]:
    whole = " . ".join(fields)
    passages = [sentence for field in fields for sentence in wording.sentences(field)]
    found = set()
    for rule in rules:
        if rule.code not in found and any(_matches(rule, passage) for passage in ([whole] if rule.reads_whole_text else passages)):
            found.add(rule.code)
    return found


def _matches(rule: _Rule, passage: str) -> bool:
    return all(pattern.search(passage) for pattern in rule.needed) and not any(pattern.search(passage) for pattern in rule.excused)


def _is_readable(field: str, known_words: frozenset[str]) -> bool:
    text = wording.readings(field)[-1]
    if wording.latin_share(text) < _MIN_LATIN_SHARE:
        return False
    words = wording.words(text)
    return len(words) < _MIN_WORDS or sum(word in known_words for word in words) / len(words) >= _MIN_KNOWN_SHARE


@functools.cache
def _rule_set() -> _RuleSet:
    file: _RuleFile = json.loads(_RULES.read_text(encoding="utf-8"))
    rules = tuple(_rule(text, file["vocabulary"]) for text in file["rules"])
    return _RuleSet(version=file["version"], rules=rules, known_words=frozenset(file["known_words"].split()))


def _rule(text: _RuleText, vocabulary: dict[str, str]) -> _Rule:
    return _Rule(
        code=text["code"],
        needed=tuple(_compiled(pattern, vocabulary) for pattern in text["all"]),
        excused=tuple(_compiled(pattern, vocabulary) for pattern in text.get("none", [])),
        reads_whole_text=text.get("scope") == "text",
    )


def _compiled(pattern: str, vocabulary: dict[str, str]) -> re.Pattern[str]:
    """Compile a pattern between word edges; ``<name>`` stands for an entry of the vocabulary."""
    filled = re.sub(r"<([a-z_]+)>", lambda match: f"(?:{vocabulary[match.group(1)]})", pattern)
    return re.compile(rf"(?<!\w)(?:{filled})(?!\w)")
