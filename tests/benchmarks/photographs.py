"""Gathers the labelled real photographs that packages ship into a folder outside the repository, with a manifest.

Run: `python -m tests.benchmarks.photographs --into DIR`. It downloads the Debian packages with `apt-get download`, unpacks them
with `dpkg -x` and reads the installed scikit-image and scikit-learn. The photographs keep their packages' licences and are never
committed; `labelled_photographs.tsv` holds only where each one is, what kinds of thing it shows, and its caption, written by
looking at it (Tux Paint's stamps keep their own captions where those describe the picture).
"""

import argparse
import csv
import importlib.util
import io
import json
import struct
import subprocess
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from PIL import Image

LABELS = Path(__file__).with_name("labelled_photographs.tsv")
PYTHON_PACKAGES = {"scikit-image": "skimage", "scikit-learn": "sklearn"}
LONG_SIDE_PX = 1600


@dataclass(frozen=True)
class Label:
    """Where one photograph lies in its package and what it shows.

    `kinds` are words that are true of the photograph, the broadest first: two photographs with the same first word are "the same
    category", and a caption made of any of these words is no false caption for it.
    """

    package: str
    path: str
    kinds: list[str]
    caption: str

    @property
    def file_name(self) -> str:
        stem = self.path.removeprefix("usr/share/").rpartition(".")[0]
        return f"{self.package}--{stem.replace('/', '-').replace('#', '-')}.jpg"


def labels() -> list[Label]:
    """Read the label table."""
    with LABELS.open(encoding="utf-8", newline="") as file:
        return [Label(package, path, kinds.split(), caption) for package, path, kinds, caption in csv.reader(file, delimiter="\t")]


def resource_files(container: bytes) -> Iterator[tuple[str, bytes]]:
    """Walk a Qt resource container (`.rcc`, format of Qt's rcc tool): yield (file name, bytes)."""
    if container[:4] != b"qres":
        raise ValueError("not a Qt resource container")
    version, tree, data, names = struct.unpack_from(">4I", container, 4)
    node_size = 22 if version >= 2 else 14

    def walk(index: int) -> Iterator[tuple[str, bytes]]:
        name_at, flags, first, second = struct.unpack_from(">IHII", container, tree + index * node_size)
        if flags & 2:
            for child in range(second, second + first):
                yield from walk(child)
            return
        (length,) = struct.unpack_from(">H", container, names + name_at)
        name = container[names + name_at + 6 : names + name_at + 6 + 2 * length].decode("utf-16-be")
        (size,) = struct.unpack_from(">I", container, data + second)
        content = container[data + second + 4 : data + second + 4 + size]
        yield name, zlib.decompress(content[4:]) if flags & 1 else content

    return walk(0)


def package_root(package: str, scratch: Path) -> Path:
    """Give the folder that holds a package's files, downloading a Debian package at need."""
    if package in PYTHON_PACKAGES:
        spec = importlib.util.find_spec(PYTHON_PACKAGES[package])
        if spec is None or spec.origin is None:
            raise FileNotFoundError(f"{package} is not installed")
        return Path(spec.origin).parents[1]
    root = scratch / package
    if not root.exists():
        scratch.mkdir(parents=True, exist_ok=True)
        subprocess.run(["apt-get", "download", package], cwd=scratch, check=True)
        (archive,) = scratch.glob(f"{package}_*.deb")
        subprocess.run(["dpkg", "-x", archive, root], check=True)
    return root


def read(label: Label, scratch: Path) -> bytes:
    """Read one photograph's bytes from its package."""
    path, _, inner = label.path.partition("#")
    file = package_root(label.package, scratch) / path
    if not inner:
        return file.read_bytes()
    return next(content for name, content in resource_files(file.read_bytes()) if name == inner)


def save(raw: bytes, target: Path) -> None:
    """Write a photograph as the JPEG that a phone would send: on white where it was cut out, at most 1600 px long."""
    picture = Image.open(io.BytesIO(raw)).convert("RGBA")
    ground = Image.new("RGBA", picture.size, "white")
    ground.alpha_composite(picture)
    photograph = ground.convert("RGB")
    photograph.thumbnail((LONG_SIDE_PX, LONG_SIDE_PX))
    photograph.save(target, "JPEG", quality=90)


def gather(into: Path) -> int:
    """Fill `into` with photographs and `manifest.json`; return how many there are."""
    into.mkdir(parents=True, exist_ok=True)
    entries = []
    for label in labels():
        target = into / label.file_name
        if not target.exists():
            save(read(label, into / "packages"), target)
        entries.append({"file": target.name, **asdict(label)})
    if len({entry["file"] for entry in entries}) != len(entries):
        raise ValueError("two labels give the same file name")
    (into / "manifest.json").write_text(json.dumps(entries, indent=1, ensure_ascii=False))
    return len(entries)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--into", type=Path, required=True)
    print(f"{gather(parser.parse_args().into)} photographs")
