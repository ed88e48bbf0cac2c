"""The one lock of this app: a research bounty's row, taken before anything of its money is changed."""

import uuid

from market.bounties.locks import NoBounty
from market.bounties.research.models import ResearchBounty


def lock_bounty(bounty_id: uuid.UUID) -> ResearchBounty:
    """Lock a research bounty's row until the transaction ends, and return it as it is now.

    Raises:
        market.bounties.locks.NoBounty: there is none.
    """
    locked = list(ResearchBounty.objects.filter(pk=bounty_id).select_for_update(no_key=True).values_list("pk", flat=True))
    if not locked:
        raise NoBounty(f"No research bounty {bounty_id}.")
    # By a statement of its own: one that waited for the lock brings task and agent as they were before it waited.
    return ResearchBounty.objects.select_related("task", "agent").get(pk=locked[0])


def lock_bounty_of_task(task_id: uuid.UUID) -> ResearchBounty:
    """Lock the bounty of a research task; see `lock_bounty`."""
    bounty_id = ResearchBounty.objects.filter(task_id=task_id).values_list("pk", flat=True).first()
    if bounty_id is None:
        raise NoBounty(f"No research bounty of task {task_id}.")
    return lock_bounty(bounty_id)
