"""Describes files from the command line: `python -m gpu_workers.describe < questions > readings`, both JSON lines.

A question is `{"file": path, "phrases": [...]}`; its answer is the readings, or `{"failed": reason}`. The first line of the answer
names the model: `{"model_hash": ..., "preprocessing": ...}`. Calibration is made through this program, so by the very code that
judges.
"""

import itertools
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO, TypedDict

from gpu_workers import decoding
from gpu_workers.vision import base, conse

BATCH = 16


class Question(TypedDict):
    file: str
    phrases: list[str]


def answers(
    questions: Iterator[Question], model: base.VisionModel, decoders: decoding.DecoderPool
) -> Iterator[base.ReadingsJson | dict[str, str]]:
    """Answer questions in their order, a batch at a time."""
    while batch := list(itertools.islice(questions, BATCH)):
        pictures = decoders.decode_all([Path(question["file"]).read_bytes() for question in batch])
        readable = [
            (picture, question) for picture, question in zip(pictures, batch, strict=True) if not isinstance(picture, decoding.Undecodable)
        ]
        readings = iter(model.describe([picture for picture, _ in readable], [question["phrases"] for _, question in readable]))
        for picture in pictures:
            yield {"failed": picture.reason} if isinstance(picture, decoding.Undecodable) else next(readings).as_json()


def main(source: TextIO = sys.stdin, target: TextIO = sys.stdout) -> None:
    """Describe all of standard input."""
    model = conse.Conse()
    print(json.dumps({"model_hash": model.model_hash, "preprocessing": model.preprocessing}), file=target)
    with decoding.DecoderPool(2) as decoders:
        for answer in answers(map(json.loads, source), model, decoders):
            print(json.dumps(answer), file=target, flush=True)


if __name__ == "__main__":
    main()
