"""Fifteen ways in which a photograph is edited to pass for another one; each is a function of picture and random numbers."""

import io
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont, ImageOps

Random = np.random.Generator


def recompressed(picture: Image.Image, quality: int) -> Image.Image:
    target = io.BytesIO()
    picture.convert("RGB").save(target, "JPEG", quality=quality)
    return Image.open(target).convert("RGB")


def cropped(picture: Image.Image, share: float, across: float, down: float) -> Image.Image:
    """Keep `share` of each side; `across` and `down` place the rest, 0 to 1."""
    width, height = int(picture.width * share), int(picture.height * share)
    left, top = int((picture.width - width) * across), int((picture.height - height) * down)
    return picture.crop((left, top, left + width, top + height))


def written_over(picture: Image.Image, text: str) -> Image.Image:
    copy = picture.copy()
    font = ImageFont.load_default(size=max(12, picture.height // 7))
    ImageDraw.Draw(copy).text((picture.width * 0.05, picture.height * 0.42), text, fill="white", font=font)
    return copy


def skewed(picture: Image.Image, most: float, random: Random) -> Image.Image:
    # Upper left, lower left, lower right, upper right, as (across, down); each is pushed inwards.
    corners = [abs(corner - random.uniform(0, most)) for corner in (0, 0, 0, 1, 1, 1, 1, 0)]
    scaled = [corner * (picture.height if index % 2 else picture.width) for index, corner in enumerate(corners)]
    return picture.transform(picture.size, Image.Transform.QUAD, scaled, Image.Resampling.BICUBIC)


def noisy(picture: Image.Image, spread: float, random: Random) -> Image.Image:
    values = np.asarray(picture).astype(np.float32)
    return Image.fromarray(np.clip(values + random.normal(0, spread, values.shape), 0, 255).astype(np.uint8))


def photographed_again(picture: Image.Image, random: Random) -> Image.Image:
    """A stand-in for a photograph of a screen: tilted, skewed, duller, softer, noisier, recompressed. Real ones are harder."""
    tilted = picture.rotate(4, expand=True, fillcolor=(40, 40, 40), resample=Image.Resampling.BICUBIC)
    dull = ImageEnhance.Color(ImageEnhance.Brightness(skewed(tilted, 0.08, random)).enhance(0.8)).enhance(0.7)
    return recompressed(noisy(dull.filter(ImageFilter.GaussianBlur(1)), 6, random), 60)


EDITS: dict[str, Callable[[Image.Image, Random], Image.Image]] = {
    "jpeg 30": lambda picture, _: recompressed(picture, 30),
    "a third of the size": lambda picture, _: picture.resize((max(40, picture.width // 3), max(40, picture.height // 3))),
    "blur": lambda picture, _: picture.filter(ImageFilter.GaussianBlur(max(picture.size) / 200)),
    "crop to half, centre": lambda picture, _: cropped(picture, 0.7071, 0.5, 0.5),
    "crop to half, corner": lambda picture, _: cropped(picture, 0.7071, 0, 1),
    "quarter turn": lambda picture, _: picture.transpose(Image.Transpose.ROTATE_90),
    "tilt by 10 degrees": lambda picture, _: picture.rotate(10, resample=Image.Resampling.BICUBIC),
    "mirror": lambda picture, _: ImageOps.mirror(picture),
    "border": lambda picture, _: ImageOps.expand(picture, int(max(picture.size) * 0.12), "white"),
    "text": lambda picture, _: written_over(picture, "FOR SALE 2026"),
    "bright and hard": lambda picture, _: ImageEnhance.Contrast(ImageEnhance.Brightness(picture).enhance(1.35)).enhance(1.3),
    "grey": lambda picture, _: picture.convert("L").convert("RGB"),
    "noise": lambda picture, random: noisy(picture, 20, random),
    "skew": lambda picture, random: skewed(picture, 0.12, random),
    "photographed again": photographed_again,
}
