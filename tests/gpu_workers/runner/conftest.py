"""One small run and one of the byte-level model, trained once for all tests of the runner."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from gpu_workers.runner import training
from gpu_workers.runner.workloads.byte_lm import workload
from tests.gpu_workers.runner import small
from verification.replay.spec import Spec


@dataclass(frozen=True)
class Trained:
    """A run at hand: what it was made from, and what came out."""

    spec: Spec
    files: Mapping[str, str]
    data: Mapping[str, Path]
    seed: int
    finished: training.Finished

    @property
    def checkpoints(self) -> dict[int, Path]:
        """Every checkpoint by its number."""
        return dict(enumerate(self.finished.checkpoint_paths))


@pytest.fixture(scope="session")
def small_data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return small.write_data(tmp_path_factory.mktemp("small-data"))


@pytest.fixture(scope="session")
def small_spec(small_data: Mapping[str, Path]) -> Spec:
    return small.spec(small_data)


@pytest.fixture(scope="session")
def small_run(small_data: Mapping[str, Path], small_spec: Spec, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Eight steps of the small tree."""
    finished = small.replay(terms=small_spec, tree=small.files(), data=small_data, folder=tmp_path_factory.mktemp("small-run"))
    return Trained(small_spec, small.files(), small_data, 5, finished)


@pytest.fixture(scope="session")
def calibration_run(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Forty steps of the byte-level model."""
    job = workload.calibration(tmp_path_factory.mktemp("byte-data"))
    finished = small.replay(terms=job.spec, tree=job.files, data=job.data, folder=tmp_path_factory.mktemp("byte-run"), seed=job.seed)
    return Trained(job.spec, job.files, job.data, job.seed, finished)
