"""From a decoded photograph to what the network sees. Any change here is a new `VERSION`: readings are pinned to it."""

import numpy as np
import torch
from PIL import Image

from gpu_workers.vision.base import Picture

VERSION = "rgb640-squash224-whole224-1"
SIDE_PX = 224
# EfficientNet-Lite was trained on (value - 127) / 128.
MEAN, SPAN = 127.0, 128.0


def as_image(picture: Picture) -> Image.Image:
    """Check shape and type and wrap as a Pillow image.

    Raises:
        ValueError: not height x width x 3 of uint8.
    """
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or min(picture.shape) < 1:
        raise ValueError(f"a photograph is height x width x 3 of uint8, not {picture.shape} of {picture.dtype}")
    return Image.fromarray(picture)


def views(image: Image.Image) -> tuple[torch.Tensor, torch.Tensor]:
    """Give two views of 3 x 224 x 224: squashed to a square, and whole on a ground of its mean colour.

    Both show all of the photograph; a centre crop, as the network was trained on, loses what stands at an edge.
    """
    return _tensor(image.resize((SIDE_PX, SIDE_PX), Image.Resampling.BICUBIC)), _tensor(_whole(image))


def _whole(image: Image.Image) -> Image.Image:
    scale = SIDE_PX / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    small = image.resize(size, Image.Resampling.BICUBIC)
    red, green, blue = np.asarray(small).reshape(-1, 3).mean(axis=0)
    ground = Image.new("RGB", (SIDE_PX, SIDE_PX), (int(red), int(green), int(blue)))
    ground.paste(small, ((SIDE_PX - size[0]) // 2, (SIDE_PX - size[1]) // 2))
    return ground


def _tensor(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy((np.asarray(image, dtype=np.float32) - MEAN) / SPAN).permute(2, 0, 1)
