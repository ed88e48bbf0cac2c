"""What an owner's page of one run shows: how it was judged, its appeal, and where it and the pool's training part. Changes nothing."""

import dataclasses
import datetime
import uuid

from django.db.models import F
from django.http import Http404

from market.web import owner_plots, plots, research_replays
from tasks.models import WorkerProfile
from verification.replay import tolerance
from verification.replay.spec import Spec
from verification.research import appeals, rounds
from verification.research.models import Appeal, Run

# As many points as a report may have; one of an earlier version may have anything.
_MAX_POINTS = 200


@dataclasses.dataclass(frozen=True, slots=True)
class Appealed:
    """A run of an owner's with what may be done about it, and what was."""

    run: Run
    why: str
    class_words: str
    appeal: Appeal | None
    # Until when it may be appealed; None where it may not.
    until: datetime.datetime | None
    # Once the appeal is decided and nothing of its round is hidden any more.
    parting: plots.Plot | None
    is_same_class: bool
    band: float = tolerance.BAND


def run_of(worker: WorkerProfile, run_id: uuid.UUID) -> Run:
    """Return a run of this owner's; any other is not found."""
    mine = Run.objects.filter(pk=run_id, owner=worker.pk, mode=worker.mode).select_related("appeal", "payment", "forfeit", "restitution")
    run = mine.annotate(wall_s=F("report__wall_s")).first()
    if run is None:
        raise Http404("There is no such run of yours.")
    return run


def appealed(run: Run, *, now: datetime.datetime) -> Appealed:
    """Return what the page of a run shows."""
    appeal: Appeal | None = getattr(run, "appeal", None)
    until = appeals.until(run) if appeal is None else None
    again = appeal.again if appeal is not None else None
    is_shown = appeal is not None and appeal.status != Appeal.Status.OPEN and again is not None and again.stage == Run.Stage.VALID
    return Appealed(
        run=run,
        why=research_replays.sentence(run.reason_code) if run.reason_code else "",
        class_words=research_replays.class_words(run.class_text),
        appeal=appeal,
        until=until if until is not None and now < until else None,
        parting=_parting(run, again, appeal) if is_shown and again and appeal and rounds.is_public(run) else None,
        is_same_class=again is None or appeals.is_same_class(run, again),
    )


def _parting(run: Run, again: Run, appeal: Appeal) -> plots.Plot:
    every = Spec.from_json(run.spec).checkpoint_every
    first = appeal.differs_from
    differs_from = None if first is None else (first, first * every)
    return owner_plots.parting(_curve(run), _curve(again), differs_from=differs_from, key="parting")


def _curve(run: Run) -> list[tuple[int, float]]:
    told = (run.report or {}).get("curve")
    return [(step, loss) for step, loss in told[:_MAX_POINTS]] if isinstance(told, list) else []
