"""The child process that opens a stranger's file: run by `tasks.evidence` as a program of its own.

It gives up what it does not need (address space, CPU time, files, further rights) before it reads the first byte, and
imports nothing of ours. A decoder taken over by the file can't write files, exhaust this machine's memory or gain rights
by a set-user-id program. Where the market does not run as root, a decoder of JPEG, PNG or WebP can't start a thread or
process either, so that nothing outlives the kill of its process group, nor its parent.

What it does not protect from: a decoder taken over may still read what its user may read, signal its user's processes,
reach the network, and answer with a picture of its choosing. HEIF's decoder needs a thread, which the kernel counts as a
process, and root's processes are not counted: taken over there, it may start a process in a session of its own, which
outlives it for as long as its CPU time lasts, and may start others.

Protocol: the file on standard input; on standard output three lengths (big-endian, 4 bytes each), then a JSON
header, the display copy and the preview. A file that is refused gives a header with ``reason`` and no pictures.
"""

import ctypes
import io
import json
import math
import resource
import signal
import sys
import warnings

from PIL import Image, ImageDraw, ImageFont

# At most 512 MB of it are ever in memory: about 15 MB of what is mapped are never touched. 50 megapixels take 200 MB decoded,
# and twice that while they change their form.
ADDRESS_SPACE_BYTES = 520 << 20
# The largest photo of a phone takes 1.5 s. A JPEG of ten thousand scans, or with ten million bytes of filling, would take minutes.
CPU_S = 4
OPEN_FILES = 32
MAX_PIXELS = 50_000_000
MIN_SIDE_PX = 16
DISPLAY_LONG_SIDE_PX = 1600
PREVIEW_LONG_SIDE_PX = 480
MAX_TEXT = 64


# prctl(2).
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38


def limit_self() -> None:
    """Lower this process's own limits for good, and end with the parent."""
    if sys.platform.startswith("linux"):
        libc = ctypes.CDLL(None)
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
    for what, most in (
        (resource.RLIMIT_AS, ADDRESS_SPACE_BYTES),
        (resource.RLIMIT_CPU, CPU_S),
        (resource.RLIMIT_NOFILE, OPEN_FILES),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
    ):
        resource.setrlimit(what, (most, most))


def limit_processes(raw: bytes) -> None:
    """Start no thread or process from now on, for good, unless the file's decoder needs one."""
    if media_type_of(raw) != "image/heif":
        resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))


def media_type_of(raw: bytes) -> str:
    """Return which of our media types a file's first bytes are of; empty for any other. The decoder and its limits go by this alone."""
    if raw.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if raw.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if raw[:4] == b"RIFF" and raw[8:12] == b"WEBP":
        return "image/webp"
    if raw[4:8] == b"ftyp" and raw[8:12] in _HEIF_BRANDS:
        return "image/heif"
    return ""


# How EXIF's orientation 2..8 is undone (EXIF 2.32, tag 0x0112).
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_HEIF_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"mif1", b"heif"})
_ORIENTATION, _MAKE, _MODEL, _SOFTWARE, _EXIF_IFD, _GPS_IFD = 0x0112, 0x010F, 0x0110, 0x0131, 0x8769, 0x8825
_DATE_TIME_ORIGINAL, _OFFSET_TIME_ORIGINAL = 0x9003, 0x9011


class Refused(Exception):
    """The file can't be taken; the only argument is the reason code."""


def open_photo(raw: bytes) -> tuple[Image.Image, str]:
    """Open ``raw`` by its first bytes, without decoding it; return it with its media type.

    The plugin is named outright: a file never chooses its own decoder, and the many-picture JPEGs of phones (MPO)
    are read as the JPEG they begin with.

    Raises:
        Refused: ``not_a_photo``, ``animated``, ``too_many_pixels``, ``too_small``, ``damaged``.
    """
    try:
        media_type = media_type_of(raw)
        photo = _open(raw, media_type)
    except (Refused, MemoryError):
        raise
    except Exception as unreadable:
        # Decoders raise what they like on hostile bytes: for this file it all means the same.
        raise Refused("damaged") from unreadable
    if media_type in ("image/png", "image/webp") and getattr(photo, "n_frames", 1) != 1:
        raise Refused("animated")
    if photo.width * photo.height > MAX_PIXELS:
        raise Refused("too_many_pixels")
    if min(photo.size) < MIN_SIDE_PX:
        raise Refused("too_small")
    return photo, media_type


