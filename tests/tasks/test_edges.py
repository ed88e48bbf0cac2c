"""The edges beside a model: they ..."""

import uuid

import pytest
from django.db import InternalError, ProgrammingError, connection, transaction

from market.accounts.models import Agent
from market.bounties.models import Bounty
from tasks import clock
from tasks.models import Claim, Submission, WorkerProfile
from tests import edges, stories


def test_speak_of_every_status_once() -> None:
    for model in edges.models_with_edges():
        known = set(model.EDGES)  # type: ignore[attr-defined]
        assert known == edges.values_of(model), model
        assert {target for targets in model.EDGES.values() for target in targets} <= known  # type: ignore[attr-defined]


def test_are_watched_in_every_test(agent: Agent, worker: WorkerProfile) -> None:
    """The watch that lets no test pass whose code takes another edge (see `tests.edges`)."""
    now = clock.now()
    bounty = stories.post_photo_bounty(agent, now=now)
    claim = stories.claim(bounty, worker, now=now)
    submission = stories.submit(claim, now=now)
    illegal: list[tuple[type[Bounty] | type[Claim] | type[Submission], uuid.UUID, str]] = [
        (Bounty, bounty.pk, Bounty.Status.DRAFT),
        (Claim, claim.pk, Claim.Status.EXPIRED),
        (Submission, submission.pk, Submission.Status.RECEIVED),
    ]
    for model, pk, status in illegal:
        with pytest.raises((InternalError, ProgrammingError), match="no edge"), transaction.atomic():
            model.objects.filter(pk=pk).update(status=status)
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_trigger WHERE tgname = 'status_follows_edges'")
        assert cursor.fetchone()[0] == len(edges.models_with_edges())
