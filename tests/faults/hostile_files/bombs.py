"""Files that attack a decoder: bombs of pixels, packing and frames, broken structures, and files of two kinds."""

import functools
import io
import random
import struct
import zipfile
import zlib
from collections.abc import Callable

from PIL import Image

from tests.faults.hostile_files.containers import (
    EXIF_HEAD,
    JPEG_END,
    JPEG_START,
    PNG_START,
    XMP_HEAD,
    ascii_value,
    box,
    chunk,
    picture,
    riff,
    segment,
    tiff,
    undefined,
    webp,
    with_chunks,
    with_riff_chunks,
    with_segments,
)

_PACKED_BYTES = 128 << 20


@functools.cache
def _zeros(count: int = _PACKED_BYTES) -> bytes:
    packer = zlib.compressobj(9)
    block = bytes(1 << 20)
    return b"".join(packer.compress(block) for _ in range(count >> 20)) + packer.flush()


def png(width_px: int, height_px: int, *, bits: int = 1, colour: int = 0, pixels: bytes | None = None, interlaced: int = 0) -> bytes:
    """Return a black PNG of any size, or one that only says so."""
    if pixels is None:
        channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
        row = bytes(1 + (width_px * bits * channels + 7) // 8)
        packer = zlib.compressobj(1)
        pixels = b"".join(packer.compress(row) for _ in range(height_px)) + packer.flush()
    header = struct.pack(">IIBBBBB", width_px, height_px, bits, colour, 0, 0, interlaced)
    palette = chunk(b"PLTE", bytes(6)) if colour == 3 else b""
    return PNG_START + chunk(b"IHDR", header) + palette + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


@functools.cache
def _plain(kind: str, width_px: int, height_px: int, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width_px, height_px), (90, 120, 60)).save(buffer, kind, **options)
    return buffer.getvalue()


def _sized_jpeg(width_px: int, height_px: int, **options: object) -> bytes:
    """Return a small JPEG whose frame says another size."""
    photo = bytearray(picture("JPEG", **options))
    frame = next(place for place in range(len(photo)) if photo[place] == 0xFF and photo[place + 1] in (0xC0, 0xC2))
    photo[frame + 5 : frame + 9] = struct.pack(">HH", height_px, width_px)
    return bytes(photo)


def _frame_kind(marker: int) -> bytes:
    photo = picture("JPEG")
    return photo.replace(b"\xff\xc0", bytes([0xFF, marker]), 1)


def many_scans(width_px: int, height_px: int, scans: int) -> bytes:
    """Return a progressive JPEG whose last scan, a refinement of nothing, comes again and again: each goes over every block."""
    photo = _plain("JPEG", width_px, height_px, progressive=True, quality=30)
    starts = [place for place in range(len(photo) - 1) if photo[place : place + 2] == b"\xff\xda"]
    tables = photo.rfind(b"\xff\xc4", 0, starts[-1])
    last = photo[min(tables, starts[-1]) if tables > starts[-2] else starts[-1] : -2]
    return photo[:-2] + last * scans + JPEG_END


def _many_restarts(dice: random.Random) -> bytes:
    photo = picture("JPEG")
    scan = photo.index(b"\xff\xda")
    noise = b"".join(bytes([dice.randrange(255), 0xFF, 0xD0 + dice.randrange(8)]) for _ in range(20_000))
    return photo[:scan] + segment(0xDD, b"\0\x01") + photo[scan : scan + 14] + noise + JPEG_END


def _animated_png(claimed: int, real: int) -> bytes:
    control = chunk(b"acTL", struct.pack(">II", claimed, 0))
    start = chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, 160, 120, 0, 0, 1, 10, 0, 0))
    pixels = zlib.compress(bytes(1 + 3 * 16) * 16)
    frames = b"".join(
        chunk(b"fcTL", struct.pack(">IIIIIHHBB", 2 * number + 1, 16, 16, 0, 0, 1, 10, 0, 0))
        + chunk(b"fdAT", struct.pack(">I", 2 * number + 2) + pixels)
        for number in range(real)
    )
    photo = with_chunks(picture("PNG"), control, start)
    return photo[:-12] + frames + photo[-12:]