def _open(raw: bytes, media_type: str) -> Image.Image:
    if media_type == "image/jpeg":
        from PIL import JpegImagePlugin

        return JpegImagePlugin.JpegImageFile(io.BytesIO(raw))
    if media_type == "image/png":
        from PIL import PngImagePlugin

        return PngImagePlugin.PngImageFile(io.BytesIO(raw))
    if media_type == "image/webp":
        from PIL import WebPImagePlugin

        _refuse_large_webp(raw)
        return WebPImagePlugin.WebPImageFile(io.BytesIO(raw))
    if media_type == "image/heif":
        import pillow_heif

        pillow_heif.options.DECODE_THREADS = 1
        pillow_heif.options.THUMBNAILS = False
        pillow_heif.options.DEPTH_IMAGES = False
        pillow_heif.options.AUX_IMAGES = False
        return pillow_heif.HeifImageFile(io.BytesIO(raw))  # type: ignore[no-untyped-call]
    raise Refused("not_a_photo")


def _refuse_large_webp(raw: bytes) -> None:
    # Pillow's WebP plugin lays out the whole canvas, twice, when it opens the file: the size must be read before that.
    kind, body = raw[12:16], raw[20:]
    if kind == b"VP8X":
        width, height = int.from_bytes(body[4:7], "little") + 1, int.from_bytes(body[7:10], "little") + 1
    elif kind == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    else:
        width, height = int.from_bytes(body[6:8], "little") & 0x3FFF, int.from_bytes(body[8:10], "little") & 0x3FFF
    if width * height > MAX_PIXELS:
        raise Refused("too_many_pixels")


def facts_of(photo: Image.Image) -> tuple[dict[str, str | float], int]:
    """Return EXIF facts as plain short strings and finite numbers, and the orientation (1..8).

    Odd EXIF is common in genuine photos and refuses nothing: what can't be read is left out.
    """
    try:
        exif = photo.getexif()
        detail, position = dict(exif.get_ifd(_EXIF_IFD)), dict(exif.get_ifd(_GPS_IFD))
        top = {tag: exif.get(tag) for tag in (_ORIENTATION, _MAKE, _MODEL, _SOFTWARE)}
    except Exception:  # Whatever a broken block raises, the photo itself may be good.
        return {"is_unreadable": 1.0}, 1
    texts = {
        "captured_at": detail.get(_DATE_TIME_ORIGINAL),
        "offset": detail.get(_OFFSET_TIME_ORIGINAL),
        "make": top[_MAKE],
        "model": top[_MODEL],
        "software": top[_SOFTWARE],
    }
    facts: dict[str, str | float] = {name: value[:MAX_TEXT] for name, value in texts.items() if isinstance(value, str) and value}
    latitude, longitude = _degrees(position.get(2), position.get(1), b"S"), _degrees(position.get(4), position.get(3), b"W")
    if latitude is not None and longitude is not None and abs(latitude) <= 90 and abs(longitude) <= 180:
        facts |= {"latitude": latitude, "longitude": longitude}
    orientation = top[_ORIENTATION]
    return facts, orientation if isinstance(orientation, int) and orientation in _TURNS else 1


def _degrees(parts: object, reference: object, negative: bytes) -> float | None:
    if not isinstance(parts, tuple) or len(parts) != 3:
        return None
    try:
        degrees, minutes, seconds = (float(part) for part in parts)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    value = degrees + minutes / 60 + seconds / 3600
    is_negative = reference in (negative, negative.decode())
    return round(-value if is_negative else value, 6) if math.isfinite(value) else None


