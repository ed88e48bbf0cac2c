"""How many edited copies PDQ, the learned descriptor and either of them find, and how many distinct photographs they suspect.

Run: `python -m tests.benchmarks.photographs --into DIR`, then `python -m tests.benchmarks.copies --photos DIR`. The half that made the
projection chooses the threshold (the highest likeness of two distinct photographs in it, and a margin); the other half measures.
"""

import argparse
import hashlib
import os
import statistics
import time
from pathlib import Path

import django
import numpy as np
from PIL import Image

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "market.config.settings")
# The thresholds stand beside the checks, and those know models.
django.setup()

from gpu_workers.make_tables import is_for_fit  # noqa: E402
from gpu_workers.vision import base, conse  # noqa: E402
from tests.benchmarks.edits import EDITS  # noqa: E402
from verification import copy_grids, pdq  # noqa: E402
from verification.checks import thresholds  # noqa: E402

BATCH = 16
MARGIN = 0.01
# What looser thresholds would find, and whom they would suspect wrongly.
LOOSER = (0.8, 0.72)


def pictures_of(file: Path, *, with_edits: bool) -> list[base.Picture]:
    """Give a photograph at most 640 px long and, if asked, its fifteen edited copies."""
    picture = Image.open(file).convert("RGB")
    picture.thumbnail((640, 640))
    random = np.random.default_rng(int.from_bytes(hashlib.sha256(file.name.encode()).digest()[:4], "big"))
    edited = [edit(picture, random) for edit in EDITS.values()] if with_edits else []
    for copy in edited:
        copy.thumbnail((640, 640))
    return [np.asarray(one.convert("RGB")) for one in [picture, *edited]]


def descriptors(model: base.VisionModel, pictures: list[base.Picture]) -> np.ndarray:
    """Describe pictures and round as the market stores them."""
    parts = []
    for start in range(0, len(pictures), BATCH):
        batch = pictures[start : start + BATCH]
        parts += [read.descriptor.astype("<f2").astype(np.float32) for read in model.describe(batch, [[]] * len(batch))]
    return np.stack(parts)


def pdq_of(picture: base.Picture) -> pdq.Pdq:
    red, green, blue = (picture[..., channel].astype(np.float32) for channel in range(3))
    image = Image.fromarray(np.clip(0.299 * red + 0.587 * green + 0.114 * blue, 0, 255).astype(np.uint8))
    image.thumbnail((512, 512))
    return pdq.compute(np.asarray(image, dtype=np.float32))


def distinct_likenesses(known: np.ndarray) -> np.ndarray:
    """Give the likeness of every pair of distinct photographs, the higher of both directions."""
    table = np.stack([copy_grids.likeness(one, known) for one in known])
    upper = np.triu_indices(len(known), 1)
    return np.maximum(table, table.T)[upper]


def main(folder: Path) -> None:
    """Measure and print."""
    files = sorted(file for file in folder.glob("*.jpg") if not file.name.startswith("tuxpaint-stamps"))
    model = conse.Conse()
    fit = descriptors(model, [pictures_of(file, with_edits=False)[0] for file in files if is_for_fit(file)])
    fit_top = np.sort(distinct_likenesses(fit))[::-1][:5]
    print(f"fitting half: {len(fit)} photographs, highest likenesses of distinct ones {np.round(fit_top, 3).tolist()}")
    print(f"threshold in use {thresholds.COPY_COSINE}; the fitting half gives {fit_top[0] + MARGIN:.3f}", flush=True)

    pictures = [pictures_of(file, with_edits=True) for file in files if not is_for_fit(file)]
    originals = descriptors(model, [one[0] for one in pictures])
    hashes = np.stack([np.frombuffer(pdq_of(one[0]).hashes[0], dtype="=u8") for one in pictures])
    distinct = np.sort(distinct_likenesses(originals))[::-1]
    print(
        f"held-out half: {len(originals)} photographs, highest likenesses of distinct ones {np.round(distinct[:5], 3).tolist()}", flush=True
    )

    # photographs x edits x photographs
    alike = np.empty((len(pictures), len(EDITS), len(pictures)), np.float32)
    near = np.zeros(alike.shape, bool)
    seconds = []
    for index, views in enumerate(pictures):
        for edit, (copy, view) in enumerate(zip(descriptors(model, views[1:]), views[1:], strict=True)):
            started = time.perf_counter()
            alike[index, edit] = copy_grids.likeness(copy, originals)
            seconds.append(time.perf_counter() - started)
            hashed = pdq_of(view)
            near[index, edit] = (pdq.distances(hashed.hashes, hashes) <= pdq.MAX_DISTANCE) & (hashed.quality >= pdq.MIN_QUALITY)
    print(f"likeness to {len(originals)} photographs: median {statistics.median(seconds) * 1e3:.1f} ms of {len(seconds)}")
    for threshold in (thresholds.COPY_COSINE, *LOOSER):
        report(threshold, alike, near, distinct)


def report(threshold: float, alike: np.ndarray, near: np.ndarray, distinct: np.ndarray) -> None:
    """Print recall by edit and the false matches, at one threshold."""
    same = np.arange(len(alike))
    found = {"PDQ": near[same, :, same], "learned": alike[same, :, same] >= threshold}
    found["either"] = found["PDQ"] | found["learned"]
    false_learned = int((alike >= threshold).sum() - found["learned"].sum())
    false_pdq = int(near.sum() - found["PDQ"].sum())
    suspected = int((distinct >= threshold).sum())
    print(f"threshold {threshold}: {suspected} of {len(distinct)} pairs of distinct photographs taken for copies")
    others = alike.size - alike.shape[0] * alike.shape[1]
    print(f"  edited copies against {others} other photographs: PDQ {false_pdq} false, learned {false_learned}")
    print(f"  {'edit':22}" + "".join(f"{name:>9}" for name in found))
    for number, name in enumerate(EDITS):
        print(f"  {name:22}" + "".join(f"{rates[:, number].mean():9.3f}" for rates in found.values()))
    print(f"  {'mean of ' + str(len(EDITS)):22}" + "".join(f"{rates.mean():9.3f}" for rates in found.values()))
    print(f"  {'weakest':22}" + "".join(f"{rates.mean(axis=0).min():9.3f}" for rates in found.values()), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, required=True)
    main(parser.parse_args().photos)
