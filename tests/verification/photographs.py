"""Real photographs from packages, and the ways in which tests change them. scikit-image: public domain or CC0; scikit-learn: CC BY 2.0."""

import functools
import importlib.util
import io
from pathlib import Path

from PIL import Image, ImageEnhance, ImageFilter, ImageOps


def _folder(package: str, *below: str) -> Path:
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent.joinpath(*below)


_SKIMAGE, _SKLEARN = _folder("skimage", "data"), _folder("sklearn", "datasets", "images")
PATHS = {
    "astronaut": _SKIMAGE / "astronaut.png",
    "brick": _SKIMAGE / "brick.png",
    "camera": _SKIMAGE / "camera.png",
    "cat": _SKIMAGE / "chelsea.png",
    "coffee": _SKIMAGE / "coffee.png",
    "coins": _SKIMAGE / "coins.png",
    "flower": _SKLEARN / "flower.jpg",
    "grass": _SKIMAGE / "grass.png",
    "gravel": _SKIMAGE / "gravel.png",
    "motorcycle": _SKIMAGE / "motorcycle_left.png",
    "retina": _SKIMAGE / "retina.jpg",
    "moon": _SKIMAGE / "moon.png",
    "rocket": _SKIMAGE / "rocket.jpg",
    "temple": _SKLEARN / "china.jpg",
}


@functools.cache
def photo(name: str) -> Image.Image:
    """Return a photograph in RGB; copy it before you change it."""
    return Image.open(PATHS[name]).convert("RGB")


def jpeg(image: Image.Image, *, quality: int = 92, exif: Image.Exif | bytes = b"", long_side_px: int | None = None) -> bytes:
    """Return ``image`` as a JPEG file."""
    if long_side_px is not None:
        scale = long_side_px / max(image.size)
        image = image.resize((round(image.width * scale), round(image.height * scale)))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality, exif=exif)
    return buffer.getvalue()


@functools.cache
def snap(name: str, *, variant: int = 0) -> bytes:
    """Return a photograph as a phone would send it: a JPEG of 1,280 pixels; each variant has other bytes and pixels."""
    shot = photo(name)
    if variant:
        shot = ImageEnhance.Brightness(shot).enhance(1 + 0.01 * variant)
    return jpeg(shot, long_side_px=1280)


@functools.cache
def blurred(name: str) -> bytes:
    """Return a photograph out of focus."""
    shot = photo(name).resize((1280, 1280 * photo(name).height // photo(name).width))
    return jpeg(shot.filter(ImageFilter.GaussianBlur(16)))


@functools.cache
def dark(name: str) -> bytes:
    """Return a photograph taken in the dark."""
    return jpeg(ImageEnhance.Brightness(photo(name)).enhance(0.08), long_side_px=1280)


@functools.cache
def mirrored(name: str) -> bytes:
    """Return a photograph as in a mirror."""
    return jpeg(ImageOps.mirror(photo(name)), long_side_px=1280)
