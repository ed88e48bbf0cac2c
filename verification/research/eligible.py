"""Which open runs an owner's machine may get: its class, and nothing of his own."""

from django.contrib.auth.base_user import AbstractBaseUser
from django.db.models import Exists, OuterRef, Q

from tasks import leases
from verification.replay.spec import SANDBOX_LEVELS
from verification.research.models import Host, Run


def for_host(*, host: Host, owner: AbstractBaseUser, modes: tuple[str, ...]) -> leases.LeasedQuerySet[Run]:
    """Return the open runs that ``host`` may train: until it is calibrated, its calibration alone."""
    if host.calibrated_at is None:
        return Run.objects.filter(stage=Run.Stage.OPEN, kind=Run.Kind.CALIBRATION, host=host)
    levels = SANDBOX_LEVELS[: SANDBOX_LEVELS.index(host.reported_level) + 1]
    of_class = Run.objects.filter(
        stage=Run.Stage.OPEN, is_trusted_only=False, mode__in=modes, class_text=host.class_text, level__in=levels
    ).exclude(kind=Run.Kind.CALIBRATION)
    # A ringer is made for one host.
    return strangers_runs(of_class.exclude(~Q(host=host.pk), kind=Run.Kind.RINGER), owner)


def for_trusted_pool(*, owner: AbstractBaseUser, modes: tuple[str, ...], hardware: str = "") -> leases.LeasedQuerySet[Run]:
    """Return the open runs that only the trusted pool may train; its class may be another one of the spec's hardware."""
    runs = Run.objects.filter(stage=Run.Stage.OPEN, is_trusted_only=True, mode__in=modes)
    # What it has begun before, too: one of its machines may have been killed over it, and nobody else may train it.
    return _others_runs(runs.filter(hardware__contains=[hardware]) if hardware else runs, owner)


def strangers_runs(runs: leases.LeasedQuerySet[Run], owner: AbstractBaseUser) -> leases.LeasedQuerySet[Run]:
    """Leave out what concerns this user: his tasks, his commits, what he gave back, and seeds of a tree that he has trained."""
    # An open run that came back from him is not trained: only he may be slow, the run is the same.
    begun = ~Q(stage=Run.Stage.OPEN) | Q(lease_state=leases.LeaseState.LEASED)
    trained = Run.objects.filter(begun, tree=OuterRef("tree"), seed=OuterRef("seed"), owner=owner.pk).exclude(pk=OuterRef("pk"))
    return _others_runs(runs, owner).exclude(Exists(trained))


def _others_runs(runs: leases.LeasedQuerySet[Run], owner: AbstractBaseUser) -> leases.LeasedQuerySet[Run]:
    # Q objects instead of exclude(): a run without a candidate must pass, and NULL is not unequal to anything in SQL.
    is_his = Q(task__owner=owner.pk) | Q(candidate__claimant=owner.pk) | Q(tip__candidate__claimant=owner.pk)
    # What is trained again on appeal names no candidate of its own.
    is_his |= Q(again_for__run__candidate__claimant=owner.pk) | Q(again_for__run__owner=owner.pk)
    mine = Run.objects.filter(is_his, pk=OuterRef("pk"))
    return runs.exclude(Exists(mine)).exclude(failed_by__contains=[str(owner.pk)])
