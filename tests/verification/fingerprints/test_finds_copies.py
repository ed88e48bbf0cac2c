"""Earlier pictures of other claims: the very same, and those that look alike."""

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter

from tasks.models import Submission
from tests.verification import photographs, scenes
from verification import fingerprints, pictures
from verification.models import Fingerprint

pytestmark = pytest.mark.django_db


def keep(submission: Submission) -> tuple[Fingerprint, pictures.Picture]:
    file = submission.evidence.get()
    picture = pictures.measure(file.display_sha256)
    return fingerprints.keep(evidence=file, picture=picture), picture


def exact(submission: Submission) -> list[fingerprints.Copy]:
    return fingerprints.exact_copies(keep(submission)[0])


def near(submission: Submission) -> list[fingerprints.Copy]:
    return fingerprints.near_copies(*keep(submission))


def with_other_metadata(raw: bytes) -> bytes:
    """The same pixels in another file."""
    comment = b"mine"
    return raw[:2] + b"\xff\xfe\x00\x06" + comment + raw[2:]


def resaved_without_loss(raw: bytes) -> bytes:
    buffer = io.BytesIO()
    Image.open(io.BytesIO(raw)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("change", [bytes, with_other_metadata, resaved_without_loss], ids=["same file", "other metadata", "as png"])
def test_finds_the_same_picture_in_another_file(change: Callable[[bytes], bytes]) -> None:
    raw = photographs.snap("rocket")
    first = scenes.hand_in(raw)
    assert exact(first) == []
    second = scenes.hand_in(change(raw))
    assert [(copy.submission_id, copy.was_received_earlier) for copy in exact(second)] == [(first.pk, True)]
    assert exact(first) == []


def test_allows_a_worker_to_send_his_photo_again_under_his_claim() -> None:
    claim = scenes.open_claim(task=scenes.open_task(mode="live"))
    raw = photographs.snap("cat")
    first = scenes.hand_in(raw, claim=claim)
    retake = scenes.hand_in(raw, claim=claim)
    assert (exact(first), exact(retake), near(retake)) == ([], [], [])


@pytest.mark.parametrize(("mode", "count"), [("live", 1), ("test", 0)])
def test_counts_a_workers_own_earlier_photos_in_live_mode(mode: str, count: int) -> None:
    worker, raw = scenes.open_worker(mode), photographs.snap("temple")
    exact(scenes.hand_in(raw, claim=scenes.open_claim(task=scenes.open_task(mode=mode), worker=worker)))
    again = scenes.hand_in(raw, claim=scenes.open_claim(task=scenes.open_task(mode=mode), worker=worker))
    assert (len(exact(again)), len(near(again))) == (count, count)


def test_keeps_test_and_live_apart() -> None:
    raw = photographs.snap("flower")
    exact(scenes.hand_in(raw, claim=scenes.open_claim(task=scenes.open_task(mode="test"))))
    live = scenes.hand_in(raw, claim=scenes.open_claim(task=scenes.open_task(mode="live")))
    assert (exact(live), near(live)) == ([], [])


def test_is_not_sure_where_the_other_one_was_received_later() -> None:
    raw = photographs.snap("coins")
    earlier, later = scenes.hand_in(raw), scenes.hand_in(raw)
    exact(later)
    assert [copy.was_received_earlier for copy in exact(earlier)] == [False]


def test_is_kept_once() -> None:
    submission = scenes.hand_in()
    assert keep(submission)[0].pk == keep(submission)[0].pk
    assert Fingerprint.objects.filter(evidence__submission=submission).count() == 1


_EDITS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "scaled": lambda image: image.resize((640, 427)),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.25),
    "more contrast": lambda image: ImageEnhance.Contrast(image).enhance(1.3),
    "grey": lambda image: image.convert("L"),
    "softened": lambda image: image.filter(ImageFilter.GaussianBlur(1.5)),
    "mirrored": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "turned by 90": lambda image: image.transpose(Image.Transpose.ROTATE_90),
    "turned by 180": lambda image: image.transpose(Image.Transpose.ROTATE_180),
    "a little cropped": lambda image: image.crop((8, 6, image.width - 8, image.height - 6)),
}


@pytest.mark.parametrize("edit", _EDITS)
def test_finds_edited_copies_of_most_photos(edit: str) -> None:
    names = ("astronaut", "cat", "coffee", "flower", "motorcycle", "temple")
    originals = {name: scenes.hand_in(photographs.snap(name)) for name in names}
    for submission in originals.values():
        assert near(submission) == []
    found = 0
    for name, original in originals.items():
        edited = photographs.jpeg(_EDITS[edit](Image.open(io.BytesIO(photographs.snap(name)))), quality=60)
        copies = [copy.submission_id for copy in near(scenes.hand_in(edited))]
        assert set(copies) <= {original.pk}
        found += len(copies)
    assert found >= 5, edit


def test_does_not_compare_pictures_without_structure() -> None:
    plain = Image.new("RGB", (640, 480), "white")
    keep(scenes.hand_in(photographs.jpeg(plain)))
    plain.paste("red", (0, 0, 40, 40))
    assert near(scenes.hand_in(photographs.jpeg(plain))) == []


def test_finds_alike_descriptors_of_one_model_alone() -> None:
    values = scenes.vector(5)
    other = scenes.vector(6)

    def describe(values: np.ndarray, model_hash: str) -> list[fingerprints.Copy]:
        file = scenes.hand_in().evidence.get()
        row = fingerprints.keep_descriptor(evidence=file, model_hash=model_hash, vector=values.astype("<f2").tobytes())
        return fingerprints.alike(row, min_cosine=0.9)

    assert describe(values, "aa") == []
    assert describe(other, "aa") == []
    assert describe(values, "bb") == []
    # Another length under the same name: a worker may send what it likes.
    assert describe(np.full(16, 0.25), "aa") == []
    found = describe(values, "aa")
    assert len(found) == 1
    assert found[0].measure == pytest.approx(1, abs=0.01)
