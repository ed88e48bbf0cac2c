"""The simulated worker's album tells the truth ..."""

import io
import sys

import pytest
from PIL import Image

from agents_sdk import scenes

ALBUM = scenes.find_all()


def name(scene: scenes.Scene | None) -> str:
    return scene.file.rpartition("/")[2] if scene else ""


def test_every_photograph_is_on_this_machine_with_licence_and_source() -> None:
    assert set(ALBUM) == set(scenes.SCENES)
    assert all(scene.licence and scene.source for scene in ALBUM)
    assert all(path.stat().st_size > 10_000 for path in ALBUM.values())


def test_packages_are_located_not_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    for loaded in [loaded for loaded in sys.modules if loaded.partition(".")[0] in ("skimage", "sklearn")]:
        monkeypatch.delitem(sys.modules, loaded)
    scenes._folder_of.cache_clear()
    assert scenes.find_all() == ALBUM
    assert not {"skimage", "sklearn"} & set(sys.modules)


@pytest.mark.parametrize(
    ("phrases", "file"),
    [
        (["a cup of coffee on a table"], "coffee.png"),
        (["a coffee cup", "a spoon"], "coffee.png"),
        (["Is there a cup of coffee on the table?"], "coffee.png"),
        (["flowers"], "flower.jpg"),
        (["a tabby cat"], "chelsea.png"),
        (["the brick wall"], "brick.png"),
        (["a pagoda at the lake"], "china.jpg"),
    ],
)
def test_it_finds_what_truly_shows_everything_asked(phrases: list[str], file: str) -> None:
    assert name(scenes.that_shows(phrases, ALBUM)) == file


@pytest.mark.parametrize(
    "phrases", [["the bakery's door sign"], ["a cup of tea"], ["a cup of coffee", "a dog"], ["hot coffee"], [], [""], ["show me that"]]
)
def test_it_finds_nothing_where_nothing_truly_shows_it(phrases: list[str]) -> None:
    assert scenes.that_shows(phrases, ALBUM) is None


def test_a_cheat_shows_nothing_of_what_was_asked() -> None:
    other = scenes.that_does_not_show(["a cup of coffee on a table"], ALBUM)
    assert other is not None
    assert not other.words & {"cup", "coffee", "table"}


def test_a_shot_is_a_plain_jpeg_of_the_size_asked_and_the_same_for_the_same_seed() -> None:
    scene = next(scene for scene in ALBUM if name(scene) == "coffee.png")
    shot = scenes.take(ALBUM[scene], seed="one", short_side_px=720)
    assert shot == scenes.take(ALBUM[scene], seed="one", short_side_px=720)
    assert shot != scenes.take(ALBUM[scene], seed="two", short_side_px=720)
    with Image.open(io.BytesIO(shot)) as picture:
        assert (picture.format, min(picture.size), dict(picture.getexif())) == ("JPEG", 720, {})
