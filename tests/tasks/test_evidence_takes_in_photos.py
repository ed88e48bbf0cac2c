"""Photos of the kinds phones make: what is stored, what is known, what is shown."""

import hashlib
import io

import pillow_heif
import pytest
from PIL import Image, ImageChops, ImageStat
from PIL.PngImagePlugin import PngInfo

from tasks import evidence
from tests.verification import photographs

HOME = "52.5"
SECRETS = (b"Exif", b"GPS", b"NikonSecret", b"AdobeSecret", b"xmpmeta", b"home-address", b"ICC_PROFILE", b"Photoshop", HOME.encode())


def exif_with_everything(orientation: int = 1) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F], exif[0x0110], exif[0x0131] = "NikonSecret", "P6000", "AdobeSecret\x07 5"
    exif.get_ifd(0x8769)[0x9003] = "2026:11:01 12:30:00"
    exif.get_ifd(0x8769)[0x9011] = "+01:00"
    exif.get_ifd(0x8825).update({1: "S", 2: (33.0, 51.0, 54.6), 3: "E", 4: (151.0, 12.0, 36.0)})
    return exif


def display_of(taken: evidence.TakenIn) -> Image.Image:
    with evidence.open_display(taken.display_sha256) as stream:
        return Image.open(io.BytesIO(stream.read())).convert("RGB")


def preview_of(taken: evidence.TakenIn) -> bytes:
    with evidence.open_preview(taken.display_sha256) as stream:
        return stream.read()


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def difference(one: Image.Image, other: Image.Image) -> float:
    """Mean difference of brightness, 0..255."""
    return float(ImageStat.Stat(ImageChops.difference(one, other.resize(one.size)).convert("L")).mean[0])


def heic(image: Image.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    pillow_heif.from_pillow(image).save(buffer, **options)
    return buffer.getvalue()


def test_keeps_the_original_by_its_digest() -> None:
    raw = photographs.snap("coffee")
    taken = evidence.take_in(raw)
    assert taken.sha256 == hashlib.sha256(raw).hexdigest()
    assert (taken.byte_count, taken.media_type, taken.width_px, taken.height_px) == (len(raw), "image/jpeg", 1280, 853)
    with evidence.open_original(taken.sha256) as stream:
        assert stream.read() == raw
    with evidence.open_display(taken.display_sha256) as stream:
        assert hashlib.sha256(stream.read()).hexdigest() == taken.display_sha256


def test_gives_the_same_answer_again() -> None:
    raw = photographs.snap("cat")
    assert evidence.take_in(raw) == evidence.take_in(raw)


@pytest.mark.parametrize(
    ("raw", "media_type"),
    [
        pytest.param(saved(photographs.photo("rocket"), "PNG"), "image/png", id="png"),
        pytest.param(saved(photographs.photo("rocket"), "WEBP", quality=80), "image/webp", id="webp"),
        pytest.param(saved(photographs.photo("rocket"), "WEBP", lossless=True), "image/webp", id="lossless webp"),
        pytest.param(heic(photographs.photo("rocket"), quality=80), "image/heif", id="heic"),
        pytest.param(saved(photographs.photo("rocket"), "JPEG", progressive=True), "image/jpeg", id="progressive"),
        pytest.param(saved(photographs.photo("rocket").convert("CMYK"), "JPEG"), "image/jpeg", id="cmyk"),
        pytest.param(saved(photographs.photo("rocket").quantize(64), "PNG"), "image/png", id="palette"),
        pytest.param(saved(photographs.photo("rocket").convert("RGBA"), "PNG"), "image/png", id="alpha"),
        pytest.param(
            saved(photographs.photo("rocket"), "MPO", save_all=True, append_images=[Image.new("RGB", (64, 64))]), "image/jpeg", id="mpo"
        ),
    ],
)
def test_takes_what_phones_and_programs_write(raw: bytes, media_type: str) -> None:
    taken = evidence.take_in(raw)
    assert taken.media_type == media_type
    assert (taken.width_px, taken.height_px) == photographs.photo("rocket").size
    assert difference(display_of(taken), photographs.photo("rocket")) < 8


def test_takes_16_bit_grey_and_clear_parts_as_white() -> None:
    grey = Image.new("I;16", (64, 64), 0x8000)
    assert display_of(evidence.take_in(saved(grey, "PNG"))).getpixel((32, 32)) == (128, 128, 128)
    clear = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    assert display_of(evidence.take_in(saved(clear, "PNG"))).getpixel((32, 32)) == (255, 255, 255)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_shows_every_orientation_upright(orientation: int) -> None:
    upright = photographs.photo("rocket")
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}
    stored = upright.transpose(Image.Transpose(undo[orientation])) if orientation > 1 else upright
    taken = evidence.take_in(photographs.jpeg(stored, exif=exif_with_everything(orientation)))
    assert (taken.width_px, taken.height_px) == upright.size
    assert difference(display_of(taken), upright) < 8


