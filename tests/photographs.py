"""Real photographs, from packages whose licences allow it (scikit-image, scikit-learn), as the files a phone would send."""

import functools
import io
from pathlib import Path

import skimage
import sklearn  # type: ignore[import-untyped]
from PIL import Image

_FOLDERS = (Path(skimage.__file__).parent / "data", Path(sklearn.__file__).parent / "datasets" / "images")
LONG_SIDE_PX = 1280


@functools.cache
def jpeg(name: str = "coffee.png", *, quality: int = 90) -> bytes:
    """Return the named photograph as a JPEG of `LONG_SIDE_PX`; another quality gives other bytes of the same picture."""
    path = next(folder / name for folder in _FOLDERS if (folder / name).exists())
    photo = Image.open(path).convert("RGB")
    scale = LONG_SIDE_PX / max(photo.size)
    buffer = io.BytesIO()
    photo.resize((round(photo.width * scale), round(photo.height * scale))).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()
