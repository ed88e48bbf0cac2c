"""Makes the calibration table from folders of labelled real photographs (see `tests/benchmarks/photographs.py` for such a folder)."""

import datetime
import json
import subprocess
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import TypedDict, Unpack

from django.core.management.base import BaseCommand, CommandError

from verification import calibrating, calibration


class _Options(TypedDict):
    photos: list[Path]
    write: Path
    made_on: datetime.date


class Command(BaseCommand):
    """`manage.py calibrate_checks --photos DIR`: asks the vision model, chooses thresholds, proves them, writes the table."""

    help = "Make verification/calibration_table.json from labelled photographs: DIR/manifest.json lists file, package, kinds, caption."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--photos", type=Path, action="append", required=True, help="folder with manifest.json; may be repeated")
        parser.add_argument("--write", type=Path, default=calibration.TABLE)
        parser.add_argument("--made-on", type=datetime.date.fromisoformat, default=datetime.datetime.now(tz=datetime.UTC).date())

    def handle(self, *_args: object, **options: Unpack[_Options]) -> None:
        """Run the command."""
        photographs = [photograph for folder in options["photos"] for photograph in calibrating.read_manifest(folder)]
        pairs = calibrating.pair(photographs)
        model_hash, preprocessing = _score(pairs)
        table = calibrating.make_table(pairs, model_hash=model_hash, preprocessing=preprocessing, made_on=options["made_on"])
        options["write"].write_text(table.model_dump_json(indent=1) + "\n", encoding="utf-8")
        self.stdout.write(calibrating.report(table))


def _score(pairs: list[calibrating.Pair]) -> tuple[str, str]:
    """Fill in the scores of all pairs by the vision worker's own program; return the model's hash and preprocessing version."""
    by_file: dict[Path, list[calibrating.Pair]] = {}
    for pair in pairs:
        by_file.setdefault(pair.file, []).append(pair)
    questions = "".join(
        json.dumps({"file": str(file), "phrases": [pair.question for pair in asked]}) + "\n" for file, asked in by_file.items()
    )
    # A program of its own: the server's code must never load torch.
    answered = subprocess.run(
        [sys.executable, "-m", "gpu_workers.describe"], input=questions, stdout=subprocess.PIPE, text=True, check=False
    )
    if answered.returncode:
        raise CommandError("The vision program failed; is the extra `vision` installed?")
    model, *readings = map(json.loads, answered.stdout.splitlines())
    for (file, asked), read in zip(by_file.items(), readings, strict=True):
        if "failed" in read:
            raise CommandError(f"{file} can't be read: {read['failed']}")
        for pair, score in zip(asked, read["phrase_scores"], strict=True):
            pair.score = score
    return model["model_hash"], model["preprocessing"]
