"""The wish to stop. A signal only notes it; whoever waits looks at it, so that no step is torn apart half-way.

An exception thrown by the signal's handler would be lost wherever Python may not raise (finalisers, callbacks), and the
wish with it.
"""

import signal
import time
from types import FrameType

_wishes: list[int] = []


class Stopped(Exception):
    """Somebody asked us to stop; raised where it is safe."""


def listen() -> None:
    """Note SIGINT, SIGTERM and a closed terminal from now on, instead of dying of them."""
    _wishes.clear()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # Under nohup a closed terminal shall end nothing.
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _note)


def check() -> None:
    """Go on, unless somebody asked us to stop.

    Raises:
        Stopped: somebody did.
    """
    if _wishes:
        raise Stopped(signal.Signals(_wishes[0]).name)


def pause(seconds: float) -> None:
    """Sleep a moment, then `check`."""
    check()
    time.sleep(seconds)
    check()


def _note(signal_number: int, _frame: FrameType | None) -> None:
    _wishes.append(signal_number)