def _animated_webp(frames: int) -> bytes:
    pixels = _plain("WEBP", 1, 1, lossless=True)[12:]
    frame = riff(b"ANMF", bytes(12) + (10).to_bytes(3, "little") + b"\0" + pixels)
    canvas = riff(b"VP8X", b"\x02\0\0\0" + (159).to_bytes(3, "little") + (119).to_bytes(3, "little"))
    return webp(canvas + riff(b"ANIM", bytes(6)) + frame * frames)


def _gif(frames: int) -> bytes:
    start = b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    return start + (b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00") * frames + b"\x3b"


def _mpo(claimed: int, real: int) -> bytes:
    index = tiff(
        ">", {0xB000: undefined(b"0100"), 0xB001: (4, 1, struct.pack(">I", claimed)), 0xB002: undefined(bytes(16 * min(claimed, 3_000)))}
    )
    return with_segments(picture("JPEG"), segment(0xE2, b"MPF\0" + index)) + picture("JPEG", 32, 32) * real


def _webp_size(kind: bytes, width_px: int, height_px: int) -> bytes:
    if kind == b"VP8L":
        bits = (width_px - 1) | (height_px - 1) << 14
        return webp(riff(b"VP8L", b"\x2f" + struct.pack("<I", bits) + bytes(64)))
    if kind == b"VP8 ":
        return webp(riff(b"VP8 ", b"\x10\0\0\x9d\x01\x2a" + struct.pack("<HH", width_px, height_px) + bytes(64)))
    canvas = bytes(4) + (width_px - 1).to_bytes(3, "little") + (height_px - 1).to_bytes(3, "little")
    return webp(riff(b"VP8X", canvas) + picture("WEBP", lossless=True)[12:])


def _heic_with(old: bytes, new: bytes) -> bytes:
    photo = picture("HEIF")
    assert old in photo
    return photo.replace(old, new)


def _heic_size(width_px: int, height_px: int) -> bytes:
    photo = bytearray(picture("HEIF"))
    place = photo.index(b"ispe") + 8
    photo[place : place + 8] = struct.pack(">II", width_px, height_px)
    return bytes(photo)


_FTYP = box(b"ftyp", b"heic\0\0\0\0mif1heic")


def _meta(*boxes: bytes) -> bytes:
    return _FTYP + box(b"meta", bytes(4) + box(b"hdlr", bytes(8) + b"pict" + bytes(13)) + b"".join(boxes))


def _nested_boxes(depth: int) -> bytes:
    body = b""
    for _ in range(depth):
        body = box(b"meta", bytes(4) + body)
    return _FTYP + body


def _grid_of_itself() -> bytes:
    items = struct.pack(">I", 0) + struct.pack(">H", 1) + box(b"infe", b"\x02\0\0\0" + struct.pack(">HH", 1, 0) + b"grid\0")
    places = b"\x01\0\0\0\x44\0" + struct.pack(">HHHHHII", 1, 1, 1, 0, 1, 0, 8)
    reference = struct.pack(">I", 0) + box(b"dimg", struct.pack(">HH255H", 1, 255, *([1] * 255)))
    data = box(b"idat", b"\0\0\xff\xff" + struct.pack(">HH", 65_535, 65_535))
    size = box(b"ispe", struct.pack(">III", 0, 65_535, 65_535))
    properties = box(b"ipco", size) + box(b"ipma", struct.pack(">IIHBB", 0, 1, 1, 1, 1))
    primary = box(b"pitm", struct.pack(">IH", 0, 1))
    return _meta(primary, box(b"iinf", items), box(b"iloc", places), box(b"iref", reference), box(b"iprp", properties), data)


def _many_extents() -> bytes:
    extents = struct.pack(">II", 0, 0x7FFF_FFFF) * 60_000
    places = b"\0\0\0\0\x44\0" + struct.pack(">HHHH", 1, 1, 0, 60_000) + extents
    items = struct.pack(">IH", 0, 1) + box(b"infe", b"\x02\0\0\0" + struct.pack(">HH", 1, 0) + b"hvc1\0")
    return _meta(box(b"pitm", struct.pack(">IH", 0, 1)), box(b"iinf", items), box(b"iloc", places))


def _exif(block: bytes) -> bytes:
    return with_segments(picture("JPEG"), segment(0xE1, EXIF_HEAD + block))


def _rows(*rows: tuple[int, int, int, int], following: int = 0) -> bytes:
    """Return a TIFF block of one directory with rows of tag, type, count and value."""
    body = b"".join(struct.pack("<HHII", *row) for row in rows)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(rows)) + body + struct.pack("<I", following)


