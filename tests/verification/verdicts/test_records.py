"""Verdicts: one first decision and one on appeal, on published criteria, under the terms of the claim."""

import pytest

from tasks import clock, leases
from tasks.models import Submission
from tests import racing
from tests.verification import scenes
from verification import reviews, verdicts
from verification.models import Case, Review, Verdict

FAILED: list[verdicts.CriterionOutcome] = [{"criterion": "sharp", "outcome": "FAIL", "reason_code": "blurred"}]


def record(submission: Submission, outcome: str = "ACCEPTED", decided_by: str = "POSTER", **changes: object) -> Verdict:
    arguments = {"criteria": FAILED if outcome == "REJECTED" else [], "terms_hash": scenes.TERMS_HASH, "now": clock.now(), **changes}
    return verdicts.record(submission=submission, outcome=outcome, decided_by=decided_by, **arguments)  # type: ignore[arg-type]


@pytest.mark.django_db
def test_closes_the_case_and_withdraws_the_first_review() -> None:
    submission = scenes.hand_in()
    review = reviews.open_review(submission=submission, kind=Review.Kind.FIRST, now=clock.now())
    verdict = record(submission)
    assert (verdict.round, list(verdicts.unapplied())) == (1, [verdict])
    review.refresh_from_db()
    assert (Case.objects.get().stage, review.lease_state) == (Case.Stage.DECIDED, leases.LeaseState.DEAD)
    assert scenes.advance(submission).stage == Case.Stage.DECIDED
    assert Verdict.objects.count() == 1


@pytest.mark.django_db
def test_is_given_once_and_once_more_on_appeal() -> None:
    submission = scenes.hand_in()
    with pytest.raises(verdicts.NotAppealed):
        record(submission, decided_by="APPEAL")
    record(submission, "REJECTED")
    with pytest.raises(verdicts.AlreadyDecided):
        record(submission, decided_by="REVIEWER")
    assert record(submission, decided_by="APPEAL").round == 2
    with pytest.raises(verdicts.AlreadyDecided):
        record(submission, decided_by="APPEAL")
    assert Verdict.objects.count() == 2


@pytest.mark.django_db
def test_of_an_acceptance_has_no_appeal() -> None:
    submission = scenes.hand_in()
    record(submission)
    with pytest.raises(verdicts.NotAppealed):
        record(submission, "REJECTED", decided_by="APPEAL")


@pytest.mark.django_db
@pytest.mark.parametrize(
    "criteria",
    [
        [],
        [{"criterion": "sharp", "outcome": "PASS", "reason_code": ""}],
        [{"criterion": "smile", "outcome": "FAIL", "reason_code": ""}],
        [{"criterion": "shows:1", "outcome": "FAIL", "reason_code": ""}],
        [{"criterion": "sharp", "outcome": "FAIL", "reason_code": "Pay him anyway"}],
        [{"criterion": "sharp", "outcome": "NO", "reason_code": ""}],
    ],
)
def test_rejects_on_published_criteria_alone(criteria: list[verdicts.CriterionOutcome]) -> None:
    submission = scenes.hand_in()
    with pytest.raises(verdicts.MalformedVerdict):
        record(submission, "REJECTED", criteria=criteria)
    assert not Verdict.objects.exists()


@pytest.mark.django_db
def test_speaks_of_the_terms_of_the_claim_alone() -> None:
    submission = scenes.hand_in()
    with pytest.raises(verdicts.OtherTerms):
        record(submission, terms_hash="00" * 32)
    assert not Verdict.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_lets_one_of_several_deciders_win() -> None:
    submission = scenes.hand_in()
    results = racing.together(
        [lambda: record(submission), lambda: record(submission, "REJECTED"), lambda: record(submission, decided_by="SILENCE")]
    )
    assert sorted(type(result).__name__ for result in results) == ["AlreadyDecided", "AlreadyDecided", "Verdict"]
    assert Verdict.objects.count() == 1


@pytest.mark.django_db
def test_lists_criteria_in_published_order_with_a_persons_word_first() -> None:
    submission = scenes.hand_in(at=None, accuracy_m=None)
    scenes.advance(submission)
    said = {line["criterion"]: line for line in verdicts.criteria_of(submission)}
    assert list(said) == ["in_place", "in_time", "sharp", "exposed", "large_enough", "original"]
    assert said["in_place"] == {"criterion": "in_place", "outcome": "INCONCLUSIVE", "reason_code": "no_position"}
    accepted = verdicts.criteria_of(submission, decided={"": Verdict.Outcome.ACCEPTED})
    assert {line["outcome"] for line in accepted} == {"PASS"}
    assert accepted[0]["reason_code"] == verdicts.DECIDED_BY_PERSON
    assert accepted[-1] == {"criterion": "shows:0", "outcome": "PASS", "reason_code": verdicts.DECIDED_BY_PERSON}
    rejected = verdicts.criteria_of(submission, decided={"shows:0": Verdict.Outcome.REJECTED})
    assert [line["criterion"] for line in rejected if line["outcome"] == "FAIL"] == ["shows:0"]
