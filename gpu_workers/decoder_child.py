"""The child process that opens photographs for a GPU worker: run by `gpu_workers.decoding` as a program of its own.

It lowers its own limits before it reads the first byte and imports nothing of ours. What it does not protect from: a decoder
taken over by a file may answer with a picture of its choosing and read what its user may read; it can't write files, outlive its
clock or exhaust the machine, and its environment is empty.

Protocol, on standard input and output: a length (big-endian, 4 bytes) and the file; the answer is a status byte, then for "P" the
height and width (2 bytes each) and the pixels, for "R" a reason padded to 16 bytes.
"""

import io
import resource
import struct
import sys
import time
import warnings

from PIL import Image, ImageOps
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

ADDRESS_SPACE_BYTES = 620 << 20
CPU_S_PER_FILE = 10
LARGEST_FILE_BYTES = 32 << 20
MAX_PIXELS = 50_000_000
MIN_SIDE_PX = 16
# What every model starts from: small enough to ship through a pipe, large enough for any 448 px network.
LONG_SIDE_PX = 640
HEIF_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"mif1", b"heif"})


class Refused(Exception):
    """The file can't be read; the only argument is the reason."""


def limit_self() -> None:
    """Lower this process's own limits for good."""
    for what, most in (
        (resource.RLIMIT_AS, ADDRESS_SPACE_BYTES),
        (resource.RLIMIT_NOFILE, 16),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
    ):
        resource.setrlimit(what, (most, most))


def allow_cpu_for_one_file() -> None:
    """Let the next file use `CPU_S_PER_FILE` more seconds; the kernel ends the process that takes longer."""
    resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time()) + CPU_S_PER_FILE, resource.RLIM_INFINITY))


def opened(raw: bytes) -> Image.Image:
    """Open by the first bytes with a plugin named outright: a file never chooses its own decoder.

    Raises:
        Refused: neither JPEG, PNG, WebP nor HEIF.
    """
    if raw.startswith(b"\xff\xd8\xff"):
        return JpegImageFile(io.BytesIO(raw))
    if raw.startswith(b"\x89PNG\r\n\x1a\n"):
        return PngImageFile(io.BytesIO(raw))
    if raw[:4] == b"RIFF" and raw[8:12] == b"WEBP":
        return WebPImageFile(io.BytesIO(raw))
    if raw[4:8] == b"ftyp" and raw[8:12] in HEIF_BRANDS:
        return _opened_heif(raw)
    raise Refused("not_a_photo")


def _opened_heif(raw: bytes) -> Image.Image:
    # Its library maps much memory: loaded for the rare phone that sends HEIF, not for each child.
    import pillow_heif

    pillow_heif.options.DECODE_THREADS = 1
    pillow_heif.options.THUMBNAILS = False
    pillow_heif.options.DEPTH_IMAGES = False
    pillow_heif.options.AUX_IMAGES = False
    return pillow_heif.HeifImageFile(io.BytesIO(raw))  # type: ignore[no-untyped-call]


def decode(raw: bytes) -> Image.Image:
    """Decode upright, as RGB, at most `LONG_SIDE_PX` long. JPEG is decoded at the nearest larger eighth: 3x less work.

    Raises:
        Refused: `not_a_photo`, `too_many_pixels`, `too_small`, `damaged`.
    """
    try:
        picture = opened(raw)
        if picture.width * picture.height > MAX_PIXELS:
            raise Refused("too_many_pixels")
        if min(picture.size) < MIN_SIDE_PX:
            raise Refused("too_small")
        picture.draft("RGB", (LONG_SIDE_PX, LONG_SIDE_PX))
        picture.load()
        upright = ImageOps.exif_transpose(picture)
        if upright.has_transparency_data:
            coloured = upright.convert("RGBA")
            ground = Image.new("RGBA", coloured.size, "white")
            ground.alpha_composite(coloured)
            upright = ground
        photo = upright.convert("RGB")
        photo.thumbnail((LONG_SIDE_PX, LONG_SIDE_PX), Image.Resampling.LANCZOS)
    except Refused:
        raise
    except MemoryError:
        raise Refused("too_much_memory") from None
    except Exception:
        # Decoders raise what they like on hostile bytes: for this file it all means the same.
        raise Refused("damaged") from None
    return photo


def answer(raw: bytes) -> bytes:
    """Decode one file and give the bytes to answer with."""
    try:
        photo = decode(raw)
    except Refused as refused:
        return b"R" + str(refused.args[0]).encode("ascii").ljust(16)[:16]
    return b"P" + struct.pack(">HH", photo.height, photo.width) + photo.tobytes()


def main() -> None:
    """Answer files until standard input ends."""
    limit_self()
    warnings.simplefilter("error")
    Image.MAX_IMAGE_PIXELS = MAX_PIXELS
    while header := sys.stdin.buffer.read(4):
        (length,) = struct.unpack(">I", header)
        raw = sys.stdin.buffer.read(length)
        allow_cpu_for_one_file()
        sys.stdout.buffer.write(answer(raw))
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
