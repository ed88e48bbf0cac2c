"""Photos that tell where somebody lives, in every place of a file that can hold it, and the search for such a place in any bytes."""

import binascii
import functools
import random
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.faults.hostile_files import containers
from tests.faults.hostile_files.containers import (
    EXIF_HEAD,
    JPEG_END,
    XMP_HEAD,
    ByteOrder,
    ascii_value,
    box,
    chunk,
    picture,
    rationals,
    riff,
    segment,
    tiff,
    undefined,
    with_chunks,
    with_riff_chunks,
    with_segments,
)

_EXIF_IFD, _GPS_IFD = 0x8769, 0x8825


@dataclass(frozen=True)
class Home:
    """A position, a camera and a name that must not be found in anything that is served."""

    latitude: float
    longitude: float
    order: ByteOrder
    mark: str

    @property
    def serial(self) -> str:
        """The camera's serial number."""
        return f"SN{self.mark}"

    @property
    def file_name(self) -> str:
        """The name that the file had on the phone."""
        return f"at-home-{self.mark}.jpg"

    @property
    def decimal(self) -> str:
        """The position as people write it."""
        return f"{self.latitude:+.6f},{self.longitude:+.6f}"

    @property
    def iso6709(self) -> str:
        """The position as video files write it."""
        return f"{self.latitude:+08.4f}{self.longitude:+09.4f}/"


def draw(dice: random.Random) -> Home:
    """Draw a place with no digits that other numbers have: beyond 61 degrees, so that no time of day looks like it."""
    latitude, longitude = dice.uniform(61.1, 83.9), dice.uniform(100.1, 179.9)
    return Home(
        latitude=round(latitude * dice.choice((1, -1)), 6),
        longitude=round(longitude * dice.choice((1, -1)), 6),
        order=dice.choice(("<", ">")),
        mark="".join(dice.choice("BCDFGHJKLMNPQRSTVWXZ") for _ in range(14)),
    )


def degrees_minutes_seconds(value: float) -> tuple[int, int, int]:
    """Return whole degrees, whole minutes and seconds times 10,000."""
    rest = round(abs(value) * 3600 * 10_000)
    return rest // 36_000_000, rest % 36_000_000 // 600_000, rest % 600_000


@functools.lru_cache(maxsize=4_096)
def needles(home: Home) -> tuple[bytes, ...]:
    """Return every form of the place, the serial and the name that the search looks for."""
    texts, raw = {home.serial, home.file_name, home.mark}, set()
    for value in (home.latitude, home.longitude):
        # Cut off and rounded to four places (11 m), with a point and with a comma.
        for shown in (f"{abs(value):.6f}"[:-2], f"{abs(value):.4f}"):
            texts |= {shown, shown.replace(".", ",")}
        degrees, minutes, seconds = degrees_minutes_seconds(value)
        second = seconds // 10_000
        texts |= {
            f"{degrees},{minutes + seconds / 600_000:.6f}"[:-2],
            f"{degrees}\N{DEGREE SIGN}{minutes}'{second}",
            f"{degrees} deg {minutes}' {second}",
            f"{degrees}/1,{minutes}/1,{seconds}/10000",
            f"{degrees}/1 {minutes}/1 {seconds}/10000",
        }
        for order in ("<", ">"):
            raw |= {
                struct.pack(f"{order}6I", degrees, 1, minutes, 1, seconds, 10_000),
                struct.pack(f"{order}4I", degrees, 1, round(minutes * 100_000 + seconds / 6), 100_000),
                struct.pack(f"{order}d", value),
                struct.pack(f"{order}i", round(value * 1e7)),
            }
    return tuple(sorted(raw | {text.encode(code) for text in texts for code in ("utf-8", "utf-16-le", "utf-16-be")}))


def found_in(raw: bytes, home: Home) -> list[bytes]:
    """Return which forms of the place stand in ``raw``, in what it holds packed, and in what it holds as hexadecimal digits."""
    looked_at = _unwrapped(raw)
    return [needle for needle in needles(home) if any(needle in each for each in looked_at)]


@functools.lru_cache(maxsize=8)
def _unwrapped(raw: bytes) -> tuple[bytes, ...]:
    looked_at = [raw, *_unpacked(raw)]
    return (*looked_at, *(digits for each in looked_at for digits in _unhexed(each)))


