"""What a child process of the owner's program does besides its work: ends with its parent, hears a stop, says how far it is."""

import ctypes
import json
import os
import signal
import sys

from pydantic import JsonValue

_PR_SET_PDEATHSIG = 1


def bind_to(parent_pid: int) -> None:
    """Have the kernel kill this process when its parent ends, however that ends: nothing trains unwatched."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
    # It may have ended before the line above.
    if os.getppid() != parent_pid:
        os._exit(1)


class Stop:
    """Set by SIGTERM; the runner looks at it between steps."""

    def __init__(self) -> None:
        self.is_asked = False

    def ask(self, *_: object) -> None:
        """Note that the training is to end."""
        self.is_asked = True

    def __call__(self) -> bool:
        """Return whether the training is to end."""
        return self.is_asked


def say(**words: JsonValue) -> None:
    """Tell the parent something: one line of JSON."""
    print(json.dumps(words, separators=(",", ":")), flush=True)
