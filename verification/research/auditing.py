"""What is audited of a run: drawn at random when its report is known, so that nobody can make just those segments."""

import secrets
from dataclasses import dataclass

from verification.replay import policy, reports, tolerance
from verification.research import agreement
from verification.research.models import Host, Run

# A run may look odd all the way; a few segments show why.
MAX_SUSPECTS = 3

_random = secrets.SystemRandom()


@dataclass(frozen=True, slots=True)
class Plan:
    """The segments that the trusted pool trains again (none: no audit), and the checkpoints that the owner must hand in."""

    segments: list[int]
    checkpoints: list[int]


def plan(*, run: Run, report: reports.Report) -> Plan:
    """Draw the audit of a run. Segment i leads from checkpoint i to i + 1; an audit always has the first start and the last segment.

    What looks wrong from the reports alone is audited for certain, but convicts nobody.
    """
    last = report.leaf_count - 1
    if run.kind == Run.Kind.RINGER and report.root == agreement.known_root(run=run):
        return Plan([], [])
    suspects = _suspects(run, report)
    if run.is_trusted_only or (not suspects and _random.random() >= _probability(run)):
        # The weights that are scored.
        return Plan([], [last])
    wanted = run.task.audited_segments if run.task is not None else last
    drawn = set(_random.sample(range(last), min(last, wanted))) | suspects | {last - 1}
    return Plan(sorted(drawn), sorted({0, last} | drawn | {segment + 1 for segment in drawn}))


def _probability(run: Run) -> float:
    if run.task is None or run.host_id is None:
        return 1.0
    valid_count = Host.objects.values_list("valid_count", flat=True).get(pk=run.host_id)
    # What the prices ask for, which are not known here, is the task's share.
    return max(run.task.audit_share, policy.audit_probability(valid_count, gain_minor=0, stake_minor=0, price_minor=0))


def _suspects(run: Run, report: reports.Report) -> set[int]:
    """Return up to `MAX_SUSPECTS` segments that do not fit other runs of the same tree.

    Of a run with the same seed and class, the first one whose end differs: one of the two is wrong there. Of any other valid run
    in the class, those whose movement is out of proportion.
    """
    others = Run.objects.filter(tree=run.tree_id, class_text=run.class_text, report__isnull=False).exclude(pk=run.pk)
    for theirs in others.filter(seed=run.seed).values_list("report__leaves", flat=True):
        # A report kept from an earlier version may lack them, and then says nothing.
        for index, (leaf, other) in enumerate(zip(report.leaves, theirs or (), strict=False)):
            if leaf != other:
                # Leaf 0 is the start itself, which every audit builds again.
                return {max(index - 1, 0)}
    reference = (
        others.filter(stage=Run.Stage.VALID, report__norms__isnull=False).values_list("report__norms", flat=True).order_by("pk").first()
    )
    return set(tolerance.suspects(report.norms, reference)[:MAX_SUSPECTS]) if reference else set()
