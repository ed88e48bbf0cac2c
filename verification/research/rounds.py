"""Rounds: the runs of one pair, sealed before any is revealed, so that nobody copies what he should have computed."""

from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from tasks import leases
from verification.research.models import Run

_WITH_AN_OWNER = Q(stage=Run.Stage.OPEN, is_trusted_only=False, lease_state=leases.LeaseState.LEASED, lease_until__gt=Now())
_HIDDEN = (Run.Stage.OPEN, Run.Stage.SEALED)


def of(run: Run) -> QuerySet[Run]:
    """Return the runs of a run's round; a calibration or a ringer is a round of its own."""
    if run.candidate_id is None:
        return Run.objects.filter(pk=run.pk)
    return Run.objects.filter(candidate=run.candidate_id, seed_index=run.seed_index, class_text=run.class_text)


def is_reveal_due(run: Run) -> bool:
    """Tell whether every run of the round that an owner works on has been sealed, or its lease has ended.

    The trusted pool copies nobody: it neither waits nor is waited for.
    """
    return run.is_trusted_only or not of(run).filter(_WITH_AN_OWNER).exists()


def is_public(run: Run) -> bool:
    """Tell whether anything of a run's report may be shown: no run of its round waits to be trained or revealed."""
    return not of(run).filter(stage__in=_HIDDEN).exists()
