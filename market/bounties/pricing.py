"""Prices as data: the platform's fee, what a bounty may offer, and how sure a verdict must be for its price."""

import math
from dataclasses import dataclass

from market.common import money
from market.common.money import Money

FEE_BPS = 1_000

# Reward per slot, in minor units.
MIN_REWARD_MINOR = {"USD": 10, "EUR": 10, "GBP": 10, "JPY": 10, "USDC": 100_000}
MAX_REWARD_MINOR = {"USD": 100_000, "EUR": 100_000, "GBP": 100_000, "JPY": 150_000, "USDC": 1_000_000_000}

# Pay for a truthful "it can't be done", in parts of the reward (peers pay nothing; 40 to 100 % is what workers ask for).
MIN_NEGATIVE_FEE_BPS = 4_000
DEFAULT_NEGATIVE_FEE_BPS = 5_000
DEFAULT_MAX_NEGATIVE_OUTCOMES = 1
LIMIT_MAX_NEGATIVE_OUTCOMES = 20

# The bound on P(bad | accepted): 2 % up to a price of 1, 0.2 % from 50 on, log-linear between.
LOW_PRICE, HIGH_PRICE = 1.0, 50.0
LOW_PRICE_FALSE_ACCEPT, HIGH_PRICE_FALSE_ACCEPT = 0.02, 0.002


class BadOffer(ValueError):
    """An offer outside the limits; ``param`` names the field, the message says what is allowed."""

    def __init__(self, param: str, message: str) -> None:
        super().__init__(message)
        self.param = param


@dataclass(frozen=True, slots=True)
class Price:
    """What a bounty costs its agent, in minor units of one currency."""

    currency: str
    slot_count: int
    reward_minor: int
    fee_minor: int
    negative_fee_minor: int
    max_negative_outcomes: int

    @property
    def slot_minor(self) -> int:
        """Held per slot."""
        return self.reward_minor + self.fee_minor

    @property
    def reserve_minor(self) -> int:
        """Held for truthful negative outcomes."""
        return self.negative_fee_minor * self.max_negative_outcomes

    @property
    def total_minor(self) -> int:
        """Held for everything."""
        return self.slot_minor * self.slot_count + self.reserve_minor


def price(*, reward: Money, slot_count: int, negative_fee: Money | None, max_negative_outcomes: int) -> Price:
    """Return what the offer costs.

    Raises:
        BadOffer: a reward, fee or count outside the limits, two currencies, or a total beyond 2^53 minor units.
    """
    _require_reward(reward)
    default_minor = money.share_bps_rounded_up(reward.amount_minor, DEFAULT_NEGATIVE_FEE_BPS)
    negative = negative_fee or Money(default_minor, reward.currency)
    _require_negative_fee(negative, reward)
    priced = Price(
        reward.currency, slot_count, reward.amount_minor, fee_minor(reward.amount_minor), negative.amount_minor, max_negative_outcomes
    )
    if priced.total_minor > money.MAX_MINOR:
        raise BadOffer("reward", f"The bounty comes to more than {money.MAX_MINOR} minor units.")
    return priced


def fee_minor(reward_minor: int) -> int:
    """Return the platform's fee on one reward, rounded up to a whole minor unit."""
    return money.share_bps_rounded_up(reward_minor, FEE_BPS)


def max_false_accept(reward: Money) -> float:
    """Return the highest probability that an automatically accepted submission is bad, for a reward per slot.

    Every currency is read by its number: 50 JPY count like 50 USD, which only makes small money stricter.
    """
    value = reward.amount_minor / 10 ** money.EXPONENTS[reward.currency]
    if value <= LOW_PRICE:
        return LOW_PRICE_FALSE_ACCEPT
    if value >= HIGH_PRICE:
        return HIGH_PRICE_FALSE_ACCEPT
    way = math.log(value / LOW_PRICE) / math.log(HIGH_PRICE / LOW_PRICE)
    return LOW_PRICE_FALSE_ACCEPT * math.pow(HIGH_PRICE_FALSE_ACCEPT / LOW_PRICE_FALSE_ACCEPT, way)


def _require_reward(reward: Money) -> None:
    low, high = MIN_REWARD_MINOR[reward.currency], MAX_REWARD_MINOR[reward.currency]
    if not low <= reward.amount_minor <= high:
        raise BadOffer("reward", f"A reward must be from {Money(low, reward.currency)} to {Money(high, reward.currency)}, not {reward}.")


def _require_negative_fee(negative: Money, reward: Money) -> None:
    if negative.currency != reward.currency:
        raise BadOffer("negative_fee", f"A bounty has one currency: the reward is in {reward.currency}.")
    low = money.share_bps_rounded_up(reward.amount_minor, MIN_NEGATIVE_FEE_BPS)
    if not low <= negative.amount_minor <= reward.amount_minor:
        raise BadOffer("negative_fee", f"Pay for a truthful 'it can't be done' must be from {Money(low, reward.currency)} to the reward.")