def _archive() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("index.html", "<script>alert(1)</script>")
        archive.writestr("META-INF/MANIFEST.MF", "Main-Class: Evil\n")
    return packed.getvalue()


_LAUGHS = (
    b'<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "ha">'
    + b"".join(b'<!ENTITY %c "%s">' % (98 + number, b"&%c;" % (97 + number) * 10) for number in range(12))
    + b'<!ENTITY file SYSTEM "file:///etc/passwd">]>'
)
_PHP = b"<?php system($_GET['c']); __halt_compiler();"
_SCRIPT = b"<html><script>alert(document.cookie)</script></html>"

KINDS: dict[str, Callable[[random.Random], bytes]] = {
    # Pixels.
    "png 900 megapixels in 1 bit": lambda _: png(30_000, 30_000),
    "png 144 megapixels in colour, cut off": lambda _: png(12_000, 12_000, bits=8, colour=2, pixels=_zeros(1 << 20)),
    "png largest size": lambda _: png(2**31 - 1, 2**31 - 1, pixels=b""),
    "png negative size": lambda _: png(2**32 - 1, 2**32 - 1, pixels=b""),
    "png size of nothing": lambda _: png(0, 0, pixels=zlib.compress(b"")),
    "png just too large": lambda _: png(7_072, 7_072, pixels=_zeros(1 << 20)),
    "png 49 megapixels": lambda _: png(7_000, 7_000, bits=8, colour=2),
    "png 49 megapixels with alpha": lambda _: png(7_000, 7_000, bits=8, colour=6),
    "png 49 megapixels, 16 bit with alpha": lambda _: png(7_000, 7_000, bits=16, colour=6),
    "png 49 megapixels, 16 bit grey with alpha": lambda _: png(7_000, 7_000, bits=16, colour=4),
    "png 49 megapixels, 16 bit grey": lambda _: png(7_000, 7_000, bits=16),
    "png 49 megapixels, palette": lambda _: png(7_000, 7_000, bits=1, colour=3),
    "png interlaced, cut off": lambda _: png(7_000, 7_000, bits=8, colour=6, pixels=_zeros(64 << 20), interlaced=1),
    "png three million pixels wide": lambda _: png(3_000_000, 16),
    "png three million pixels high": lambda _: png(16, 3_000_000, bits=8, colour=6, pixels=_zeros(64 << 20)),
    "jpeg says 4 gigapixels": lambda _: _sized_jpeg(65_500, 65_500),
    "jpeg says 49 megapixels": lambda _: _sized_jpeg(65_500, 760),
    "jpeg says 49 megapixels, progressive": lambda _: _sized_jpeg(7_000, 7_000, progressive=True),
    "jpeg says no height": lambda _: _sized_jpeg(160, 0),
    "jpeg 48 megapixels": lambda _: _plain("JPEG", 8_000, 6_000),
    "jpeg 48 megapixels, progressive": lambda _: _plain("JPEG", 8_000, 6_000, progressive=True),
    "jpeg very wide": lambda _: _plain("JPEG", 65_500, 760),
    "webp says 268 megapixels": lambda _: _webp_size(b"VP8X", 16_384, 16_384),
    "webp says 2^48 pixels": lambda _: _webp_size(b"VP8X", 1 << 24, 1 << 24),
    "webp lossless says 268 megapixels": lambda _: _webp_size(b"VP8L", 16_384, 16_384),
    "webp lossy says 268 megapixels": lambda _: _webp_size(b"VP8 ", 16_383, 16_383),
    "webp canvas larger than its picture": lambda _: _webp_size(b"VP8X", 7_000, 7_000),
    "webp 48 megapixels": lambda _: _plain("WEBP", 8_000, 6_000, method=0),
    "heic says 4 gigapixels": lambda _: _heic_size(65_535, 65_535),
    "heic says 2^64 pixels": lambda _: _heic_size(2**32 - 1, 2**32 - 1),
    "heic says 49 megapixels": lambda _: _heic_size(7_000, 7_000),
    "heic size of nothing": lambda _: _heic_size(0, 0),
    # Packing.
    "png zTXt bomb": lambda _: with_chunks(picture("PNG"), chunk(b"zTXt", b"Comment\0\0" + _zeros())),
    "png iTXt bomb": lambda _: with_chunks(picture("PNG"), chunk(b"iTXt", b"XML:com.adobe.xmp\0\x01\0\0\0" + _zeros())),
    "png iCCP bomb": lambda _: with_chunks(picture("PNG"), chunk(b"iCCP", b"icc\0\0" + _zeros())),
    "png many text bombs": lambda _: with_chunks(picture("PNG"), *[chunk(b"zTXt", b"Comment\0\0" + _zeros(1 << 20))] * 500),
    "png text of 10 MB": lambda _: with_chunks(picture("PNG"), chunk(b"tEXt", b"Comment\0" + b"x" * 10_000_000)),
    "png pixels longer than its size": lambda _: png(64, 64, pixels=_zeros()),
    "png hundred thousand chunks": lambda _: with_chunks(picture("PNG"), chunk(b"prVt", b"") * 100_000),
    "png hundred thousand empty IDAT": lambda _: with_chunks(picture("PNG"), chunk(b"IDAT", b"") * 100_000),
    "png chunk of negative length": lambda _: with_chunks(picture("PNG"), b"\xff\xff\xff\xfftEXt" + bytes(16)),
    "png header twice": lambda _: with_chunks(picture("PNG"), png(60_000, 60_000, pixels=b"")[8:33]),
    "png bad checksum": lambda _: picture("PNG")[:29] + b"\0\0\0\0" + picture("PNG")[33:],
    # Frames.
    "png says hundred thousand frames": lambda _: _animated_png(100_000, 2),
    "png hundred thousand frames": lambda _: _animated_png(100_000, 100_000),
    "png says 2^32 frames": lambda _: _animated_png(2**32 - 1, 1),
    "webp hundred thousand frames": lambda _: _animated_webp(100_000),
    "gif hundred thousand frames": lambda _: _gif(100_000),
    "mpo two pictures": lambda _: _mpo(2, 1),
    "mpo says 65,535 pictures": lambda _: _mpo(65_535, 0),
    "mpo says no pictures": lambda _: _mpo(0, 1),
    "heic sequence": lambda _: _heic_with(b"ftypheic", b"ftyphevc"),
    # Scans and segments.
    "jpeg ten thousand scans": lambda _: many_scans(4_000, 3_000, 10_000),
    "jpeg hundred scans of 48 megapixels": lambda _: many_scans(8_000, 6_000, 100),
    "jpeg arithmetic coding": lambda _: _frame_kind(0xC9),
    "jpeg lossless": lambda _: _frame_kind(0xC3),
    "jpeg hierarchical": lambda _: _frame_kind(0xC5),
    "jpeg two frames": lambda _: _sized_jpeg(160, 120)[:-2] + _sized_jpeg(65_500, 65_500)[2:],
    "jpeg thousand frame headers": lambda _: with_segments(
        picture("JPEG"), *[segment(0xC0, b"\x08\xff\xff\xff\xff\x03\x01\x44\0\x02\x11\x01\x03\x11\x01")] * 1_000
    ),
    "jpeg restarts and noise": _many_restarts,
    "jpeg sixty thousand segments": lambda _: with_segments(picture("JPEG"), segment(0xEE, b"") * 60_000),
    "jpeg comments of 15 MB": lambda _: with_segments(picture("JPEG"), segment(0xFE, b"x" * 65_000) * 230),
    "jpeg segment of negative length": lambda _: with_segments(picture("JPEG"), b"\xff\xe1\0\0", b"\xff\xe1\0\x01"),
    "jpeg ten million fill bytes": lambda _: JPEG_START + b"\xff" * 10_000_000 + picture("JPEG")[2:],
    "jpeg without tables": lambda _: JPEG_START + picture("JPEG")[picture("JPEG").index(b"\xff\xc0") :],
    "jpeg endless scan": lambda _: picture("JPEG")[:-2] + bytes(15_000_000),
    "jpeg inside a jpeg, 500 deep": lambda _: with_segments(picture("JPEG"), *[JPEG_START] * 500),
    "jpeg colour profile in 255 parts, one there": lambda _: with_segments(
        picture("JPEG"), segment(0xE2, b"ICC_PROFILE\0\x01\xff" + bytes(1_000))
    ),
    "jpeg sampled 4 x 4": lambda _: picture("JPEG").replace(b"\x01\x22\0", b"\x01\x44\0", 1),
    # EXIF.
    "exif directory follows itself": lambda _: _exif(_rows((0x010F, 2, 4, 0x41414100), following=8)),
    "exif directory inside itself": lambda _: _exif(_rows((0x8769, 4, 1, 8), (0x8825, 4, 1, 8), (0xA005, 4, 1, 8))),
    "exif directories in a circle": lambda _: _exif(
        _rows((0x8769, 4, 1, 26), following=26) + struct.pack("<HHHIII", 1, 0xA005, 4, 1, 8, 8)
    ),
    "exif 65,535 rows": lambda _: _exif(b"II*\0\x08\0\0\0\xff\xff" + struct.pack("<HHII", 0x9999, 4, 1, 0) * 5_000),
    "exif four gigabytes": lambda _: _exif(_rows((0x010F, 2, 2**32 - 1, 8), (0x927C, 7, 2**32 - 1, 8), (0x0002, 5, 2**29, 8))),
    "exif beyond the end": lambda _: _exif(b"II*\0\xff\xff\xff\xff"),
    "exif negative": lambda _: _exif(_rows((0x010F, 9, 1, 2**32 - 1), (0x8825, 9, 1, 2**32 - 8))),
    "exif divided by zero": lambda _: _exif(
        tiff("<", {}, below={0x8825: {1: ascii_value("N"), 2: (5, 3, bytes(24)), 4: (5, 3, bytes(24))}})
    ),
    "exif not a number": lambda _: _exif(
        tiff("<", {}, below={0x8825: {2: (12, 3, struct.pack("<3d", float("nan"), float("inf"), 1e308)), 4: (12, 3, bytes(24))}})
    ),
    "exif turned 65,535 ways": lambda _: _exif(tiff("<", {0x0112: (3, 1, b"\xff\xff")})),
    "exif turned by a word": lambda _: _exif(tiff("<", {0x0112: ascii_value("sideways")})),
    "exif maker note of 64 kB": lambda _: _exif(tiff("<", {}, below={0x8769: {0x927C: undefined(b"\xaa" * 65_000)}})),
    "exif maker note of 10 MB": lambda _: with_chunks(
        picture("PNG"), chunk(b"eXIf", tiff("<", {}, below={0x8769: {0x927C: undefined(b"\xaa" * 10_000_000)}}))
    ),
    "exif words of control": lambda _: _exif(tiff("<", {0x010F: (2, 60_000, b"\x1b[2J\x07\r\n" * 8_571 + b"\0\0\0")})),
    "exif big tiff": lambda _: _exif(b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, 2**63) + bytes(64)),
    "exif in webp, broken": lambda _: with_riff_chunks(picture("WEBP", lossless=True), riff(b"EXIF", b"\xff" * 999), flags=8),
    # HEIF boxes.
    "heic box without end": lambda _: _FTYP + b"\0\0\0\0meta" + bytes(64),
    "heic box of 2^63 bytes": lambda _: _FTYP + b"\0\0\0\x01meta" + struct.pack(">Q", 2**63) + bytes(64),
    "heic box of 7 bytes": lambda _: _FTYP + b"\0\0\0\x07meta" + bytes(64),
    "heic ten thousand boxes deep": lambda _: _nested_boxes(10_000),
    "heic grid of itself": lambda _: _grid_of_itself(),
    "heic sixty thousand extents": lambda _: _many_extents(),
    "heic without pictures": lambda _: _meta(),
    "heic type alone": lambda _: _FTYP,
    "heic hundred thousand boxes": lambda _: _FTYP + box(b"free", b"") * 100_000 + picture("HEIF")[24:],
    "heic pixels first": lambda _: _FTYP + box(b"mdat", bytes(5_000)) + picture("HEIF")[24:],
    "heic wrong configuration": lambda _: _heic_with(b"hvcC", b"hvcX"),
    "heic says avif": lambda _: _heic_with(b"ftypheic", b"ftypavif"),
    # Two kinds in one, and none at all.
    "jpeg and zip": lambda _: picture("JPEG") + _archive(),
    "zip and jpeg": lambda _: _archive() + picture("JPEG"),
    "jpeg and html in a comment": lambda _: with_segments(picture("JPEG"), segment(0xFE, _SCRIPT)),
    "jpeg and html behind it": lambda _: picture("JPEG") + _SCRIPT,
    "html and jpeg": lambda _: _SCRIPT + picture("JPEG"),
    "jpeg and javascript": lambda _: JPEG_START + b"\xff\xe0\x2f\x2a" + b"\0" * 0x2F28 + b"*/=alert(1)/*" + picture("JPEG")[2:] + b"*/",
    "png and php in a text": lambda _: with_chunks(picture("PNG"), chunk(b"tEXt", b"Comment\0" + _PHP)),
    "png and php behind it": lambda _: picture("PNG") + _PHP,
    "gifar": lambda _: picture("GIF") + _archive(),
    "jpeg and jar": lambda _: with_segments(picture("JPEG"), segment(0xFE, b"PK\x03\x04")) + _archive(),
    "pdf in a jpeg": lambda _: with_segments(picture("JPEG"), segment(0xFE, b"%PDF-1.7\n1 0 obj<</OpenAction<</S/JavaScript>>>>endobj")),
    "jpeg in a pdf": lambda _: b"%PDF-1.7\n1 0 obj<</Filter/DCTDecode>>stream\n" + picture("JPEG") + b"\nendstream endobj\n%%EOF",
    "svg": lambda _: b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"><image href="file:///etc/passwd"/></svg>',
    "svg with a script behind": lambda _: b"\xff\xd8\xff<svg onload='alert(1)'/>",
    "xml of a billion laughs": lambda _: _LAUGHS + b"<svg>&m;&file;</svg>",
    "xmp of a billion laughs": lambda _: with_segments(picture("JPEG"), segment(0xE1, XMP_HEAD + _LAUGHS + b"<x:xmpmeta>&m;</x:xmpmeta>")),
    "png xmp of a billion laughs": lambda _: with_chunks(
        picture("PNG"), chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + _LAUGHS + b"<x>&m;</x>")
    ),
    "postscript": lambda _: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n(/etc/passwd) (r) file\nshowpage\n%%EOF\n",
    "program for linux": lambda _: b"\x7fELF\x02\x01\x01" + bytes(57) + picture("JPEG"),
    "program for windows": lambda _: b"MZ" + bytes(62) + picture("JPEG"),
    "shell script": lambda _: b"#!/bin/sh\ntouch /tmp/owned\n" + picture("JPEG"),
    "tiff": lambda _: picture("TIFF"),
    "bmp": lambda _: picture("BMP"),
    "ico": lambda _: picture("ICO"),
    "jpeg 2000": lambda _: b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(99),
    "webp that is a sound": lambda _: b"RIFF" + struct.pack("<I", 36) + b"WAVEfmt " + bytes(28),
    "riff of negative length": lambda _: b"RIFF\xff\xff\xff\xffWEBP" + picture("WEBP", lossless=True)[12:],
    "jpeg's first bytes over a png": lambda _: b"\xff\xd8\xff" + picture("PNG")[3:],
    "png's first bytes over a jpeg": lambda _: PNG_START + picture("JPEG")[8:],
    "webp's first bytes over a heic": lambda _: b"RIFF\0\0\0\0WEBP" + picture("HEIF")[12:],
    "nothing": lambda _: b"",
    "one byte": lambda _: b"\xff",
    "a megabyte of zeros": lambda _: bytes(1 << 20),
    "noise": lambda dice: dice.randbytes(50_000),
    "noise that begins as a jpeg": lambda dice: b"\xff\xd8\xff\xe0" + dice.randbytes(50_000),
    "noise that begins as a png": lambda dice: PNG_START + dice.randbytes(50_000),
    "noise that begins as a webp": lambda dice: b"RIFF\x58\xc3\0\0WEBPVP8 " + dice.randbytes(50_000),
    "noise that begins as a heic": lambda dice: _FTYP + dice.randbytes(50_000),
    "more bytes than are taken": lambda _: b"\xff\xd8\xff" + bytes(20_000_001),
}


