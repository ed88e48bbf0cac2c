"""PDQ against hashes made by its authors' C++ program (pdqhash 0.2.8) from the same pixels."""

import numpy as np
import pytest
from PIL import Image

from tests.verification import photographs
from verification import pdq, pictures

AUTHORS = {
    "astronaut": ("2d6b1af3a956c529e79ca3d2526fa834d4196c81cedd04de0a26b855fc99b724", 100),
    "cat": ("5feb5321f01da156898e2bf629a5d3438412cdbd23f48942464526315db33ffd", 100),
    "coins": ("8ee552196df86aa552b514e6e505e0319aeb1aaea4a5d935dd4a675a1a56a555", 100),
    "camera": ("dc9c9d3b746978f888f40ce6e5c3f70f7266623e8d989cb99f21f2010841e1c7", 100),
    "moon": ("131645cde366d981e1e371b264d8b25b9e4d13771d8c4f366d946ca57133d0c9", 83),
}
# How the astronaut's hash begins when the photo is turned or mirrored, by the same program.
AUTHORS_EIGHT = {"2d6b1af3", "3da7e51d", "783ab059", "68f24fb3", "0d6be50c", "783a4fa6", "3da71ae2", "68f2b04c"}


def luma(image: Image.Image) -> pdq.Floats:
    return np.asarray(np.asarray(image.convert("RGB"), dtype=np.float32) @ pictures.LUMA, dtype=np.float32)


@pytest.mark.parametrize("name", AUTHORS)
def test_gives_the_same_bits_and_quality(name: str) -> None:
    computed = pdq.compute(luma(photographs.photo(name)))
    assert (computed.hashes[0].hex(), computed.quality) == AUTHORS[name]


def test_gives_the_same_rotations_and_mirrors() -> None:
    assert {one.hex()[:8] for one in pdq.compute(luma(photographs.photo("astronaut"))).hashes} == AUTHORS_EIGHT


def test_has_no_quality_where_there_is_nothing_to_see() -> None:
    assert pdq.compute(np.full((300, 400), 127.0, dtype=np.float32)).quality == 0
    assert pdq.compute(np.zeros((4, 400), dtype=np.float32)) == ((bytes(32),) * 8, 0)


def test_finds_the_least_distance_over_many() -> None:
    hashes = [pdq.compute(luma(photographs.photo(name))).hashes for name in AUTHORS]
    known = np.frombuffer(b"".join(one[0] for one in hashes), dtype=np.uint64).reshape(-1, 4)
    for number, wanted in enumerate(hashes):
        expected = [min(pdq.distance(one, other[0]) for one in wanted) for other in hashes]
        assert pdq.distances(wanted, known).tolist() == expected
        assert expected[number] == 0
