"""What workers photograph: each has scenes of his own, in good and bad shots, and may steal a shot of another's."""

import functools
import io

from PIL import Image, ImageEnhance, ImageFilter

from agents_sdk import scenes
from tasks import evidence, intake
from verification import pictures

SHOTS = ("good", "other", "blurred", "dark", "small")
OWNERS = 7


@functools.cache
def shot(owner: int, kind: str) -> bytes:
    """Return one of a worker's shots as a JPEG: of his own scene, so that only a stolen one is like another's."""
    paths = list(scenes.find_all().values())
    raw = scenes.take(paths[owner % len(paths)], seed=f"{owner} {kind}", short_side_px=500)
    if kind in ("good", "other"):
        return raw
    with Image.open(io.BytesIO(raw)) as opened:
        changed = opened.convert("RGB")
    if kind == "blurred":
        changed = changed.filter(ImageFilter.GaussianBlur(16))
    elif kind == "dark":
        changed = ImageEnhance.Brightness(changed).enhance(0.06)
    else:
        changed.thumbnail((300, 300))
    buffer = io.BytesIO()
    changed.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


@functools.cache
def opened(raw: bytes) -> bytes:
    """Answer for a file as the intake's child process does, in this process and once: a child takes as long as a hundred steps."""
    header, display, preview = intake.answer(raw)
    head = evidence._Header.model_validate(header).model_dump_json(exclude_none=True).encode()
    lengths = b"".join(len(part).to_bytes(4, "big") for part in (head, display, preview))
    return lengths + head + display + preview


@functools.cache
def measured(display_sha256: str) -> pictures.Picture:
    """Measure a display copy once: its name is the digest of its content."""
    return _measure(display_sha256)


_measure = pictures.measure
