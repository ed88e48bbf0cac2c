"""Why the machine is idle: one true reason, and what would change it."""

from dataclasses import dataclass

from gpu_workers.owner import machine


@dataclass(frozen=True)
class Reason:
    """A code, what is so, what would change it, and when it changes by itself (epoch seconds), if known."""

    code: str
    what: str
    change: str
    until: float | None = None


_ANSWERS = {
    "no_demand": (
        "No run of this machine's class is open.",
        "Nothing to do: it asks again by itself. `atoms-gpu status` shows the demand.",
    ),
    "offline": ("The market can't be reached.", "Check the network and ATOMS_URL; it tries again by itself."),
    "not_verified": ("The market does not give this machine work.", "See `atoms-gpu doctor`, and the host's page at the market."),
    "refused": ("The market refuses this program.", "Check ATOMS_API_KEY: it must have the scope lease:replay."),
    "unwanted": ("The run that was offered is not wanted here.", "It asks again by itself; [causes] and min_pay_per_hour decide."),
}


def why_idle(state: machine.State) -> Reason | None:
    """Return why nothing is being trained; None while something is."""
    run = state.in_training
    if run is not None and run.is_training and not run.is_stopping:
        return None
    return _held_up(state) or _of_run(run) or _without_work(state)


def _held_up(state: machine.State) -> Reason | None:
    if state.is_paused:
        until = state.wishes.paused_until
        ends = None if until == machine.FOREVER else until
        return Reason(
            "paused", "You paused it.", "atoms-gpu resume" + ("" if ends is None else ", or wait until it goes on by itself."), ends
        )
    if state.obstacles is None:
        return Reason("starting", "The sensors are being read.", "Wait a moment.")
    if state.obstacles:
        first = state.obstacles[0]
        return Reason(first.code, first.what, first.change, first.until)
    return None


def _of_run(run: machine.Run | None) -> Reason | None:
    if run is None:
        return None
    if run.trouble:
        return Reason("trouble", run.trouble, "It tries again by itself.", run.retry_at)
    return Reason("preparing", "A run is about to start.", "Wait a moment.")


def _without_work(state: machine.State) -> Reason:
    if state.wishes.is_finishing:
        waiting = len(state.runs)
        left = f"{waiting} finished results wait to be taken." if waiting else "Everything is handed in."
        return Reason("finishing", f"You asked it to finish. {left}", "atoms-gpu resume")
    if len(state.runs) >= machine.MOST_WAITING:
        return Reason("full", f"{len(state.runs)} finished results wait to be taken.", "It goes on when the market asks for some of them.")
    if state.answer in _ANSWERS:
        what, change = _ANSWERS[state.answer]
        return Reason(state.answer, f"{what} {state.answer_text}".strip(), change, state.ask_at)
    return Reason("asking", "The market is being asked for work.", "Wait a moment.")
