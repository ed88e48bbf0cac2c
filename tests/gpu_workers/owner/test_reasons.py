"""Why a machine is idle ..."""

from dataclasses import replace

import pytest

from gpu_workers.owner import limits, machine, reasons

RUN = machine.Run("rpl_" + "1" * 32, 1, machine.Stage.READY, steps=100)
HOT = limits.Obstacle("too_hot", "Card 0 has 90 °C.", "Work begins again at 70 °C; or raise max_temp_c.")
STEAM = limits.Obstacle("app_running", "steam is running.", "Close steam, or take it out of pause_when.")
READY = machine.State(now=1_000.0, obstacles=())


@pytest.mark.parametrize(
    ("state", "code"),
    [
        (machine.State(), "starting"),
        (READY, "asking"),
        (replace(READY, answer="no_demand"), "no_demand"),
        (replace(READY, answer="offline"), "offline"),
        (replace(READY, answer="refused", answer_text="The key is unknown."), "refused"),
        (replace(READY, answer="not_verified"), "not_verified"),
        (replace(READY, obstacles=(STEAM, HOT), answer="no_demand"), "app_running"),
        (replace(READY, obstacles=(HOT,)), "too_hot"),
        (replace(READY, wishes=machine.Wishes(5_000.0), obstacles=(HOT,)), "paused"),
        (replace(READY, wishes=machine.Wishes(is_finishing=True)), "finishing"),
        (replace(READY, runs={RUN.id: RUN}), "preparing"),
        (replace(READY, runs={RUN.id: replace(RUN, trouble="The training process ended without a word.")}), "trouble"),
        (replace(READY, runs={str(n): replace(RUN, id=str(n), stage=machine.Stage.SEALED) for n in range(machine.MOST_WAITING)}), "full"),
    ],
)
def test_gives_one_true_reason_and_what_would_change_it(state: machine.State, code: str) -> None:
    reason = reasons.why_idle(state)
    assert reason is not None
    assert reason.code == code
    assert reason.what.endswith(".")
    assert reason.change


def test_gives_none_while_something_is_trained() -> None:
    assert reasons.why_idle(replace(READY, runs={RUN.id: replace(RUN, is_training=True)})) is None


def test_says_when_a_pause_ends_by_itself() -> None:
    paused = reasons.why_idle(replace(READY, wishes=machine.Wishes(5_000.0)))
    assert paused is not None
    assert paused.until == 5_000.0
    forever = reasons.why_idle(replace(READY, wishes=machine.Wishes(machine.FOREVER)))
    assert forever is not None
    assert (forever.until, forever.change) == (None, "atoms-gpu resume")
