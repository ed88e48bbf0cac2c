"""A replay in a process of its own, for a test that kills it: `python -m tests.gpu_workers.runner.training.killed DATA FOLDER`.

Says each step on its output, and waits for a line on its input after each, so that the test chooses the moment.
"""

import sys
from pathlib import Path

from gpu_workers.runner import training
from tests.gpu_workers.runner import small


def said(progress: training.Progress) -> None:
    """Say a step and wait to be let on."""
    print(progress.step, flush=True)
    sys.stdin.readline()


def main() -> None:
    """Replay the small tree."""
    data, folder = map(Path, sys.argv[1:])
    paths = {path.name: path for path in data.iterdir()}
    training.replay(
        spec=small.spec(paths),
        files=small.files(),
        seed=5,
        class_key=small.CPU,
        data=paths,
        folder=folder,
        run_id="rpl_test",
        place=small.PLACE,
        on_progress=said,
    )
    # The launcher of strangers' code has no torch in it, whatever was done.
    assert not any(name == "torch" or name.startswith("torch.") for name in sys.modules)
    print("finished", flush=True)


if __name__ == "__main__":
    main()
