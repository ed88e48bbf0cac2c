"""Keeps a market's processes alive: starts again what ends by itself, later each time, and ends all of them in order."""

import time
from dataclasses import dataclass

from market.config.supervisor import children, progress

FIRST_DELAY_S = 1.0
LONGEST_DELAY_S = 30.0
# Whoever ran this long was healthy; the next end counts as the first.
HEALTHY_AFTER_S = 60.0


@dataclass
class _Kept:
    child: children.Child
    delay_s: float = FIRST_DELAY_S
    # When to start again; None while it runs.
    restart_at_s: float | None = None


class Keeper:
    """A list of children in the order of their start."""

    def __init__(self, *, said: progress.Progress) -> None:
        self._said = said
        self._kept: list[_Kept] = []

    def start(self, program: children.Program) -> children.Child:
        """Start a program and keep it."""
        child = children.Child(program)
        self._kept.append(_Kept(child=child))
        return child

    def look(self) -> None:
        """Start again what has ended and has waited long enough."""
        for kept in self._kept:
            if kept.child.exit_code is None:
                continue
            if kept.restart_at_s is None:
                self._note_end(kept)
            elif time.monotonic() >= kept.restart_at_s:
                # What is left of its group would hold its port or its files.
                kept.child.wait_until_stopped()
                kept.child = children.Child(kept.child.program)
                kept.restart_at_s = None
                self._said.say(f"{kept.child.program.name} started again")

    def _note_end(self, kept: _Kept) -> None:
        now_s = time.monotonic()
        if now_s - kept.child.started_at_s > HEALTHY_AFTER_S:
            kept.delay_s = FIRST_DELAY_S
        kept.restart_at_s = now_s + kept.delay_s
        program = kept.child.program
        self._said.say(
            f"{program.name} ended (exit code {kept.child.exit_code}); starting it again in {kept.delay_s:.0f} s. Log: {program.log}"
        )
        kept.delay_s = min(kept.delay_s * 2, LONGEST_DELAY_S)

    def stop(self) -> None:
        """End all: asked in reverse order of their start, then waited for."""
        for kept in reversed(self._kept):
            kept.child.ask_to_stop()
        for kept in reversed(self._kept):
            if not kept.child.wait_until_stopped():
                program = kept.child.program
                self._said.say(f"{program.name} did not end within {program.stop_within_s:.0f} s and was killed")
        self._kept.clear()
