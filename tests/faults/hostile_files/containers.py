"""Building blocks of picture files, without anybody's library: JPEG segments, PNG chunks, RIFF chunks, ISO boxes, TIFF directories."""

import functools
import io
import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import Literal

from PIL import Image

ByteOrder = Literal["<", ">"]
# A value of a directory: its TIFF type and its bytes, or another directory that it points to.
Value = tuple[int, int, bytes]

JPEG_START, JPEG_END = b"\xff\xd8", b"\xff\xd9"
PNG_START = b"\x89PNG\r\n\x1a\n"
EXIF_HEAD, XMP_HEAD = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"


@functools.cache
def picture(kind: str, width_px: int = 160, height_px: int = 120, **options: object) -> bytes:
    """Return a small plain picture file of Pillow's ``kind``, or HEIF, without metadata."""
    image = Image.radial_gradient("L").resize((width_px, height_px))
    photo = Image.merge("RGB", (image, image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), image.point(lambda level: 255 - level)))
    if kind == "HEIF":
        return heif(photo)
    buffer = io.BytesIO()
    photo.save(buffer, kind, **options)
    return buffer.getvalue()


def heif(photo: Image.Image, *, exif: bytes = b"", xmp: bytes = b"", icc: bytes = b"") -> bytes:
    """Return a HEIC file with metadata items."""
    import pillow_heif

    buffer = io.BytesIO()
    coded = pillow_heif.from_pillow(photo)
    if icc:
        coded.info["icc_profile"] = icc
    coded.save(buffer, quality=60, exif=exif or None, xmp=xmp or None)
    return buffer.getvalue()


def segment(marker: int, body: bytes) -> bytes:
    """Return one segment of a JPEG."""
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def with_segments(photo: bytes, *segments: bytes) -> bytes:
    """Put segments behind the start of a JPEG."""
    assert photo.startswith(JPEG_START)
    return photo[:2] + b"".join(segments) + photo[2:]


def chunk(kind: bytes, body: bytes) -> bytes:
    """Return one chunk of a PNG."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def with_chunks(photo: bytes, *chunks: bytes) -> bytes:
    """Put chunks between the header and the pixels of a PNG."""
    assert photo.startswith(PNG_START)
    return photo[:33] + b"".join(chunks) + photo[33:]


def riff(kind: bytes, body: bytes) -> bytes:
    """Return one chunk of a RIFF file, padded to an even length."""
    return kind + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)


def with_riff_chunks(photo: bytes, *chunks: bytes, flags: int, width_px: int = 160, height_px: int = 120) -> bytes:
    """Return an extended WebP: the pixels of a plain one and further chunks behind them."""
    assert photo[12:15] == b"VP8"
    canvas = bytes([flags, 0, 0, 0]) + (width_px - 1).to_bytes(3, "little") + (height_px - 1).to_bytes(3, "little")
    return webp(riff(b"VP8X", canvas) + photo[12:] + b"".join(chunks))


def webp(body: bytes) -> bytes:
    """Return a RIFF file of WebP chunks."""
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def box(kind: bytes, body: bytes) -> bytes:
    """Return one box of an ISO file (HEIF, MP4)."""
    return struct.pack(">I", len(body) + 8) + kind + body


def ascii_value(text: str) -> Value:
    """Return a text as TIFF keeps it."""
    raw = text.encode() + b"\0"
    return 2, len(raw), raw


def undefined(raw: bytes) -> Value:
    """Return bytes as TIFF keeps them."""
    return 7, len(raw), raw


def rationals(order: ByteOrder, pairs: Sequence[tuple[int, int]]) -> Value:
    """Return fractions as TIFF keeps them."""
    return 5, len(pairs), b"".join(struct.pack(f"{order}II", *pair) for pair in pairs)


def long(order: ByteOrder, number: int) -> Value:
    """Return a whole number as TIFF keeps it."""
    return 4, 1, struct.pack(f"{order}I", number)


def tiff(
    order: ByteOrder, top: Mapping[int, Value], *, below: Mapping[int, Mapping[int, Value]] | None = None, thumbnail: bytes = b""
) -> bytes:
    """Return a TIFF file: a directory, those that it points to by tag, and a JPEG thumbnail in the second directory."""
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8)
    below = dict(below or {})
    rows = dict(top) | {tag: long(order, 0) for tag in below}
    place = 8 + _size(rows)
    for tag, directory in below.items():
        rows[tag] = long(order, place)
        place += _size(directory)
    parts = [_directory(order, rows, 8, following=place if thumbnail else 0)]
    for tag, directory in below.items():
        parts.append(_directory(order, directory, struct.unpack(f"{order}I", rows[tag][2])[0]))
    if thumbnail:
        second = {0x0103: (3, 1, struct.pack(f"{order}H", 6)), 0x0201: long(order, 0), 0x0202: long(order, len(thumbnail))}
        second[0x0201] = long(order, place + _size(second))
        parts.append(_directory(order, second, place) + thumbnail)
    return head + b"".join(parts)


def _size(rows: Mapping[int, Value]) -> int:
    return 6 + 12 * len(rows) + sum(len(raw) + len(raw) % 2 for _, _, raw in rows.values() if len(raw) > 4)


def _directory(order: ByteOrder, rows: Mapping[int, Value], start: int, *, following: int = 0) -> bytes:
    entries, heap = b"", b""
    heap_start = start + 6 + 12 * len(rows)
    for tag, (kind, count, raw) in sorted(rows.items()):
        entries += struct.pack(f"{order}HHI", tag, kind, count)
        if len(raw) <= 4:
            entries += raw.ljust(4, b"\0")
        else:
            entries += struct.pack(f"{order}I", heap_start + len(heap))
            heap += raw + b"\0" * (len(raw) % 2)
    return struct.pack(f"{order}H", len(rows)) + entries + struct.pack(f"{order}I", following) + heap