def decode(photo: Image.Image, orientation: int) -> Image.Image:
    """Decode ``photo`` to upright RGB with a long side of at most `DISPLAY_LONG_SIDE_PX`; clear parts become white.

    Raises:
        Refused: ``damaged`` where the bytes end early or do not decode.
    """
    try:
        # JPEG decodes at 1/2, 1/4 or 1/8 where that is still larger than what is shown: a quarter of the time and memory.
        photo.draft("RGB", (DISPLAY_LONG_SIDE_PX, DISPLAY_LONG_SIDE_PX))
        photo.load()
        small = photo
        if small.mode in ("I", "F") or small.mode.startswith("I;16"):
            # 16-bit grey: its high byte.
            small = small.convert("I").point(lambda value: value / 256).convert("L")
        if small.mode in ("1", "P", "PA") or "transparency" in small.info:
            small = small.convert("RGBA" if "transparency" in small.info or small.mode == "PA" else "RGB")
        small.thumbnail((DISPLAY_LONG_SIDE_PX, DISPLAY_LONG_SIDE_PX), Image.Resampling.LANCZOS)
        if small.mode in ("RGBA", "LA", "RGBa", "La"):
            clear = small.convert("RGBA")
            small = Image.new("RGB", clear.size, "white")
            small.paste(clear, mask=clear.getchannel("A"))
        small = small.convert("RGB")
    except MemoryError:
        raise
    except Exception as unreadable:
        raise Refused("damaged") from unreadable
    return small.transpose(_TURNS[orientation]) if orientation in _TURNS else small


def encode(shown: Image.Image, quality: int) -> bytes:
    """Return ``shown`` as a JPEG that holds pixels and nothing else."""
    plain = Image.new("RGB", shown.size)
    plain.paste(shown)
    buffer = io.BytesIO()
    plain.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def watermarked(shown: Image.Image) -> Image.Image:
    """Return a small copy with PREVIEW written across it in rows: enough to judge by, not to use."""
    small = shown.copy()
    small.thumbnail((PREVIEW_LONG_SIDE_PX, PREVIEW_LONG_SIDE_PX), Image.Resampling.LANCZOS)
    side = max(small.size)
    words = Image.new("L", (2 * side, 2 * side))
    draw, font = ImageDraw.Draw(words), ImageFont.load_default(max(12, side // 14))
    for row, top in enumerate(range(0, 2 * side, max(24, side // 6))):
        draw.text((-(row % 2) * side // 4, top), "PREVIEW   " * 12, fill=120, font=font)
    words = words.rotate(30).crop((side // 2, side // 2, side // 2 + small.width, side // 2 + small.height))
    small.paste(Image.new("RGB", small.size, "white"), mask=words)
    # A darker shadow one pixel on keeps the words readable over white walls and snow.
    small.paste(Image.new("RGB", small.size, "black"), (1, 1), words.point(lambda level: level // 2))
    return small


def answer(raw: bytes) -> tuple[dict[str, object], bytes, bytes]:
    """Return the header, the display copy and the preview of one file.

    Raises:
        Refused: see `open_photo` and `decode`.
    """
    photo, media_type = open_photo(raw)
    width_px, height_px = photo.size
    exif, orientation = facts_of(photo)
    shown = decode(photo, orientation)
    if orientation >= 5:
        width_px, height_px = height_px, width_px
    header: dict[str, object] = {"media_type": media_type, "width_px": width_px, "height_px": height_px, "exif": exif}
    return header, encode(shown, 88), encode(watermarked(shown), 70)


def main() -> None:
    """Answer for the file on standard input."""
    limit_self()
    warnings.simplefilter("error")
    # Pillow's EXIF reader: cameras write odd EXIF, and a good photo must not be refused for it.
    warnings.filterwarnings("ignore", module=r"PIL\.TiffImagePlugin")
    try:
        raw = sys.stdin.buffer.read()
        limit_processes(raw)
        header, display, preview = answer(raw)
    except Refused as refused:
        header, display, preview = {"reason": str(refused)}, b"", b""
    except MemoryError:
        header, display, preview = {"reason": "too_large_to_decode"}, b"", b""
    head = json.dumps(header, allow_nan=False).encode()
    out = sys.stdout.buffer
    for part in (head, display, preview):
        out.write(len(part).to_bytes(4, "big"))
    out.write(head + display + preview)
    out.flush()


if __name__ == "__main__":
    main()
