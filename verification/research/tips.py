"""A task's chain of accepted commits: which one is the tip, and the next one."""

from verification.research.models import Candidate, ResearchTask, Tip, Tree


def current(task: ResearchTask) -> Tip:
    """Return the newest tip that stands; without accepted candidates, the base."""
    return Tip.objects.filter(task=task, withdrawn_at__isnull=True).select_related("tree").latest("number")


def begin(*, task: ResearchTask, tree: Tree) -> Tip:
    """Make number 0 of a new task."""
    return Tip.objects.create(task=task, number=0, tree=tree)


def extend(*, candidate: Candidate) -> Tip:
    """Make the candidate's tree the newest tip; call it under the task's lock, with the candidate's acceptance."""
    newest = Tip.objects.filter(task=candidate.task_id).latest("number")
    assert candidate.tree_id is not None
    assert candidate.parent_id is not None
    return Tip.objects.create(
        task_id=candidate.task_id,
        number=newest.number + 1,
        parent_id=candidate.parent_id,
        tree_id=candidate.tree_id,
        candidate=candidate,
    )
