"""Whose runs agree: unrelated owners who came to the same root, or the trusted pool alone."""

from collections.abc import Iterable

from django.db.models import Q, QuerySet

from verification.research.models import Run, Tip

_VALID = Run.Stage.VALID


def root_of(run: Run) -> str:
    """Return the Merkle root that a run's report commits to."""
    assert run.report is not None
    return str(run.report["root"])


def twin_of(run: Run) -> Run | None:
    """Return a valid run of another owner that ended with the very weights of this one: same tree, seed, class and root.

    It has the same score, so that the weights need not be evaluated again.
    """
    same = Run.objects.filter(stage=_VALID, tree=run.tree_id, seed=run.seed, class_text=run.class_text, report__root=root_of(run))
    return same.exclude(pk=run.pk).exclude(owner=run.owner_id).order_by("pk").first()


def of_tip(tip: Tip) -> Q:
    """Select the runs of a tip's tree: those asked as baselines, and those that it was accepted by."""
    asked = Q(kind=Run.Kind.BASELINE, tip=tip)
    return asked if tip.candidate_id is None else asked | Q(kind=Run.Kind.CANDIDATE, candidate=tip.candidate_id, tree=tip.tree_id)


def baseline(*, tip: Tip, seed_index: int, class_text: str) -> Run | None:
    """Return a run of the tip on this seed that may be compared with, as `baselines` does for all seeds."""
    return _to_compare(_valid_of(tip, class_text).filter(seed_index=seed_index))


def baselines(*, tip: Tip, class_text: str) -> dict[int, Run]:
    """Return the runs of the tip that may be compared with, by seed index: the trusted pool's, one that two owners agree on, or one
    that the tip was accepted by, which was good enough to pay for.
    """
    by_seed: dict[int, list[Run]] = {}
    for run in _valid_of(tip, class_text):
        by_seed.setdefault(run.seed_index, []).append(run)
    chosen = {index: _to_compare(found) for index, found in by_seed.items()}
    return {index: run for index, run in chosen.items() if run is not None}


def _valid_of(tip: Tip, class_text: str) -> QuerySet[Run]:
    # The pool's first: a challenge may have had it train what two owners agreed on.
    return Run.objects.filter(of_tip(tip), stage=_VALID, class_text=class_text).order_by("-is_trusted_only", "kind", "replica")


def _to_compare(found: Iterable[Run]) -> Run | None:
    valid = list(found)
    for run in valid:
        if run.is_trusted_only or any(agree(run, other) for other in valid):
            return run
    own = [run for run in valid if run.kind == Run.Kind.CANDIDATE and run.holdout_score is not None]
    return own[0] if own and len({root_of(run) for run in valid}) == 1 else None


def known_root(*, run: Run) -> str | None:
    """Return the root that a run of this tree, seed and class must come to, if two owners agreed on it before."""
    of_class = Run.objects.filter(stage=_VALID, tree=run.tree_id, seed=run.seed, class_text=run.class_text, is_trusted_only=False)
    found = list(of_class.exclude(pk=run.pk).order_by("pk"))
    return next((root_of(one) for one in found if any(agree(one, other) for other in found)), None)


def agree(run: Run, other: Run) -> bool:
    """Tell whether two runs of different owners came to the same root."""
    return run.owner_id != other.owner_id and root_of(run) == root_of(other)
