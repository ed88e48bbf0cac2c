"""The process that trains one leased run: started, watched and killed by the owner's program. It has no key and asks nobody anything.

``python -m gpu_workers.owner.train_child PARENT_PID RUN_FOLDER`` reads job.json and tree.json there, says its progress on stdout and
leaves result.json, which is there only when the training is finished and on the disk. The stranger's code runs below it, in the sandbox.
"""

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from pydantic import JsonValue

from gpu_workers.owner import child, train_job
from gpu_workers.owner import folder as folders
from gpu_workers.runner import broker, checkpoints, conversation, training
from gpu_workers.sandbox import levels
from verification.replay import trees

DONE, FAILED, STOPPED = 0, 3, 4


def main(argv: Sequence[str] | None = None) -> int:
    """Train the run of a folder; return an exit code."""
    parent_pid, path = argv if argv is not None else sys.argv[1:]
    child.bind_to(int(parent_pid))
    stop = child.Stop()
    signal.signal(signal.SIGTERM, stop.ask)
    # Beside the games and compilers of the owner, this comes last.
    os.nice(10)
    return train(Path(path), stop)


def train(folder: Path, should_stop: child.Stop) -> int:
    """Train what job.json says, with everything the trainer keeps in ``work/``."""
    written = folders.read(folder / "job.json")
    if written is None:
        raise folders.BrokenFolder(f"{folder / 'job.json'} is missing.")
    job = train_job.Job.of(written)
    try:
        levels.require(job.spec.sandbox_level)
        finished = training.replay(
            spec=job.spec,
            files=trees.parse_tree((folder / "tree.json").read_bytes()),
            seed=job.seed,
            class_key=job.class_key,
            data=job.data,
            folder=folder / "work",
            run_id=job.run_id,
            place=conversation.Place(level=job.level, threads=job.threads),
            on_progress=lambda progress: child.say(step=progress.step),
            should_stop=should_stop,
        )
    except conversation.Stopped:
        return STOPPED
    except (conversation.RunFailed, checkpoints.BadCheckpoint) as error:
        print(error, file=sys.stderr)
        return _failed(error.code)
    except broker.WrongData as error:
        print(error, file=sys.stderr)
        return _failed("wrong_data")
    except training.WrongClass as error:
        print(error, file=sys.stderr)
        return _failed("wrong_class")
    except levels.LevelNotReached as error:
        print(error, file=sys.stderr)
        return _failed("sandbox_level")
    _keep(folder, finished)
    return DONE


def _failed(code: str) -> int:
    child.say(failed=code)
    return FAILED


def _keep(folder: Path, finished: training.Finished) -> None:
    paths: list[JsonValue] = [str(path.relative_to(folder)) for path in finished.checkpoint_paths]
    folders.write(folder / "result.json", {"report": cast(JsonValue, finished.report.to_json()), "checkpoints": paths})


if __name__ == "__main__":
    sys.exit(main())
