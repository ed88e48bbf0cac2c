"""What the platform pays out of its own fees, and pay that is taken back before it became payable."""

import uuid
from collections.abc import Sequence

from market.common import account_paths, retrying
from market.escrow import holds
from market.ledger import transfers


class PaidOtherwise(Exception):
    """The same effect was paid with other parts before; nothing moved."""


def pay(*, mode: str, currency: str, parts: Sequence[holds.Part], effect: str) -> None:
    """Pay the parts out of the platform's fees; ``effect`` names what for, in at most 40 characters. A repeat moves nothing.

    Raises:
        PaidOtherwise: the effect was paid before with other parts.
    """
    fees = account_paths.platform_fees(mode=mode, currency=currency)
    _post("platform", [(fees, part) for part in parts], currency, effect)


def take_back(*, mode: str, worker_id: uuid.UUID, currency: str, parts: Sequence[holds.Part], effect: str) -> None:
    """Move what a worker earned on to those whom it came from, for work that turned out to be none. A repeat moves nothing.

    It must not have matured: what is payable stays.

    Raises:
        PaidOtherwise: the effect was taken back before with other parts.
    """
    earned = account_paths.worker_earned(mode=mode, worker_id=worker_id, currency=currency)
    _post("take back", [(earned, part) for part in parts], currency, effect)


def _post(kind: str, moves: Sequence[tuple[str, holds.Part]], currency: str, effect: str) -> None:
    entries = [
        transfers.Entry(
            transfers.effect_id(kind, effect, str(number)), source, part.destination_path, part.amount_minor, currency, part.reason, effect
        )
        for number, (source, part) in enumerate(moves)
        if part.amount_minor
    ]
    with retrying.part():
        try:
            transfers.post_all(entries)
        except transfers.TransferConflict as refused:
            raise PaidOtherwise(f"Effect {effect} was paid otherwise before.") from refused
