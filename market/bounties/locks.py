"""The one lock of this app: a bounty's row, taken before anything of its story is changed.

Claims do not take it: they meet the rest on the row of their slot. First submissions share it among themselves.
"""

import uuid

from django.db import connection
from django.db.models import QuerySet

from market.bounties.models import Bounty


class NoBounty(LookupError):
    """There is no bounty with that id among those the asker may see."""


def lock_bounty(bounty_id: uuid.UUID) -> Bounty:
    """Lock a bounty's row until the transaction ends, and return it as it is now.

    Raises:
        NoBounty: there is none.
    """
    return _lock(Bounty.objects.filter(pk=bounty_id), f"bounty {bounty_id}")


def lock_bounty_of_task(task_id: uuid.UUID) -> Bounty:
    """Lock the bounty of a task; see `lock_bounty`."""
    return _lock(Bounty.objects.filter(task_id=task_id), f"bounty of task {task_id}")


def _lock(asked: QuerySet[Bounty], name: str) -> Bounty:
    locked = list(asked.select_for_update(no_key=True).values_list("pk", flat=True))
    if not locked:
        raise NoBounty(f"No {name}.")
    # By a statement of its own: one that waited for the lock brings task and agent as they were before it waited.
    return Bounty.objects.select_related("task", "agent").get(pk=locked[0])


def share_bounty_of_task(task_id: uuid.UUID) -> Bounty:
    """Keep a bounty as it is until the transaction ends, together with others who do, and return it.

    Its offer can't be raised meanwhile: who hands in while it is would be judged, and paid, for the old one.
    """
    with connection.cursor() as cursor:
        # Django knows no FOR SHARE. It waits for `lock_bounty`, and `lock_bounty` for it.
        cursor.execute("SELECT FROM bounties_bounty WHERE task_id = %s FOR SHARE", [task_id])
    return Bounty.objects.select_related("task", "agent").get(task_id=task_id)
