"""The simulated worker's album: licensed photographs that come with packages, what each truly shows, and how it takes them.

It reads files that lie on this machine already and fetches nothing. Nothing here judges a photograph.
"""

import functools
import importlib.util
import io
import random
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageEnhance, ImageFilter

_SCIKIT_IMAGE, _SCIKIT_LEARN = "skimage/data", "sklearn/datasets/images"
_CC0 = "CC0 1.0"
_CC_BY = "CC BY 2.0"


@dataclass(frozen=True, slots=True)
class Scene:
    """A photograph and the truth about it: every one of ``words`` can be seen in it."""

    file: str
    words: frozenset[str]
    licence: str
    source: str


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _scene(file: str, words: str, licence: str, source: str) -> Scene:
    return Scene(file, _words(words), licence, source)


# Words are singular. What isn't visible is left out, however likely: nobody can see that the coffee is hot.
SCENES = (
    _scene(
        f"{_SCIKIT_IMAGE}/coffee.png",
        "coffee cup espresso mug saucer plate dish spoon teaspoon table tabletop wood wooden drink beverage red",
        _CC0,
        "Rachel Michetti, courtesy of Pikolo Espresso Bar",
    ),
    _scene(
        f"{_SCIKIT_IMAGE}/chelsea.png",
        "cat tabby animal pet face head eye whisker nose ear fur ginger",
        _CC0,
        "Stefan van der Walt",
    ),
    _scene(
        f"{_SCIKIT_IMAGE}/astronaut.png",
        "astronaut spacesuit suit helmet flag shuttle orange person woman smile",
        "public domain",
        "NASA, Great Images",
    ),
    _scene(
        f"{_SCIKIT_IMAGE}/rocket.jpg",
        "rocket launchpad pad tower sky night lamp light spacecraft",
        "public domain",
        "SpaceX Photos",
    ),
    _scene(
        f"{_SCIKIT_IMAGE}/camera.png",
        "camera tripod photographer man person coat grass lawn field building",
        _CC0,
        "Lav Varshney",
    ),
    _scene(f"{_SCIKIT_IMAGE}/brick.png", "brick wall", _CC0, "CC0Textures, Bricks25"),
    _scene(f"{_SCIKIT_IMAGE}/gravel.png", "gravel stone pebble ground", _CC0, "CC0Textures, Gravel04"),
    _scene(f"{_SCIKIT_IMAGE}/grass.png", "grass lawn leaf ground", _CC0, "linolafett"),
    _scene(
        f"{_SCIKIT_LEARN}/china.jpg",
        "pagoda temple pavilion tower building roof tree sky lake water chinese",
        _CC_BY,
        "danielbuechele, flickr.com/photos/danielbuechele/6061409035",
    ),
    _scene(
        f"{_SCIKIT_LEARN}/flower.jpg",
        "flower dahlia blossom bloom petal plant orange yellow",
        _CC_BY,
        "vultilion, flickr.com/photos/vultilion/6056698931",
    ),
)

# Words of questions that say nothing about what is to be seen.
_EMPTY = _words(
    "a an and any are as at be can clear clearly close could do does for from has have here how image in is it its kind me my near"
    " next of on one or our photo photograph picture please see send show shown some take that the there this to us visible we what"
    " where which whole with you your"
)


def find_all() -> dict[Scene, Path]:
    """Return the scenes whose files are on this machine, with their paths. The packages are located, never imported."""
    found = {}
    for scene in SCENES:
        package, _, rest = scene.file.partition("/")
        folder = _folder_of(package)
        if folder is not None and (folder / rest).is_file():
            found[scene] = folder / rest
    return found


def that_shows(phrases: Iterable[str], scenes: Iterable[Scene]) -> Scene | None:
    """Return a scene in which every phrase can truly be seen, or None: each of its telling words must be among the scene's."""
    wanted = [_telling(phrase) for phrase in phrases]
    if not wanted or not all(wanted):
        return None
    return next((scene for scene in scenes if all(words <= scene.words for words in wanted)), None)


def that_does_not_show(phrases: Iterable[str], scenes: Iterable[Scene]) -> Scene | None:
    """Return a scene in which nothing of the phrases can be seen, or None."""
    wanted = frozenset[str]().union(*(_telling(phrase) for phrase in phrases))
    return next((scene for scene in scenes if not wanted & scene.words), None)


def take(path: Path, *, seed: str, short_side_px: int, is_blurred: bool = False) -> bytes:
    """Return a JPEG of the scene as a hand-held phone would take it: the same ``seed`` gives the same bytes.

    Frame, angle and light differ a little from shot to shot, as they do between honest photographs of one scene.
    """
    hand = random.Random(seed)  # noqa: S311 - a wobble, not a secret
    with Image.open(path, formats=("PNG", "JPEG")) as opened:
        scene = opened.convert("RGB")
    scale = short_side_px / min(scene.size)
    size = (round(scene.width * scale), round(scene.height * scale))
    shot = scene.transform(size, Image.Transform.QUAD, _corners(scene.size, hand), resample=Image.Resampling.BICUBIC)
    shot = ImageEnhance.Brightness(shot).enhance(hand.uniform(0.94, 1.06))
    shot = ImageEnhance.Color(shot).enhance(hand.uniform(0.94, 1.06))
    if is_blurred:
        shot = shot.filter(ImageFilter.GaussianBlur(0.015 * max(size)))
    file = io.BytesIO()
    shot.save(file, "JPEG", quality=hand.randint(88, 93))
    return file.getvalue()


def _corners(size: tuple[int, int], hand: random.Random) -> tuple[float, ...]:
    """Return the corners of the frame in the scene, from the upper left against the clock: each up to 4 % inside."""
    width, height = size
    near_x, near_y = 0.04 * width, 0.04 * height
    left, right = (hand.uniform(0, near_x) for _ in range(2)), (width - hand.uniform(0, near_x) for _ in range(2))
    upper, lower = (hand.uniform(0, near_y) for _ in range(2)), (height - hand.uniform(0, near_y) for _ in range(2))
    return (next(left), next(upper), next(left), next(lower), next(right), next(lower), next(right), next(upper))


def _telling(phrase: str) -> frozenset[str]:
    words = re.findall(r"[a-z]+", phrase.lower())
    return frozenset(_singular(word) for word in words if word not in _EMPTY and len(word) > 1)


def _singular(word: str) -> str:
    if word.endswith("s") and not word.endswith("ss") and len(word) > 3:
        return word[:-1]
    return word


@functools.cache
def _folder_of(package: str) -> Path | None:
    spec = importlib.util.find_spec(package)
    return Path(spec.origin).parent if spec is not None and spec.origin is not None else None
