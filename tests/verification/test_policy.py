"""What the results come to together."""

import pytest

from tasks.kinds import photo
from tests.verification.checks import facts
from verification import policy
from verification.checks import REGISTRY, Weight
from verification.checks.result import CheckResult, Outcome

ACCEPT, REJECT, PERSON = policy.Conclusion.ACCEPT, policy.Conclusion.REJECT, policy.Conclusion.PERSON


def ran(**outcomes: Outcome) -> list[policy.Ran]:
    whole = dict.fromkeys(REGISTRY, Outcome.PASS) | outcomes
    return [policy.Ran(REGISTRY[name], CheckResult(name, outcome)) for name, outcome in whole.items()]


@pytest.mark.parametrize(
    ("outcomes", "first", "retake", "negative"),
    [
        ({}, ACCEPT, ACCEPT, PERSON),
        ({"exif": Outcome.NOT_APPLICABLE}, ACCEPT, ACCEPT, PERSON),
        ({"geofence": Outcome.FAIL}, REJECT, REJECT, REJECT),
        ({"time_window": Outcome.FAIL}, REJECT, REJECT, REJECT),
        ({"exact_copy": Outcome.FAIL}, REJECT, REJECT, REJECT),
        ({"sharpness": Outcome.FAIL}, REJECT, PERSON, REJECT),
        ({"size": Outcome.FAIL, "shows": Outcome.FAIL}, REJECT, PERSON, REJECT),
        ({"shows": Outcome.FAIL}, REJECT, PERSON, PERSON),
        ({"shows": Outcome.INCONCLUSIVE}, PERSON, PERSON, PERSON),
        ({"near_copy": Outcome.INCONCLUSIVE}, PERSON, PERSON, PERSON),
        ({"geofence": Outcome.INCONCLUSIVE}, PERSON, PERSON, PERSON),
        ({"exposure": Outcome.ERROR}, PERSON, PERSON, PERSON),
        # What is certain goes before what is open.
        ({"shows": Outcome.INCONCLUSIVE, "geofence": Outcome.FAIL}, REJECT, REJECT, REJECT),
    ],
)
def test_rejects_for_good_by_hard_checks_alone(
    outcomes: dict[str, Outcome], first: policy.Conclusion, retake: policy.Conclusion, negative: policy.Conclusion
) -> None:
    results = ran(**outcomes)
    assert policy.conclude(results, is_retake=False, is_negative=False) is first
    assert policy.conclude(results, is_retake=True, is_negative=False) is retake
    assert policy.conclude(results, is_retake=False, is_negative=True) is negative


def test_leaves_a_case_without_results_to_a_person() -> None:
    assert policy.conclude([], is_retake=False, is_negative=False) is PERSON


def test_never_rejects_for_good_by_a_model() -> None:
    assert {check.name for check in REGISTRY.values() if check.weight is Weight.HARD} == {"time_window", "geofence", "exact_copy"}


def test_says_the_worst_of_each_criterion() -> None:
    said = policy.by_criterion(
        [
            CheckResult("original", Outcome.NOT_APPLICABLE),
            CheckResult("original", Outcome.INCONCLUSIVE, "looks_like_earlier_photo"),
            CheckResult("original", Outcome.PASS),
        ]
    )
    assert said["original"].reason_code == "looks_like_earlier_photo"


def test_speaks_of_published_criteria_only() -> None:
    published = {criterion.code for criterion in photo.criteria(facts.TERMS)}
    spoken = {result.criterion for check in REGISTRY.values() for result in check.run(facts.honest())}
    assert spoken == published


def test_runs_every_registered_check_of_a_photo_once() -> None:
    names = [*policy.FIRST_CHECKS["photo"], *policy.READING_CHECKS["photo"]]
    assert sorted(names) == sorted(REGISTRY)
