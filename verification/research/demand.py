"""Which hardware classes have living hosts, and what is asked of each."""

import datetime
import statistics
from collections.abc import Collection
from dataclasses import dataclass

from django.db.models import Count, QuerySet

from tasks.models import Mode
from verification.replay.classes import ClassKey
from verification.replay.spec import SANDBOX_LEVELS, Spec
from verification.research import rules, runs
from verification.research.models import Candidate, Host, Run

# Of so many runs, the newest ones.
_RECENT = 100


@dataclass(frozen=True, slots=True)
class Demand:
    """What waits for a class, and what ``n`` recent valid runs of it took."""

    open_runs: int
    seconds_p50: float | None
    n: int


def of_class(class_text: str) -> Demand:
    """Return the demand for one hardware class; what it pays is the market's to say."""
    open_runs = runs.ready().filter(class_text=class_text, is_trusted_only=False).exclude(kind__in=(Run.Kind.CALIBRATION, Run.Kind.RINGER))
    valid = Run.objects.filter(class_text=class_text, stage=Run.Stage.VALID, kind__in=(Run.Kind.CANDIDATE, Run.Kind.BASELINE))
    told = valid.order_by("-judged_at").values_list("report__wall_s", flat=True)[:_RECENT]
    # A report kept from an earlier version may lack it.
    took = [float(wall_s) for wall_s in told if isinstance(wall_s, int | float)]
    return Demand(open_runs=open_runs.count(), seconds_p50=statistics.median(took) if took else None, n=len(took))


def best_class(*, candidate: Candidate, spec: Spec, apart_from: Collection[str], now: datetime.datetime) -> str | None:
    """Return the class that a candidate is replayed on: the one with the most unrelated owners who are there, then the most hosts.

    Owners first, because a name of a host costs nothing. None where nobody is there.
    """
    living = _living(candidate=candidate, spec=spec, now=now).exclude(class_text__in=apart_from)
    counted = living.values("class_text").annotate(owners=Count("owner", distinct=True), hosts=Count("pk"))
    found = [row["class_text"] for row in counted.order_by("-owners", "-hosts", "class_text")]
    return next((text for text in found if ClassKey.parse(text).is_allowed_by(spec)), None)


def owner_count(*, candidate: Candidate, spec: Spec, class_text: str, now: datetime.datetime) -> int:
    """Return how many unrelated owners of a class are there."""
    return _living(candidate=candidate, spec=spec, now=now).filter(class_text=class_text).values("owner").distinct().count()


def _living(*, candidate: Candidate, spec: Spec, now: datetime.datetime) -> QuerySet[Host]:
    task = candidate.task
    levels = SANDBOX_LEVELS[SANDBOX_LEVELS.index(spec.sandbox_level) :]
    hosts = Host.objects.filter(
        # A live host does test work too, never the other way round.
        mode__in=(task.mode, Mode.LIVE),
        hardware__in=spec.hardware,
        reported_level__in=levels,
        is_suspended=False,
        calibrated_at__isnull=False,
        last_seen_at__gte=now - rules.HOST_LIVES,
    )
    return hosts.exclude(owner__in=(candidate.claimant_id, task.owner_id))
