"""What a trainer is told to train, as the file job.json says it. Light: the program that writes it needs no torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from pydantic import JsonValue

from gpu_workers.owner import folder as folders
from verification.replay.classes import ClassKey
from verification.replay.spec import Spec


@dataclass(frozen=True)
class Job:
    """What is to be trained, as job.json says it."""

    run_id: str
    spec: Spec
    seed: int
    class_key: ClassKey
    data: Mapping[str, Path]
    level: str
    threads: int

    def to_json(self) -> folders.JsonObject:
        """Return what `of` reads."""
        data: dict[str, JsonValue] = {name: str(path) for name, path in self.data.items()}
        return {
            "run_id": self.run_id,
            "spec": cast(JsonValue, self.spec.to_json()),
            "seed": self.seed,
            "class_key": self.class_key.text,
            "data": data,
            "level": self.level,
            "threads": self.threads,
        }

    @classmethod
    def of(cls, written: folders.JsonObject) -> "Job":
        """Read what `to_json` wrote."""
        return cls(
            run_id=str(written["run_id"]),
            spec=Spec.from_json(written["spec"]),
            seed=cast(int, written["seed"]),
            class_key=ClassKey.parse(str(written["class_key"])),
            data={name: Path(str(path)) for name, path in cast("Mapping[str, JsonValue]", written["data"]).items()},
            level=str(written["level"]),
            threads=cast(int, written["threads"]),
        )
