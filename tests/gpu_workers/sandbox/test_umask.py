"""The launcher's own habits about files must not keep the stranger's user from the sandbox."""

import subprocess
import sys

_START = """
from gpu_workers.sandbox import levels
print(levels.require("bwrap-cpu").reached)
"""


def test_starts_where_new_files_are_for_their_owner_alone() -> None:
    done = subprocess.run([sys.executable, "-c", _START], umask=0o077, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "bwrap-cpu"), done.stderr
