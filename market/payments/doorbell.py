"""Waking the workers of the money queue. The rows are the truth: a bell that nobody hears costs time, never money."""

from tasks import bells


def ring_after_commit() -> None:
    """Have requested payouts sent soon after the present transaction commits."""
    bells.ring_after_commit("payments.send")
