"""Runs whose outcome is known, mixed in among the others and looking like them: whoever does not train is found out by them."""

import datetime
import secrets

from django.contrib.auth.base_user import AbstractBaseUser
from django.db.models import Count, QuerySet
from django.db.models.functions import Now

from tasks import leases
from verification.replay import policy
from verification.replay.spec import SANDBOX_LEVELS
from verification.research import eligible
from verification.research.models import Host, Run

_random = secrets.SystemRandom()


def mix_in(*, due: QuerySet[Run], host: Host | None, owner: AbstractBaseUser) -> Run | None:
    """With a chance of `policy.RINGER_SHARE`, put a ringer before the oldest of the runs that are ``due`` for a host, and return it.

    Without a due run nothing is made: a ringer that comes when there is no work would be known as one.
    """
    if host is None or host.calibrated_at is None or _random.random() >= policy.RINGER_SHARE:
        return None
    ready = due.filter(lease_state=leases.LeaseState.READY, available_at__lte=Now()).order_by("available_at", "pk").first()
    known = _known(host, owner)
    if ready is None or known is None:
        return None
    return Run.objects.create(
        task_id=known.task_id,
        mode=known.mode,
        kind=Run.Kind.RINGER,
        tip_id=known.tip_id,
        tree_id=known.tree_id,
        spec=known.spec,
        seed_index=known.seed_index,
        seed=known.seed,
        class_text=known.class_text,
        hardware=known.hardware,
        level=known.level,
        # Nobody else gets it, and it comes before what was due.
        host=host,
        available_at=ready.available_at - datetime.timedelta(microseconds=1),
    )


def _known(host: Host, owner: AbstractBaseUser) -> Run | None:
    """Return the newest run in the host's class that two owners agreed on and this one has nothing to do with."""
    levels = SANDBOX_LEVELS[: SANDBOX_LEVELS.index(host.reported_level) + 1]
    valid = Run.objects.filter(
        kind=Run.Kind.BASELINE, stage=Run.Stage.VALID, mode=host.mode, class_text=host.class_text, level__in=levels, is_trusted_only=False
    )
    # Two reports without a root have none in common.
    rooted = valid.filter(report__root__isnull=False)
    agreed = rooted.values("tip", "seed_index", "report__root").annotate(owners=Count("owner", distinct=True)).filter(owners__gte=2)
    for row in agreed.order_by("-tip", "-seed_index")[:8]:
        run = eligible.strangers_runs(valid.filter(tip=row["tip"], seed_index=row["seed_index"]), owner).first()
        if run is not None and not Run.objects.filter(owner=owner.pk, tree=run.tree_id, seed=run.seed).exists():
            return run
    return None
