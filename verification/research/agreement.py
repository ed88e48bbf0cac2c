"""Whose runs agree: unrelated owners who came to the same root, or the trusted pool alone."""

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


def baseline(*, tip: Tip, seed_index: int, class_text: str) -> Run | None:
    """Return a run of the tip on this seed that may be compared with: the trusted pool's, or one that two owners agree on."""
    valid = Run.objects.filter(kind=Run.Kind.BASELINE, stage=_VALID, tip=tip, seed_index=seed_index, class_text=class_text)
    # The pool's first: a challenge may have had it train what two owners agreed on.
    found = list(valid.order_by("-is_trusted_only", "replica"))
    for run in found:
        if run.is_trusted_only or any(agree(run, other) for other in found):
            return run
    return None


def known_root(*, run: Run) -> str | None:
    """Return the root that a run of this tree, seed and class must come to, if two owners agreed on it before."""
    of_class = Run.objects.filter(stage=_VALID, tree=run.tree_id, seed=run.seed, class_text=run.class_text, is_trusted_only=False)
    found = list(of_class.exclude(pk=run.pk).order_by("pk"))
    return next((root_of(one) for one in found if any(agree(one, other) for other in found)), None)


def agree(run: Run, other: Run) -> bool:
    """Tell whether two runs of different owners came to the same root."""
    return run.owner_id != other.owner_id and root_of(run) == root_of(other)
