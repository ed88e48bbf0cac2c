"""python -m tests.faults.media: hostile files cost little and leave nothing, no place is ever served, and links to photos end.

Three parts. Files that attack a decoder go through the real intake, each in a process that measures the decoder. Photos
that tell where somebody lives are handed in over HTTP, and everything that any route then answers to anybody but a
trusted lease is searched for the place. Links to photos are tried by whoever they are not for, and when their time is over.
"""

import argparse
import contextlib
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from tasks import intake
from tests.faults import campaign, located_photos, photo_links
from tests.faults.hostile_files import bombs
from tests.faults.hostile_files.measured import Taken

ROUNDS = 500
MOST_RSS_MB = 512.0
MOST_CPU_S = 5.0
# Decoders at once: each may hold half a gigabyte.
_AT_ONCE = 2


@contextlib.contextmanager
def intake_process(program: Path | None = None) -> Iterator["IntakeProcess"]:
    """Start the process that takes files in and measures; with a ``program``, that is run in place of the product's decoder."""
    with tempfile.TemporaryDirectory() as media, tempfile.TemporaryDirectory() as temporary:
        command = [sys.executable, "-m", "tests.faults.hostile_files.measured", *([str(program)] if program else [])]
        surroundings = {"DJANGO_SETTINGS_MODULE": "market.config.settings", "ATOMS_MEDIA_DIR": media, "TMPDIR": temporary}
        with subprocess.Popen(
            command, cwd=campaign.ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, **surroundings}
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                yield IntakeProcess(process.stdin, process.stdout)
            finally:
                process.kill()


class IntakeProcess:
    """Takes one file after the other."""

    def __init__(self, stdin: IO[bytes], stdout: IO[bytes]) -> None:
        self._stdin, self._stdout = stdin, stdout

    def take(self, raw: bytes) -> Taken:
        """Take a file in and return what it cost."""
        self._stdin.write(len(raw).to_bytes(8, "big") + raw)
        self._stdin.flush()
        line = self._stdout.readline()
        return Taken(**json.loads(line)) if line else Taken(crash="the parent of all decoders died")


def hostile_files(dice: random.Random, kinds: Sequence[str], drawn: int) -> Iterator[tuple[str, bytes]]:
    """Yield each kind of bomb once, then drawn cuts and turned bits."""
    for name in kinds:
        yield name, bombs.KINDS[name](dice)
    for number in range(drawn):
        yield (bombs.cut if number % 2 else bombs.flipped)(dice)


def take_hostile_files(report: campaign.Report, *, seed: int, kinds: Sequence[str], drawn: int) -> None:
    """Take all of them in, some at once; note what broke a promise."""
    files, lock, peaks = hostile_files(random.Random(seed), kinds, drawn), threading.Lock(), {"rss": 0.0, "cpu": 0.0, "wall": 0.0}

    def work() -> None:
        with intake_process() as process:
            while True:
                with lock:
                    name, raw = next(files, ("", b""))
                if not name:
                    return
                taken = process.take(raw)
                with lock:
                    report.count("hostile files")
                    report.count("refused" if taken.reason else "taken in whole")
                    report.violations += [f"seed {seed}: {name}: {broken}" for broken in broken_promises(taken)]
                    for what, cost in (("rss", taken.rss_mb), ("cpu", taken.cpu_s), ("wall", taken.wall_s)):
                        peaks[what] = max(peaks[what], cost)

    workers = [threading.Thread(target=work) for _ in range(_AT_ONCE)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if report.figures.get("hostile files") != len(kinds) + drawn:
        report.violations.append(f"seed {seed}: only {report.figures.get('hostile files')} hostile files were tried.")
    report.figures |= {
        "kinds": len(kinds),
        "largest RSS of a decoder, MB": round(peaks["rss"], 1),
        "longest CPU of a decoder, s": round(peaks["cpu"], 2),
        "longest wait, s": round(peaks["wall"], 2),
    }


def broken_promises(taken: Taken) -> list[str]:
    """Return the promises that one file broke. Its time is the decoder's CPU time: a busy machine is no bomb."""
    broken = [*taken.left]
    if taken.crash:
        broken.append(f"crashed: {taken.crash}")
    if taken.reason.startswith("unknown"):
        broken.append(taken.reason)
    if taken.rss_mb > MOST_RSS_MB:
        broken.append(f"held {taken.rss_mb:.0f} MB")
    if taken.cpu_s > MOST_CPU_S:
        broken.append(f"took {taken.cpu_s:.1f} s")
    return broken


# A stranger's code in the decoder's place: it takes its time, or starts a process that outlives its group.
_DAWDLES = f"import time\nwhile time.process_time() < {MOST_CPU_S + 0.2}: pass\n"
_ESCAPES = "import os, time\nif not os.fork():\n    os.setsid()\n    os.close(1)\n    time.sleep(600)\n"


def see_controls(report: campaign.Report) -> None:
    """Show that each promise can be seen broken: memory without the limits, time, and a process that gets away."""
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder, "program.py")
        taken: dict[str, Taken] = {}
        for word, code, raw in (
            ("held", without_limits(), bombs.png(11_500, 11_500)),
            ("took", _DAWDLES, b"x"),
            ("still run", _ESCAPES, b"x"),
        ):
            program.write_text(code)
            with intake_process(program) as process:
                taken[word] = process.take(raw)
    report.figures["control: RSS without limits, MB"] = round(taken["held"].rss_mb, 1)
    report.figures["control: CPU of a decoder that dawdles, s"] = round(taken["took"].cpu_s, 2)
    for word, seen in taken.items():
        if not any(word in broken for broken in broken_promises(seen)):
            report.violations.append(f"The control is blind to what {word}: {seen}")


def without_limits() -> str:
    """Return the decoder's program with its limits lifted."""
    program = Path(intake.__file__).read_text(encoding="utf-8")
    for name, much in (("ADDRESS_SPACE_BYTES", "64 << 30"), ("CPU_S", "60"), ("MAX_PIXELS", "10**10")):
        program, found = re.subn(rf"^{name} = .*$", f"{name} = {much}", program, flags=re.MULTILINE)
        assert found == 1, name
    return program


def run(options: argparse.Namespace) -> campaign.Report:
    """Run all three parts; ``--rounds`` counts the photos that tell a place, and as many cut and spoilt files."""
    report = campaign.Report()
    take_hostile_files(report, seed=options.seed, kinds=list(bombs.KINDS), drawn=options.rounds)
    see_controls(report)
    located_photos.serve(report, seed=options.seed, count=options.rounds)
    located_photos.see_controls(report, seed=options.seed)
    photo_links.try_all(report, seed=options.seed)
    return report


if __name__ == "__main__":
    campaign.command("tests.faults.media", description=__doc__ or "", rounds=ROUNDS, run=run)
