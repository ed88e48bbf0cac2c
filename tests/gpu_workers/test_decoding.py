"""Decoding strangers' bytes for the vision worker."""

import io
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image

from gpu_workers import decoder_child, decoding
from gpu_workers.decoding import Decoder


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    one = decoding.Decoder()
    yield one
    one.close()


def jpeg(picture: Image.Image, **options: object) -> bytes:
    target = io.BytesIO()
    picture.save(target, "JPEG", quality=92, **options)
    return target.getvalue()


def coffee() -> Image.Image:
    return Image.fromarray(skimage.data.coffee())  # type: ignore[no-untyped-call]


def png_claiming(width: int, height: int) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


def test_gives_upright_pixels_at_most_640_long(decoder: Decoder) -> None:
    picture = decoder.decode(jpeg(coffee()))
    assert picture.shape == (400, 600, 3)
    assert picture.dtype == np.uint8
    large = decoder.decode(jpeg(coffee().resize((2400, 1600))))
    assert large.shape == (427, 640, 3)


def test_undoes_the_camera_s_turn(decoder: Decoder) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = decoder.decode(jpeg(coffee().transpose(Image.Transpose.ROTATE_90), exif=exif))
    upright = decoder.decode(jpeg(coffee()))
    assert turned.shape == upright.shape
    assert np.abs(turned.astype(int) - upright.astype(int)).mean() < 3


def test_lays_transparent_pictures_on_white(decoder: Decoder) -> None:
    target = io.BytesIO()
    Image.new("RGBA", (64, 48), (255, 0, 0, 0)).save(target, "PNG")
    assert (decoder.decode(target.getvalue()) == 255).all()


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "not_a_photo"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not_a_photo"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "not_a_photo"),
        (b"\xff\xd8\xff\xe0 not a jpeg", "damaged"),
        (b"RIFF\xff\xff\xff\xffWEBPVP8 ", "damaged"),
        (b"\0\0\0\x18ftypheic" + b"\0" * 40, "damaged"),
        (png_claiming(30000, 30000), "too_many_pixels"),
        (png_claiming(6000, 6000), "damaged"),
        (png_claiming(8, 8), "too_small"),
    ],
)
def test_refuses_hostile_bytes(decoder: Decoder, raw: bytes, reason: str) -> None:
    with pytest.raises(decoding.Undecodable) as refused:
        decoder.decode(raw)
    assert refused.value.reason == reason


def test_refuses_half_a_file_and_reads_the_next_one(decoder: Decoder) -> None:
    whole = jpeg(coffee())
    with pytest.raises(decoding.Undecodable, match="damaged"):
        decoder.decode(whole[: len(whole) // 2])
    assert decoder.decode(whole).shape == (400, 600, 3)


def test_refuses_files_over_32_mib_without_reading_them(decoder: Decoder) -> None:
    with pytest.raises(decoding.Undecodable, match="too_large"):
        decoder.decode(b"\xff\xd8\xff" + bytes(decoder_child.LARGEST_FILE_BYTES))


def test_starts_a_new_child_after_one_was_killed(decoder: Decoder) -> None:
    decoder.decode(jpeg(coffee()))
    child = decoder._child
    assert child is not None
    child.kill()
    child.wait()
    assert decoder.decode(jpeg(coffee())).shape == (400, 600, 3)


def test_ends_a_child_that_takes_too_long(decoder: Decoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "WALL_CLOCK_S", 0.0)
    with pytest.raises(decoding.Undecodable, match="decoder_ended"):
        decoder.decode(jpeg(coffee()))
    monkeypatch.undo()
    assert decoder.decode(jpeg(coffee())).shape == (400, 600, 3)


def test_child_sees_no_environment(decoder: Decoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATOMS_LEASE_KEY", "secret")
    decoder.close()
    decoder.decode(jpeg(coffee()))
    assert decoder._child is not None
    assert b"secret" not in Path(f"/proc/{decoder._child.pid}/environ").read_bytes()


def test_pool_keeps_order_and_marks_what_it_could_not_read() -> None:
    with decoding.DecoderPool(2) as pool:
        first, second, third = pool.decode_all([jpeg(coffee()), b"nothing", jpeg(coffee().resize((90, 60)))])
    assert isinstance(first, np.ndarray)
    assert isinstance(third, np.ndarray)
    assert first.shape == (400, 600, 3)
    assert isinstance(second, decoding.Undecodable)
    assert third.shape == (60, 90, 3)
