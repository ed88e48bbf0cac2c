"""Two workers send the same picture at the same moment: one of them is the first."""

import functools

import pytest

from tasks.models import Submission
from tests import racing
from tests.verification import photographs, scenes
from verification import fingerprints, pictures
from verification.models import Case, CheckRun

pytestmark = pytest.mark.django_db(transaction=True)


def test_lets_one_of_many_equal_pictures_pass() -> None:
    raw = photographs.snap("rocket")
    submissions = [scenes.hand_in(raw) for _ in range(6)]
    results = racing.together([functools.partial(scenes.advance, one) for one in submissions])
    assert not [result for result in results if isinstance(result, Exception)]
    stages = [Case.objects.get(pk=one.pk).stage for one in submissions]
    outcomes = list(CheckRun.objects.filter(check_name="exact_copy").values_list("outcome", flat=True))
    assert outcomes.count("PASS") == 1
    # The others are rejected, or wait for a person where theirs was received first.
    assert outcomes.count("FAIL") == stages.count("DECIDED")
    assert outcomes.count("FAIL") + outcomes.count("INCONCLUSIVE") == 5


def test_lets_one_of_many_alike_pictures_pass() -> None:
    submissions = [scenes.hand_in(photographs.snap("cat", variant=number)) for number in range(4)]
    racing.together([functools.partial(scenes.advance, one) for one in submissions])
    outcomes = sorted(CheckRun.objects.filter(check_name="near_copy").values_list("outcome", flat=True))
    assert outcomes == ["INCONCLUSIVE"] * 3 + ["PASS"]


def test_lets_one_of_many_alike_descriptors_pass() -> None:
    vector = scenes.vector(9).astype("<f2").tobytes()
    files = [scenes.hand_in(photographs.snap("cat", variant=number)).evidence.get() for number in range(5)]

    def describe(number: int) -> int:
        row = fingerprints.keep_descriptor(evidence=files[number], model_hash="aa", vector=vector)
        return len(fingerprints.alike(row, min_cosine=0.9))

    found = racing.together([functools.partial(describe, number) for number in range(5)])
    assert sorted(found) == [0, 1, 2, 3, 4]  # type: ignore[type-var]


def test_keeps_one_fingerprint_of_a_file_measured_twice_at_once() -> None:
    submission: Submission = scenes.hand_in()
    file = submission.evidence.get()
    picture = pictures.measure(file.display_sha256)
    rows = racing.together([lambda: fingerprints.keep(evidence=file, picture=picture)] * 4)
    assert len({row.pk for row in rows if not isinstance(row, Exception)}) == 1
    assert not [row for row in rows if isinstance(row, Exception)]
