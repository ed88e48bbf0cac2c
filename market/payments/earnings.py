"""From earned to payable, when the windows that could still take it back have closed. It knows no window itself."""

import uuid

from django.db import transaction

from market.common import account_paths
from market.ledger import transfers


class NotEarned(Exception):
    """The worker has earned less than is to mature, or the effect matured another amount before; nothing moved."""


def mature(*, worker_id: uuid.UUID, mode: str, currency: str, amount_minor: int, effect: str) -> None:
    """Make earned money payable. ``effect`` names what it was earned for, at most 40 characters; a repeat moves nothing.

    Raises:
        NotEarned: less is earned, or the same effect was matured with another amount before.
    """
    entry = transfers.Entry(
        transfers.effect_id("mature", effect),
        account_paths.worker_earned(mode=mode, worker_id=worker_id, currency=currency),
        account_paths.worker_payable(mode=mode, worker_id=worker_id, currency=currency),
        amount_minor,
        currency,
        "matured",
        effect,
    )
    try:
        with transaction.atomic():
            transfers.post_all([entry])
    except (transfers.Overdrawn, transfers.TransferConflict) as refused:
        raise NotEarned(f"{amount_minor} minor units of {currency} of {effect} can't mature for worker {worker_id}.") from refused
