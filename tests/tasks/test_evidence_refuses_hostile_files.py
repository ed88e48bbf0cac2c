"""Bombs, broken files and files that are not photos."""

import io

import pytest
from PIL import Image

from tasks import evidence
from tests.tasks import hostile
from tests.verification import photographs

PHOTO = photographs.snap("coffee")


def _saved(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        pytest.param(b"", "empty_file", id="nothing"),
        pytest.param(b"\xff\xd8\xff" + bytes(21_000_000), "too_many_bytes", id="21 MB"),
        pytest.param(hostile.png(12_000, 12_000), "too_many_pixels", id="12000 x 12000 in 18 kB"),
        pytest.param(hostile.png(30_000, 30_000), "too_many_pixels", id="30000 x 30000 in 109 kB"),
        pytest.param(hostile.webp_header(16_000, 16_000), "too_many_pixels", id="webp canvas"),
        pytest.param(hostile.webp_header(640, 480), "damaged", id="webp without a picture"),
        pytest.param(PHOTO[: len(PHOTO) // 2], "damaged", id="cut off"),
        pytest.param(PHOTO[:20], "damaged", id="header alone"),
        pytest.param(hostile.png(600, 600)[:-40], "damaged", id="png cut off"),
        pytest.param(hostile.EPS, "not_a_photo", id="eps"),
        pytest.param(hostile.SVG, "not_a_photo", id="svg"),
        pytest.param(hostile.gif_of_many_frames(10_000), "not_a_photo", id="gif of 10,000 frames"),
        pytest.param(hostile.animated_png(50), "animated", id="animated png"),
        pytest.param(_saved(Image.new("RGB", (8, 8)), "PNG"), "too_small", id="8 pixels"),
        pytest.param(_saved(photographs.photo("coffee"), "TIFF"), "not_a_photo", id="tiff"),
        pytest.param(b"\0\0\0\x18ftypheic" + bytes(4000), "damaged", id="heic without a picture"),
        pytest.param(b"PK\x03\x04" + PHOTO, "not_a_photo", id="archive first"),
    ],
)
def test_says_what_is_wrong(raw: bytes, reason: str) -> None:
    with pytest.raises(evidence.Unreadable) as refused:
        evidence.take_in(raw)
    assert refused.value.reason_code == reason
    assert str(refused.value) == evidence.MESSAGES[reason]


def test_stores_nothing_of_a_refused_file(settings: object, tmp_path: object) -> None:
    settings.MEDIA_ROOT = tmp_path  # type: ignore[attr-defined]
    with pytest.raises(evidence.Unreadable):
        evidence.take_in(PHOTO[:3000])
    assert list(tmp_path.iterdir()) == []  # type: ignore[attr-defined]


@pytest.mark.parametrize("spoil", [hostile.with_zip_behind, hostile.with_script_comment], ids=["zip behind", "script inside"])
def test_serves_pixels_only_of_a_file_of_two_kinds(spoil: object) -> None:
    taken = evidence.take_in(spoil(PHOTO))  # type: ignore[operator]
    for opened in (evidence.open_display, evidence.open_preview):
        with opened(taken.display_sha256) as stream:
            served = stream.read()
        assert b"PK\x03\x04" not in served
        assert b"<script>" not in served


def test_takes_every_cut_of_a_photo_without_a_crash() -> None:
    """Each cut ends in an answer for the worker: the photo is taken or he learns why not."""
    for name in ("coffee", "temple"):
        raw = photographs.jpeg(photographs.photo(name), long_side_px=320)
        for length in range(4, len(raw), len(raw) // 5):
            with pytest.raises(evidence.Unreadable):
                evidence.take_in(raw[:length])
