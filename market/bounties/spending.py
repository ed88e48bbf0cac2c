"""What an API key may commit: checked and written under the key's lock, so that two at once can't pass its limits."""

import datetime
import uuid

from django.db.models import Sum

from market.accounts.models import ApiKey
from market.bounties.models import Bounty, Spend
from market.policy import mandates


class KeyRevoked(Exception):
    """The key was revoked since the request came in: it can't spend any more."""


def spend(*, key_id: uuid.UUID, bounty: Bounty, offer_version: int, amount_minor: int, currency: str, now: datetime.datetime) -> Spend:
    """Commit an amount with a key. Call it in the transaction that holds the money.

    A later refund does not free the day's limit: it bounds what a lost key can set in motion.

    Raises:
        market.policy.mandates.SpendLimitExceeded: over the key's limit per bounty or per rolling 24 hours.
        KeyRevoked: the key is revoked.
    """
    locked = lock_key(key_id)
    check(key=locked, bounty=bounty, amount_minor=amount_minor, currency=currency, now=now)
    return Spend.objects.create(
        key=locked, bounty=bounty, offer_version=offer_version, amount_minor=amount_minor, currency=currency, spent_at=now
    )


def spend_on_research(
    *, key_id: uuid.UUID, research_bounty_id: uuid.UUID, amount_minor: int, currency: str, now: datetime.datetime
) -> Spend:
    """Commit the budget of a research bounty with a key, or what it is raised by, as `spend` does; both count against the same limits.

    Call it with the bounty locked.

    Raises:
        market.policy.mandates.SpendLimitExceeded: over the key's limit per bounty or per rolling 24 hours.
        KeyRevoked: the key is revoked.
    """
    locked = lock_key(key_id)
    earlier = Spend.objects.filter(research_bounty_id=research_bounty_id)
    earlier_minor = earlier.aggregate(total=Sum("amount_minor"))["total"] or 0
    _check(key=locked, earlier_minor=earlier_minor, amount_minor=amount_minor, currency=currency, now=now)
    return Spend.objects.create(
        key=locked,
        research_bounty_id=research_bounty_id,
        offer_version=earlier.count() + 1,
        amount_minor=amount_minor,
        currency=currency,
        spent_at=now,
    )


def lock_key(key_id: uuid.UUID) -> ApiKey:
    """Lock the key that acts until the transaction ends, and return it as it is now.

    Raises:
        KeyRevoked: the key is revoked.
    """
    locked = ApiKey.objects.select_for_update(no_key=True).get(pk=key_id)
    if locked.revoked_at is not None:
        raise KeyRevoked(f"{locked} is revoked: use another key.")
    return locked


def check(*, key: ApiKey, bounty: Bounty | None, amount_minor: int, currency: str, now: datetime.datetime) -> None:
    """Check an amount against a key's limits without committing it.

    Raises:
        market.policy.mandates.SpendLimitExceeded: over the key's limit per bounty or per rolling 24 hours.
    """
    _check(key=key, earlier_minor=_earlier_minor(key, bounty), amount_minor=amount_minor, currency=currency, now=now)


def _check(*, key: ApiKey, earlier_minor: int, amount_minor: int, currency: str, now: datetime.datetime) -> None:
    per_bounty = mandates.Limits(key.limit_currency, key.limit_per_bounty_minor, None)
    whole_minor = earlier_minor + amount_minor
    mandates.check(limits=per_bounty, totals=mandates.Totals(now), amount_minor=whole_minor, currency=currency)
    per_day = mandates.Limits(key.limit_currency, None, key.limit_per_day_minor)
    mandates.check(limits=per_day, totals=_day_of(key, now), amount_minor=amount_minor, currency=currency)


def _earlier_minor(key: ApiKey, bounty: Bounty | None) -> int:
    if bounty is None or key.limit_per_bounty_minor is None:
        return 0  # No limit asks for it.
    return Spend.objects.filter(bounty=bounty).aggregate(total=Sum("amount_minor"))["total"] or 0


def _day_of(key: ApiKey, now: datetime.datetime) -> mandates.Totals:
    if key.limit_per_day_minor is None:
        return mandates.Totals(now)
    spends = Spend.objects.filter(key=key, currency=key.limit_currency, spent_at__gt=now - mandates.WINDOW)
    return mandates.Totals(now, tuple(mandates.Spending(at=spend.spent_at, amount_minor=spend.amount_minor) for spend in spends))