def test_reads_exif_as_short_plain_facts() -> None:
    taken = evidence.take_in(photographs.jpeg(photographs.photo("rocket"), exif=exif_with_everything()))
    assert taken.exif == {
        "captured_at": "2026:11:01 12:30:00",
        "offset": "+01:00",
        "make": "NikonSecret",
        "model": "P6000",
        "software": "AdobeSecret 5",
        "latitude": -33.865167,
        "longitude": 151.21,
    }


def test_bounds_what_exif_says() -> None:
    exif = exif_with_everything()
    exif[0x010F] = "x" * 60_000
    exif.get_ifd(0x8825).update({2: (91.0, 0.0, 0.0)})
    taken = evidence.take_in(photographs.jpeg(photographs.photo("rocket"), exif=exif))
    assert taken.exif["make"] == "x" * 64
    assert "latitude" not in taken.exif


@pytest.mark.parametrize(
    "block", [b"Exif\0\0" + bytes(60), b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\xff" * 40]
)
def test_takes_a_good_photo_with_broken_exif(block: bytes) -> None:
    taken = evidence.take_in(photographs.jpeg(photographs.photo("rocket"), exif=block))
    assert (taken.width_px, taken.height_px) == photographs.photo("rocket").size


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "HEIF"])
def test_shows_no_byte_of_metadata(kind: str) -> None:
    photo, exif, xmp = photographs.photo("rocket").copy(), exif_with_everything(), b"<x:xmpmeta>home-address 52.5</x:xmpmeta>"
    if kind == "PNG":
        words = PngInfo()
        words.add_text("Comment", "home-address")
        raw = saved(photo, "PNG", exif=exif, pnginfo=words, icc_profile=b"ICC_PROFILE" * 40)
    elif kind == "HEIF":
        raw = heic(photo, exif=exif.tobytes(), xmp=xmp)
    else:
        raw = saved(
            photo, kind, exif=exif, xmp=xmp, icc_profile=b"ICC_PROFILE" * 40, **({"comment": "home-address"} if kind == "JPEG" else {})
        )
    taken = evidence.take_in(raw)
    assert taken.exif["make"] == "NikonSecret"
    with evidence.open_display(taken.display_sha256) as stream:
        display = stream.read()
    for served in (display, preview_of(taken)):
        assert not [secret for secret in SECRETS if secret in served]
        assert set(Image.open(io.BytesIO(served)).info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}


def test_shrinks_what_is_shown() -> None:
    taken = evidence.take_in(photographs.jpeg(photographs.photo("retina"), long_side_px=3000))
    assert max(display_of(taken).size) == 1600
    preview = Image.open(io.BytesIO(preview_of(taken)))
    assert max(preview.size) == 480


def test_marks_the_preview_all_over() -> None:
    """No quarter of the preview is free of the watermark, on a dark, a bright and a busy photo."""
    for name in ("rocket", "coins", "grass"):
        taken = evidence.take_in(photographs.snap(name))
        preview = Image.open(io.BytesIO(preview_of(taken))).convert("RGB")
        plain = display_of(taken).resize(preview.size, Image.Resampling.LANCZOS)
        width, height = preview.size
        for left in (0, width // 2):
            for top in (0, height // 2):
                quarter = (left, top, left + width // 2, top + height // 2)
                marked = (
                    ImageChops.difference(preview.crop(quarter), plain.crop(quarter)).convert("L").point(lambda level: 255 * (level > 24))
                )
                assert ImageStat.Stat(marked).mean[0] / 255 > 0.03, name
