"""Makes the tables that the default model keeps: `python -m gpu_workers.make_tables [--photos DIR]`.

`class_vectors.npy` holds the sentence vectors of the 1,000 class names. `copy_projection.npy`, made where a folder of photographs is
given, holds the principal directions of cells in half of them (by their names' digests); the other half measures copies unseen.
"""

import argparse
import hashlib
import json
from pathlib import Path

import numpy as np
import torch

from gpu_workers import decoding
from gpu_workers.vision import base, copies, lite, pictures, sentences, weights

FOLDER = Path(weights.__file__).parent
# Added to each direction's spread: small ones are mostly noise and must not count like large ones.
SOFTENING = 0.1


def class_vectors() -> base.Vector:
    """Embed "a photo of a NAME" for each class name: 1000 x 384, unit rows."""
    names = json.loads(weights.CLASS_NAMES.checked().read_text(encoding="utf-8"))["names"]
    return sentences.SentenceModel(torch.device("cpu")).embed([f"a photo of a {name}" for name in names])


def is_for_fit(file: Path) -> bool:
    """Whether a photograph belongs to the half that tables are made from (the same half as in calibration)."""
    return hashlib.sha256(file.name.encode()).digest()[0] % 2 == 0


@torch.inference_mode()
def copy_projection(files: list[Path]) -> base.Vector:
    """Find the principal directions of the cells of photographs, for both layers, flattened as `copies.CopyProjection` reads them."""
    network = lite.Network(torch.device("cpu"))
    middle, last = [], []
    with decoding.DecoderPool(2) as decoders:
        for picture in decoders.decode_all([file.read_bytes() for file in files]):
            if isinstance(picture, decoding.Undecodable):
                raise picture
            squashed, _ = pictures.views(pictures.as_image(picture))
            maps = network.maps(squashed[None])
            middle.append(copies.cells(maps[0]).reshape(-1, copies.MIDDLE_CHANNELS))
            last.append(copies.cells(maps[1]).reshape(-1, copies.LAST_CHANNELS))
    tables = _directions(np.concatenate(middle), copies.MIDDLE_KEPT), _directions(np.concatenate(last), copies.LAST_KEPT)
    return np.concatenate([table.ravel() for table in tables]).astype(np.float32)


def _directions(cells: base.Vector, kept: int) -> base.Vector:
    """Give channels x kept directions, and as a last row the projection of the mean cell."""
    mean = cells.mean(axis=0)
    spread, directions = np.linalg.eigh(np.cov((cells - mean).T))
    largest = spread.argsort()[::-1][:kept]
    table = directions[:, largest] / np.sqrt(spread[largest] + SOFTENING * spread[largest].mean())
    return np.vstack([table, mean @ table])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, help="a folder of photographs as tests.benchmarks.photographs makes it")
    folder = parser.parse_args().photos
    np.save(FOLDER / "class_vectors.npy", class_vectors().astype(np.float16), allow_pickle=False)
    if folder:
        # Cut-outs on white are left out: their cells are mostly ground.
        chosen = sorted(file for file in folder.glob("*.jpg") if is_for_fit(file) and not file.name.startswith("tuxpaint-stamps"))
        np.save(FOLDER / "copy_projection.npy", copy_projection(chosen), allow_pickle=False)