def cut(dice: random.Random) -> tuple[str, bytes]:
    """Return a good picture that ends too early, at any byte."""
    kind, whole = _any_picture(dice)
    length = dice.randrange(1, len(whole))
    return f"{kind} cut at {length}", whole[:length]


def flipped(dice: random.Random) -> tuple[str, bytes]:
    """Return a good picture with some bits turned, most of them where its structure is."""
    kind, whole = _any_picture(dice)
    raw, reach = bytearray(whole), dice.choice((64, 700, len(whole)))
    places = sorted(dice.randrange(min(reach, len(raw))) for _ in range(dice.choice((1, 1, 2, 5, 30))))
    for place in places:
        raw[place] ^= 1 << dice.randrange(8)
    return f"{kind} turned at {places}", bytes(raw)


def _any_picture(dice: random.Random) -> tuple[str, bytes]:
    name = dice.choice(sorted(_WHOLE))
    return name, _WHOLE[name]()


_WHOLE: dict[str, Callable[[], bytes]] = {
    "jpeg": lambda: picture("JPEG"),
    "progressive jpeg": lambda: picture("JPEG", progressive=True),
    "png": lambda: picture("PNG"),
    "webp": lambda: picture("WEBP"),
    "lossless webp": lambda: picture("WEBP", lossless=True),
    "heic": lambda: picture("HEIF"),
    "jpeg with exif": lambda: _exif(tiff(">", {0x010F: ascii_value("Kamera")}, below={0x8769: {0x927C: undefined(bytes(64))}})),
}
