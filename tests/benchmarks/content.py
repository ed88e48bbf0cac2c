"""How well the default vision model answers questions, and how fast it reads photographs.

Run: `python -m tests.benchmarks.photographs --into DIR`, then `python -m tests.benchmarks.content --photos DIR`. The accuracy is that
of `manage.py calibrate_checks`, read from its table; the times are measured here, photographs decoded beforehand.
"""

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

from gpu_workers import decoding
from gpu_workers.vision import base, conse
from verification import calibrating, calibration

ROUNDS = 5
BATCHES = (1, 8, 32)


def started_in_s() -> float:
    """Time a fresh process up to its first reading."""
    program = "from gpu_workers.vision import loading; loading.default_model(1)"
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", program], check=True)
    return time.perf_counter() - started


def cpu_ms_each(model: base.VisionModel, pictures: list[base.Picture]) -> float:
    """Give the median processor time of one photograph in a batch, all threads together, in milliseconds."""
    phrases = [["Show a cup of coffee on a table."]] * len(pictures)
    times = []
    for _ in range(ROUNDS):
        started = time.process_time()
        model.describe(pictures, phrases)
        times.append((time.process_time() - started) * 1e3 / len(pictures))
    return statistics.median(times)


def main(folder: Path) -> None:
    """Measure and print."""
    print(calibrating.report(calibration.table()))
    print(f"fresh process to first reading: {statistics.median(started_in_s() for _ in range(3)):.1f} s, median of 3")
    files = sorted(folder.glob("*.jpg"))[: max(BATCHES)]
    raw = [file.read_bytes() for file in files]
    with decoding.DecoderPool(1) as decoders:
        decoders.decode_all(raw[:1])
        started = time.perf_counter()
        pictures = [picture for picture in decoders.decode_all(raw) if not isinstance(picture, decoding.Undecodable)]
        print(f"decoding in one child: {(time.perf_counter() - started) * 1e3 / len(raw):.1f} ms each, mean of {len(raw)}")
    model = conse.Conse()
    model.describe(pictures[:1], [["warm"]])
    single = cpu_ms_each(model, pictures[:1])
    for batch in BATCHES:
        each = cpu_ms_each(model, pictures[:batch])
        print(f"batch of {batch}: {each:.0f} CPU-ms a photograph, median of {ROUNDS}, {single / each:.2f} times a batch of 1")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, required=True)
    main(parser.parse_args().photos)
