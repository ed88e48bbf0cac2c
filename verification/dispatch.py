"""Which bells ring when: the only place that names other programs' jobs. A bell that is not heard loses nothing, the rows stand."""

import uuid
from functools import cache

from django.conf import settings
from django.db import transaction

from tasks import bells

# A GPU bell nobody hears in a minute is thrown away: the sweeper rings again while runs are ready.
_GPU_BELL_EXPIRES_S = 60


def ring_vision() -> None:
    """After commit, wake a GPU worker: vision runs are ready to be leased."""
    transaction.on_commit(lambda: _gpu_bell().ring("gpu.work_vision", expires_s=_GPU_BELL_EXPIRES_S), robust=True)


def ring_replay() -> None:
    """After commit, wake the machines that train replays and the trusted pool: runs or trusted jobs are ready to be leased."""
    transaction.on_commit(lambda: _gpu_bell().ring("gpu.work_replay", expires_s=_GPU_BELL_EXPIRES_S), robust=True)


def nudge_research() -> None:
    """After commit, let a worker take candidates as far as they go without waiting for the sweeper."""
    bells.ring_after_commit("research.advance")


def nudge_research_verdicts() -> None:
    """After commit, let the market settle decided candidates and pay judged runs without waiting for its sweeper."""
    bells.ring_after_commit("bounties.sweep_research")


def nudge_advance(submission_id: uuid.UUID) -> None:
    """After commit, let a worker advance a case without waiting for the sweeper."""
    bells.ring_after_commit("verification.advance", arguments={"submission_id": str(submission_id)})


def nudge_verdicts() -> None:
    """After commit, let the market apply new verdicts, and see new cases for a person, without waiting for its sweeper."""
    bells.ring_after_commit("bounties.apply_verdicts")


@cache
def _gpu_bell() -> bells.Bell:
    # The GPU workers' broker is another one than ours: who can write to it can't run our jobs.
    return bells.Bell(
        broker_url=settings.GPU_BROKER_URL, transport_options=settings.GPU_BROKER_TRANSPORT_OPTIONS, routes={}, default_queue="gpu"
    )