_ZLIB_START = re.compile(rb"\x78[\x01\x5e\x9c\xda]")
_HEX = re.compile(rb"(?:[0-9a-fA-F]\s*){80,}")


def _unpacked(raw: bytes) -> Iterator[bytes]:
    for found in _ZLIB_START.finditer(raw):
        try:
            yield zlib.decompressobj().decompress(raw[found.start() :], 1 << 20)
        except zlib.error:
            continue


def _unhexed(raw: bytes) -> Iterator[bytes]:
    for found in _HEX.finditer(raw):
        digits = re.sub(rb"\s", b"", found[0])
        yield binascii.unhexlify(digits[: len(digits) // 2 * 2])


def metadata_in(jpeg: bytes) -> list[str]:
    """Return what a JPEG holds besides what decodes to pixels: segments, and bytes behind its end."""
    found: list[str] = []
    if not jpeg.startswith(b"\xff\xd8"):
        return ["not a JPEG"]
    place = 2
    while place + 4 <= len(jpeg):
        marker, length = jpeg[place + 1], int.from_bytes(jpeg[place + 2 : place + 4], "big")
        if jpeg[place] != 0xFF:
            return [*found, f"no marker at {place}"]
        body = jpeg[place + 4 : place + 2 + length]
        is_plain_jfif = marker == 0xE0 and body[:5] == b"JFIF\0" and len(body) == 14 and body[-2:] == b"\0\0"
        # Tables, frame, restart interval and scan; an APP0 that says JFIF and has no thumbnail.
        if marker not in (0xC0, 0xC1, 0xC2, 0xC4, 0xDA, 0xDB, 0xDD) and not is_plain_jfif:
            found.append(f"segment {marker:02x} {body[:16]!r}")
        place += 2 + length
        if marker == 0xDA:
            place = _end_of_scan(jpeg, place)
            if jpeg[place : place + 2] == JPEG_END:
                return found if place + 2 == len(jpeg) else [*found, f"{len(jpeg) - place - 2} bytes behind the end"]
    return [*found, "no end"]


def _end_of_scan(jpeg: bytes, place: int) -> int:
    while (place := jpeg.find(b"\xff", place)) >= 0 and (jpeg[place + 1] == 0 or 0xD0 <= jpeg[place + 1] <= 0xD7):
        place += 2
    return place if place >= 0 else len(jpeg)


# -- The blocks that hold the place -----------------------------------------------------------------------------------
def exif(home: Home, *, in_minutes: bool = False, with_words: bool = True, thumbnail: bytes = b"") -> bytes:
    """Return a TIFF block with a GPS directory, and, ``with_words``, a serial number and the place in every text field."""
    order = home.order
    place = {
        0x0000: (1, 4, b"\x02\x03\0\0"),
        0x0001: ascii_value("N" if home.latitude > 0 else "S"),
        0x0002: rationals(order, _pairs(home.latitude, in_minutes=in_minutes)),
        0x0003: ascii_value("E" if home.longitude > 0 else "W"),
        0x0004: rationals(order, _pairs(home.longitude, in_minutes=in_minutes)),
    }
    if not with_words:
        return tiff(order, {}, below={_GPS_IFD: place}, thumbnail=thumbnail)
    top = {0x010E: ascii_value(home.decimal), 0x010F: ascii_value("Kamera"), 0x0131: ascii_value(home.file_name)}
    detail = {
        0x9003: ascii_value("2026:11:01 12:30:00"),
        0x9286: undefined(b"UNICODE\0" + home.decimal.encode("utf-16-le")),
        0x927C: undefined(b"MakerNote\0" + home.serial.encode() + struct.pack(f"{order}dd", home.latitude, home.longitude)),
        0xA431: ascii_value(home.serial),
    }
    place |= {0x001B: undefined(b"ASCII\0\0\0" + home.decimal.encode()), 0x001C: undefined(b"ASCII\0\0\0" + home.mark.encode())}
    return tiff(order, top, below={_EXIF_IFD: detail, _GPS_IFD: place}, thumbnail=thumbnail)


def _pairs(value: float, *, in_minutes: bool) -> list[tuple[int, int]]:
    degrees, minutes, seconds = degrees_minutes_seconds(value)
    if in_minutes:
        return [(degrees, 1), (round(minutes * 100_000 + seconds / 6), 100_000), (0, 1)]
    return [(degrees, 1), (minutes, 1), (seconds, 10_000)]


def xmp(home: Home, *, as_elements: bool = False) -> bytes:
    """Return an XMP packet with the place in attributes or in elements."""
    latitude, longitude = (
        f"{degrees},{minutes + seconds / 600_000:.6f}{side}"
        for (degrees, minutes, seconds), side in (
            (degrees_minutes_seconds(home.latitude), "N" if home.latitude > 0 else "S"),
            (degrees_minutes_seconds(home.longitude), "E" if home.longitude > 0 else "W"),
        )
    )
    names = 'xmlns:exif="http://ns.adobe.com/exif/1.0/" xmlns:aux="http://ns.adobe.com/exif/1.0/aux/"'
    if as_elements:
        inner = (
            f"<rdf:Description {names}><exif:GPSLatitude>{latitude}</exif:GPSLatitude><exif:GPSLongitude>{longitude}</exif:GPSLongitude>"
            f"<aux:SerialNumber>{home.serial}</aux:SerialNumber></rdf:Description>"
        )
    else:
        inner = f'<rdf:Description {names} exif:GPSLatitude="{latitude}" exif:GPSLongitude="{longitude}" aux:SerialNumber="{home.serial}"/>'
    return (
        '<?xpacket begin="\N{ZERO WIDTH NO-BREAK SPACE}" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        f'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">{inner}</rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    ).encode()


def iptc(home: Home) -> bytes:
    """Return an IPTC record: caption, place within the city, city."""
    fields = {120: home.decimal, 92: f"at home {home.mark}", 90: home.mark, 5: home.file_name}
    return b"".join(struct.pack(">BBBH", 0x1C, 2, number, len(text)) + text.encode() for number, text in fields.items())


def photoshop(number: int, body: bytes) -> bytes:
    """Return a Photoshop resource block."""
    return b"8BIM" + struct.pack(">HHI", number, 0, len(body)) + body + b"\0" * (len(body) % 2)


def icc(home: Home) -> bytes:
    """Return a colour profile whose description and copyright tell the place."""
    from PIL import ImageCms

    plain = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    text = b"text\0\0\0\0" + f"{home.decimal} {home.mark}".encode() + b"\0"
    text += b"\0" * (-len(text) % 4)
    count = int.from_bytes(plain[128:132], "big")
    for number in range(count):
        row = 132 + 12 * number
        if bytes(plain[row : row + 4]) in (b"desc", b"cprt"):
            plain[row + 4 : row + 12] = struct.pack(">II", len(plain), len(text))
    plain += text
    plain[0:4] = struct.pack(">I", len(plain))
    return bytes(plain)


def mp4(home: Home) -> bytes:
    """Return a video file with the place in moov/udta/©xyz, as phones write it."""
    text = home.iso6709.encode()
    xyz = box(b"\xa9xyz", struct.pack(">HH", len(text), 0x15C7) + text)
    words = box(b"name", home.decimal.encode())
    return box(b"ftyp", b"mp42\0\0\0\0isommp42") + box(b"moov", box(b"udta", xyz + words)) + box(b"mdat", bytes(64))


def _profile_text(kind: bytes, raw: bytes) -> bytes:
    # ImageMagick keeps EXIF and IPTC of a PNG as hexadecimal digits in a text.
    digits = binascii.hexlify(raw)
    lines = b"\n".join(digits[start : start + 72] for start in range(0, len(digits), 72))
    return b"\n" + kind + b"\n%8d\n" % len(raw) + lines + b"\n"


def _extended_xmp(home: Home) -> bytes:
    guid, packet = b"0123456789ABCDEF0123456789ABCDEF", xmp(home, as_elements=True)
    main = XMP_HEAD + b'<x:xmpmeta xmlns:x="adobe:ns:meta/" xmpNote:HasExtendedXMP="' + guid + b'"/>'
    more = b"http://ns.adobe.com/xmp/extension/\0" + guid + struct.pack(">II", len(packet), 0) + packet
    return segment(0xE1, main) + segment(0xE1, more)


def _exif_segment(home: Home) -> bytes:
    return segment(0xE1, EXIF_HEAD + exif(home))


def _thumbnail(home: Home) -> bytes:
    return with_segments(picture("JPEG", 48, 36), _exif_segment(home))


def _multi_picture(home: Home) -> bytes:
    second = _thumbnail(home)
    index = tiff(">", {0xB000: undefined(b"0100"), 0xB001: containers.long(">", 2), 0xB002: undefined(bytes(32))})
    return with_segments(picture("JPEG"), segment(0xE2, b"MPF\0" + index)) + second


def _between_scans(home: Home) -> bytes:
    photo = picture("JPEG", progressive=True)
    place = photo.index(b"\xff\xda", photo.index(b"\xff\xda") + 2)
    return photo[:place] + segment(0xFE, home.decimal.encode()) + _exif_segment(home) + photo[place:]


def _in_png(kind: bytes, body: bytes) -> bytes:
    return with_chunks(picture("PNG"), chunk(kind, body))


def _in_webp(kind: bytes, body: bytes, flags: int) -> bytes:
    return with_riff_chunks(picture("WEBP", lossless=True), riff(kind, body), flags=flags)


def _heif(**what: bytes) -> bytes:
    from PIL import Image

    return containers.heif(Image.radial_gradient("L").resize((160, 120)).convert("RGB"), **what)


Maker = Callable[[Home], bytes]
JPEG_CARRIERS: dict[str, Maker] = {
    "EXIF": lambda home: with_segments(picture("JPEG"), _exif_segment(home)),
    "EXIF in minutes": lambda home: with_segments(picture("JPEG"), segment(0xE1, EXIF_HEAD + exif(home, in_minutes=True))),
    "EXIF with GPS alone": lambda home: with_segments(picture("JPEG"), segment(0xE1, EXIF_HEAD + exif(home, with_words=False))),
    "EXIF twice": lambda home: with_segments(picture("JPEG"), segment(0xE1, EXIF_HEAD + tiff("<", {})), _exif_segment(home)),
    "EXIF without its head": lambda home: with_segments(picture("JPEG"), segment(0xE1, exif(home))),
    "EXIF of the thumbnail": lambda home: with_segments(
        picture("JPEG"), segment(0xE1, EXIF_HEAD + tiff(home.order, {0x010F: ascii_value("Kamera")}, thumbnail=_thumbnail(home)))
    ),
    "EXIF between scans": _between_scans,
    "EXIF in each APP": lambda home: with_segments(
        picture("JPEG"), *(segment(marker, b"Vendor\0" + exif(home)) for marker in (*range(0xE3, 0xED), 0xEF))
    ),
    "JFIF extension": lambda home: with_segments(picture("JPEG"), segment(0xE0, b"JFXX\0\x10" + _thumbnail(home))),
    "XMP attributes": lambda home: with_segments(picture("JPEG"), segment(0xE1, XMP_HEAD + xmp(home))),
    "XMP elements": lambda home: with_segments(picture("JPEG"), segment(0xE1, XMP_HEAD + xmp(home, as_elements=True))),
    "extended XMP": lambda home: with_segments(picture("JPEG"), _extended_xmp(home)),
    "IPTC": lambda home: with_segments(picture("JPEG"), segment(0xED, b"Photoshop 3.0\0" + photoshop(0x0404, iptc(home)))),
    "Photoshop thumbnail": lambda home: with_segments(
        picture("JPEG"), segment(0xED, b"Photoshop 3.0\0" + photoshop(0x040C, bytes(28) + _thumbnail(home)))
    ),
    "Photoshop EXIF": lambda home: with_segments(picture("JPEG"), segment(0xED, b"Photoshop 3.0\0" + photoshop(0x0422, exif(home)))),
    "ICC description": lambda home: with_segments(picture("JPEG"), segment(0xE2, b"ICC_PROFILE\0\x01\x01" + icc(home))),
    "FlashPix": lambda home: with_segments(picture("JPEG"), segment(0xE2, b"FPXR\0\0" + home.decimal.encode("utf-16-le"))),
    "content credentials": lambda home: with_segments(
        picture("JPEG"), segment(0xEB, b"JP\0\x01\0\0\0\x01" + box(b"jumb", box(b"json", f'{{"geo": "{home.decimal}"}}'.encode())))
    ),
    "comment": lambda home: with_segments(picture("JPEG"), segment(0xFE, f"{home.decimal} {home.file_name}".encode())),
    "second picture": _multi_picture,
    "text behind the end": lambda home: picture("JPEG") + home.decimal.encode() + exif(home),
    "Samsung trailer": lambda home: picture("JPEG") + b"\0\0\x30\x0aMotionPhoto" + home.iso6709.encode() + b"SEFH\0\0\0\0SEFT",
    "motion photo": lambda home: with_segments(picture("JPEG"), _exif_segment(home)) + mp4(home),
    "archive behind the end": lambda home: picture("JPEG") + b"PK\x03\x04" + bytes(26) + home.decimal.encode(),
}
OTHER_CARRIERS: dict[str, Maker] = {
    "PNG tEXt": lambda home: _in_png(b"tEXt", b"Comment\0" + home.decimal.encode() + home.serial.encode()),
    "PNG zTXt": lambda home: _in_png(b"zTXt", b"Comment\0\0" + zlib.compress(home.decimal.encode() + home.serial.encode())),
    "PNG iTXt": lambda home: _in_png(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp(home)),
    "PNG packed iTXt": lambda home: _in_png(b"iTXt", b"XML:com.adobe.xmp\0\x01\0\0\0" + zlib.compress(xmp(home, as_elements=True))),
    "PNG eXIf": lambda home: _in_png(b"eXIf", exif(home)),
    "PNG eXIf in minutes": lambda home: _in_png(b"eXIf", exif(home, in_minutes=True)),
    "PNG iCCP": lambda home: _in_png(b"iCCP", b"icc\0\0" + zlib.compress(icc(home))),
    "PNG raw profile": lambda home: _in_png(
        b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(_profile_text(b"exif", EXIF_HEAD + exif(home)))
    ),
    "PNG raw IPTC": lambda home: _in_png(b"tEXt", b"Raw profile type iptc\0" + _profile_text(b"iptc", iptc(home))),
    "PNG private chunk": lambda home: _in_png(b"prVt", exif(home)),
    "PNG text behind the pixels": lambda home: (
        picture("PNG")[:-12] + chunk(b"tEXt", b"Place\0" + home.decimal.encode()) + picture("PNG")[-12:]
    ),
    "PNG behind the end": lambda home: picture("PNG") + exif(home),
    "WEBP EXIF": lambda home: _in_webp(b"EXIF", exif(home), 0x08),
    "WEBP EXIF with its head": lambda home: _in_webp(b"EXIF", EXIF_HEAD + exif(home), 0x08),
    "WEBP XMP": lambda home: _in_webp(b"XMP ", xmp(home), 0x04),
    "WEBP private chunk": lambda home: _in_webp(b"prVt", exif(home), 0),
    "WEBP behind the end": lambda home: picture("WEBP", lossless=True) + home.decimal.encode(),
    "HEIC EXIF": lambda home: _heif(exif=EXIF_HEAD + exif(home)),
    "HEIC XMP": lambda home: _heif(xmp=xmp(home)),
    "HEIC ICC": lambda home: _heif(icc=icc(home)),
    "HEIC box behind the end": lambda home: picture("HEIF") + box(b"uuid", bytes(16) + exif(home)),
    "HEIC free box": lambda home: picture("HEIF") + box(b"free", home.decimal.encode()),
}
# Containers that are not taken as evidence: they must be refused, and nothing of them may come back.
REFUSED_CARRIERS: dict[str, Maker] = {
    "MP4": mp4,
    "MOV": lambda home: box(b"ftyp", b"qt  \0\0\0\0qt  ") + mp4(home)[24:],
    "GIF": lambda home: picture("GIF")[:-1] + b"\x21\xfe\x20" + home.decimal.encode().ljust(32)[:32] + b"\0\x3b",
    "TIFF": lambda home: exif(home),
    "AVIF": lambda home: box(b"ftyp", b"avif\0\0\0\0avifmif1") + box(b"meta", exif(home)),
}
CARRIERS: dict[str, Maker] = {**JPEG_CARRIERS, **OTHER_CARRIERS}
