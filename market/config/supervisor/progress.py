"""Lines that tell a person how far the start has come."""

import sys
import time


class Progress:
    """Prints what is being done with the seconds since the start."""

    def __init__(self) -> None:
        self._started_s = time.monotonic()

    def say(self, words: str) -> None:
        """Print one line at once, also into a pipe whose reader may be gone."""
        try:
            print(f"[{time.monotonic() - self._started_s:6.1f} s] {words}", flush=True)
        except BrokenPipeError:
            # `manage.py market | head` must not leave services behind.
            sys.stdout = open("/dev/null", "w")  # noqa: SIM115, PTH123 - lives as long as the process
