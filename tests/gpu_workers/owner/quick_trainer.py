"""A trainer without torch: it says steps, writes what `work` says any training gives, and waits where a file tells it to.

The program starts it as it starts the real one. A file ``hold`` in the run's folder's parent keeps it at half of its steps, with a child
of its own that lives as a sandbox would; ``crash`` makes it end without a word there.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from gpu_workers.owner import child, folder
from tests.gpu_workers.owner import work


def main() -> int:
    parent_pid, path = int(sys.argv[1]), Path(sys.argv[2])
    child.bind_to(parent_pid)
    assert "ATOMS_API_KEY" not in os.environ
    job = folder.read(path / "job.json")
    assert job is not None
    home = path.parent.parent
    for step in range(0, work.STEPS // 2 + 1, 10):
        child.say(step=step)
    if (home / "crash").exists():
        return 1
    if (home / "hold").exists():
        _hold(home)
    checkpoints = path / "work"
    checkpoints.mkdir(exist_ok=True)
    names = [f"work/checkpoint-{index}.safetensors" for index in range(work.CHECKPOINTS + 1)]
    for index, name in enumerate(names):
        folder.write_bytes(path / name, work.checkpoint(int(str(job["seed"])), index))
    spec = job["spec"]
    assert isinstance(spec, dict)
    report = work.report(str(job["run_id"]), int(str(job["seed"])), spec)
    folder.write(path / "result.json", {"report": report, "checkpoints": [*names]})
    child.say(step=work.STEPS)
    return 0


def _hold(home: Path) -> None:
    """Wait while the file is there, deaf to a polite stop, with a busy process below in a session of its own."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    below = subprocess.Popen([sys.executable, "-c", "import signal\nsignal.pause()"], start_new_session=True)
    folder.write(home / "held.json", {"pids": [os.getpid(), below.pid]})
    try:
        while (home / "hold").exists():
            time.sleep(0.02)
    finally:
        below.kill()
        below.wait()


if __name__ == "__main__":
    sys.exit(main())
