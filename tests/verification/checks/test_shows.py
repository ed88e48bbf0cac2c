"""The score of each phrase against the certified thresholds."""

import pytest

from tests.verification.checks import facts
from verification.checks import REGISTRY, learned_copy, shows
from verification.checks.result import CopyFacts, Limits, Outcome


@pytest.mark.parametrize(
    ("score", "limits", "outcome", "reason"),
    [
        (0.60, Limits(0.6, 0.2), Outcome.PASS, ""),
        (0.59, Limits(0.6, 0.2), Outcome.INCONCLUSIVE, "not_certain"),
        (0.20, Limits(0.6, 0.2), Outcome.INCONCLUSIVE, "not_certain"),
        (0.19, Limits(0.6, 0.2), Outcome.FAIL, "not_shown"),
        (0.00, Limits(0.6, None), Outcome.INCONCLUSIVE, "not_certain"),
        (0.99, None, Outcome.INCONCLUSIVE, "not_certified"),
    ],
)
def test_decides_only_what_is_certified(score: float, limits: Limits | None, outcome: Outcome, reason: str) -> None:
    result = shows.check(facts.honest(phrase_scores=(score, 0.9), limits=limits), phrase=0)
    assert (result.criterion, result.outcome, result.reason_code, result.score) == ("shows:0", outcome, reason, score)


def test_leaves_all_open_without_readings() -> None:
    case = facts.honest(phrase_scores=None)
    assert shows.check(case, phrase=1).reason_code == "no_readings"
    assert learned_copy.check(case).outcome == Outcome.NOT_APPLICABLE


def test_answers_for_every_phrase_of_the_terms() -> None:
    results = REGISTRY["shows"].run(facts.honest(phrase_scores=(0.9, 0.1)))
    assert [(result.criterion, result.outcome) for result in results] == [("shows:0", Outcome.PASS), ("shows:1", Outcome.FAIL)]


def test_leaves_likeness_to_a_person() -> None:
    for copies in (CopyFacts(nearest_bits=12), CopyFacts(nearest_cosine=0.99), CopyFacts(exact_unordered=1)):
        outcomes = {REGISTRY[name].run(facts.honest(copies=copies))[0].outcome for name in ("near_copy", "learned_copy", "exact_copy")}
        assert outcomes == {Outcome.PASS, Outcome.INCONCLUSIVE}
    assert REGISTRY["exact_copy"].run(facts.honest(copies=CopyFacts(exact_earlier=1)))[0].outcome == Outcome.FAIL
