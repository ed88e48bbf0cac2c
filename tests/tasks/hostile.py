"""Files that attack whoever opens them."""

import io
import struct
import zipfile
import zlib

from PIL import Image


def png(width_px: int, height_px: int, *, bits: int = 1, colour: int = 0) -> bytes:
    """Return an all-black PNG of any size: a few kilobytes that unpack to any number of pixels."""
    channels = {0: 1, 2: 3, 3: 1, 6: 4}[colour]
    row = bytes(1 + (width_px * bits * channels + 7) // 8)
    packer = zlib.compressobj(9)
    body = b"".join(packer.compress(row) for _ in range(height_px)) + packer.flush()
    header = struct.pack(">IIBBBBB", width_px, height_px, bits, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def chunk(kind: bytes, body: bytes) -> bytes:
    """Return one chunk of a PNG."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def webp_header(width_px: int, height_px: int) -> bytes:
    """Return an extended WebP that promises a canvas and holds nothing."""
    body = b"VP8X" + struct.pack("<I", 10) + b"\0" * 4 + (width_px - 1).to_bytes(3, "little") + (height_px - 1).to_bytes(3, "little")
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def with_zip_behind(photo: bytes) -> bytes:
    """Return a file that is the photo to a viewer and an archive to an unpacker."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("index.html", "<script>alert(1)</script>")
    return photo + archive.getvalue()


def with_script_comment(photo: bytes) -> bytes:
    """Return a JPEG whose comment is a script."""
    comment = b"<script>alert(document.cookie)</script>"
    return photo[:2] + b"\xff\xfe" + struct.pack(">H", len(comment) + 2) + comment + photo[2:]


def gif_of_many_frames(count: int) -> bytes:
    """Return a GIF with ``count`` one-pixel frames."""
    start = b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    frame = b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00"
    return start + frame * count + b"\x3b"


def animated_png(count: int) -> bytes:
    """Return a PNG with ``count`` small frames."""
    frames = [Image.new("RGB", (32, 32), (number % 256, 0, 0)) for number in range(count)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "PNG", save_all=True, append_images=frames[1:])
    return buffer.getvalue()


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n(/etc/passwd) (r) file\nshowpage\n%%EOF\n"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"><image href="file:///etc/passwd"/></svg>'
