"""The process in which one reader is fuzzed: ``python -m tests.faults.fuzz_driver READER ROUNDS SEED CORPUS FOUND [PLANTED]``."""

import importlib
import importlib.util
import os
import random
import resource
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

LONGEST_S = 5
MOST_MB = 512
# What is watched for new edges: our readers, and Pillow's own Python.
_WATCHED = [
    "market.api.parsing", "market.api.base", "market.api.once", "market.common.money", "market.events.egress",
    "market.payments.providers", "tasks.ids", "tasks.intake", "tasks.text", "agents_sdk", "standardwebhooks", "PIL",
]  # fmt: skip
_PIECES = (b'"', b"\\", b"{", b"[", b"0", b"-", b".", b"e9", b"\x00", b"\xff", b"\n", b":", b"@", b"%00", b"\xed\xa0\x80", b"9" * 20)

Reader = Callable[[bytes], None]


def main(reader: str, rounds: int, seed: int, corpus: Path, found: Path, planted: str) -> None:
    """Fuzz and exit: 0, or another status where something was found, with its input in ``found``."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "market.config.settings")
    atheris = importlib.import_module("atheris") if importlib.util.find_spec("atheris") else None
    if atheris is None:
        readers = _load(planted)
    else:
        with atheris.instrument_imports(include=_WATCHED, enable_loader_override=False):
            readers = _load(planted)
    read, seeds, longest_bytes = readers.READERS[reader]
    for number, good in enumerate(seeds):
        (corpus / f"good-{number}").write_bytes(good)
    if atheris is None:
        print("engine: blind changes", flush=True)
        _change_blindly(read, seeds, rounds, seed, found, longest_bytes)
        return
    print("engine: coverage (atheris)", flush=True)
    arguments = [
        "fuzz", f"-runs={rounds}", f"-seed={seed}", f"-timeout={LONGEST_S}", f"-rss_limit_mb={MOST_MB}", f"-max_len={longest_bytes}",
        f"-artifact_prefix={found}/", "-print_final_stats=1", str(corpus),
    ]  # fmt: skip
    atheris.Setup(arguments, read)
    atheris.Fuzz()


def _load(planted: str) -> Any:
    import django

    django.setup()
    readers = importlib.import_module("tests.faults.fuzz_readers")
    if planted:
        importlib.import_module(planted)
    return readers


def _change_blindly(read: Reader, seeds: Sequence[bytes], rounds: int, seed: int, found: Path, longest_bytes: int) -> None:
    chance = random.Random(seed)
    for _ in range(rounds):
        data = _changed(chance.choice(seeds), seeds, chance)[:longest_bytes]
        # Its default ends the process.
        signal.alarm(LONGEST_S)
        try:
            read(data)
        except BaseException:
            (found / "input").write_bytes(data)
            raise
    signal.alarm(0)
    print(f"stat::number_of_executed_units: {rounds}")
    if resource.getrusage(resource.RUSAGE_SELF).ru_maxrss > MOST_MB * 1024:
        sys.exit("MemoryError: more than 512 MB")


def _changed(good: bytes, seeds: Sequence[bytes], chance: random.Random) -> bytes:
    data = bytearray(good)
    for _ in range(chance.randint(1, 6)):
        place = chance.randint(0, len(data))
        match chance.randrange(5):
            case 0:
                data[place:place] = chance.choice(_PIECES)
            case 1:
                del data[place : place + chance.randint(1, 8)]
            case 2:
                data[place : place + 1] = chance.randbytes(1)
            case 3:
                data[place:place] = data[place : place + chance.randint(1, 64)]
            case _:
                other = chance.choice(seeds)
                data[place:] = other[chance.randint(0, len(other)) :]
    return bytes(data)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]), Path(sys.argv[5]), sys.argv[6] if len(sys.argv) > 6 else "")
