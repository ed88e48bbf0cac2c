"""Prices of research bounties: what an offer may say, what one candidate may cost, and what a verified gain is paid."""

from dataclasses import dataclass
from fractions import Fraction

from market.bounties import pricing
from market.bounties.research import rules
from market.common import money
from market.common.money import Money
from verification.replay import policy
from verification.replay.spec import Spec

# In minor units. What a run costs its owner is a matter of minutes of a processor or hours of a card.
MIN_RUN_FEE_MINOR = {"USD": 1, "EUR": 1, "GBP": 1, "JPY": 1, "USDC": 10_000}
MAX_BUDGET_MINOR = {"USD": 10_000_000, "EUR": 10_000_000, "GBP": 10_000_000, "JPY": 15_000_000, "USDC": 100_000_000_000}
# A bond or a stake of more than so many run fees keeps honest people out.
MAX_BOND_IN_RUNS = 20
# Of a host with so many valid results hardly any run is audited for its record alone.
_LONG_RECORD = 1_000_000


@dataclass(frozen=True, slots=True)
class Offer:
    """The money side of a research bounty as an agent sends it, all in one currency.

    ``reward_per_effect`` is paid for each ``min_effect`` of shrunk verified gain over the tip, up to ``cap`` for one candidate;
    ``run_fee`` for each valid run, whatever the verdict. Without ``bond`` and ``challenge_stake`` they are one run fee and four.
    """

    budget: Money
    reward_per_effect: Money
    cap: Money
    run_fee: Money
    bond: Money | None = None
    challenge_stake: Money | None = None
    challenge_window_s: int = rules.DEFAULT_CHALLENGE_WINDOW_S


@dataclass(frozen=True, slots=True)
class Price:
    """What an offer comes to, in minor units of one currency."""

    currency: str
    budget_minor: int
    reward_per_effect_minor: int
    cap_minor: int
    run_fee_minor: int
    # For so many runs of one candidate is reserved.
    max_runs: int
    fee_bps: int
    bond_minor: int
    challenge_stake_minor: int
    challenge_window_s: int

    @property
    def case_minor(self) -> int:
        """What one candidate may cost at most: its cap with the platform's fee, and its runs."""
        return case_minor(self.cap_minor, self.fee_bps, self.max_runs, self.run_fee_minor)

    @property
    def audit_share(self) -> float:
        """The least share of runs that must be audited, so that nobody wins by forging them while his stake is full."""
        full_minor = rules.FULL_STAKE_IN_RUNS * self.run_fee_minor
        return policy.audit_probability(_LONG_RECORD, gain_minor=self.run_fee_minor, stake_minor=full_minor, price_minor=self.run_fee_minor)

    @property
    def sure_candidate_count(self) -> int:
        """How many candidates the budget pays whatever becomes of them; most cost far less."""
        return self.budget_minor // self.case_minor


def price(*, offer: Offer, spec: Spec, mode: str) -> Price:
    """Return what an offer comes to for candidates that are judged by a spec.

    Raises:
        market.bounties.pricing.BadOffer: two currencies, an amount or a window outside the limits, or a budget for no candidate.
    """
    bond = offer.bond or offer.run_fee
    # Four runs a verdict are what a test takes on average (replay.md): a challenge has them all audited again.
    stake = offer.challenge_stake or Money(4 * offer.run_fee.amount_minor, offer.run_fee.currency)
    currency = offer.budget.currency
    named = {
        "reward_per_effect": offer.reward_per_effect,
        "cap": offer.cap,
        "run_fee": offer.run_fee,
        "bond": bond,
        "challenge_stake": stake,
    }
    for param, amount in named.items():
        if amount.currency != currency:
            raise pricing.BadOffer(param, f"A bounty has one currency: the budget is in {currency}.")
    _require_limits(offer, bond, stake)
    least = rules.MIN_CHALLENGE_WINDOW_S[mode]
    if not least <= offer.challenge_window_s <= rules.MAX_CHALLENGE_WINDOW_S:
        raise pricing.BadOffer("challenge_window_s", f"The challenge window is {least} to {rules.MAX_CHALLENGE_WINDOW_S} seconds.")
    priced = Price(
        currency=currency,
        budget_minor=offer.budget.amount_minor,
        reward_per_effect_minor=offer.reward_per_effect.amount_minor,
        cap_minor=offer.cap.amount_minor,
        run_fee_minor=offer.run_fee.amount_minor,
        # What wins on one class is judged anew on a second one, where the spec asks for that.
        max_runs=rules.RUNS_PER_PAIR * spec.max_pairs * (2 if spec.is_confirmed_on_second_class else 1),
        fee_bps=pricing.FEE_BPS,
        bond_minor=bond.amount_minor,
        challenge_stake_minor=stake.amount_minor,
        challenge_window_s=offer.challenge_window_s,
    )
    if priced.budget_minor < priced.case_minor:
        raise pricing.BadOffer("budget", f"One candidate may cost {Money(priced.case_minor, currency)}: the budget must be that at least.")
    return priced


def case_minor(cap_minor: int, fee_bps: int, max_runs: int, run_fee_minor: int) -> int:
    """Return what one candidate may cost at most, in minor units."""
    return reward_with_fee_minor(cap_minor, fee_bps) + max_runs * run_fee_minor


def reward_with_fee_minor(reward_minor: int, fee_bps: int) -> int:
    """Return a reward and the platform's fee on it, which is rounded up to a whole minor unit."""
    return reward_minor + fee_minor(reward_minor, fee_bps)


def fee_minor(reward_minor: int, fee_bps: int) -> int:
    """Return the platform's fee on one reward, rounded up to a whole minor unit."""
    return money.share_bps_rounded_up(reward_minor, fee_bps)


def reward_minor(*, shrunk_gain: float, min_effect: float, reward_per_effect_minor: int, cap_minor: int) -> int:
    """Return what a verified gain is paid: min(cap, rate x shrunk gain / min_effect), rounded down, and 1 minor unit at least.

    Both floats are taken as the decimals that they are written as (0.03 is 3/100), so that no rounding but the named one happens.
    """
    effects = Fraction(repr(shrunk_gain)) / Fraction(repr(min_effect))
    return max(1, min(cap_minor, money.times_rounded_down(reward_per_effect_minor, effects)))


def _require_limits(offer: Offer, bond: Money, stake: Money) -> None:
    currency, fee = offer.budget.currency, offer.run_fee.amount_minor
    _require("run_fee", offer.run_fee, MIN_RUN_FEE_MINOR[currency], pricing.MAX_REWARD_MINOR[currency])
    _require("cap", offer.cap, pricing.MIN_REWARD_MINOR[currency], pricing.MAX_REWARD_MINOR[currency])
    _require("reward_per_effect", offer.reward_per_effect, 1, offer.cap.amount_minor)
    # At least one run's fee: a bad submission pays for its own check.
    _require("bond", bond, fee, MAX_BOND_IN_RUNS * fee)
    _require("challenge_stake", stake, fee, MAX_BOND_IN_RUNS * fee)
    _require("budget", offer.budget, 1, MAX_BUDGET_MINOR[currency])


def _require(param: str, amount: Money, low_minor: int, high_minor: int) -> None:
    if not low_minor <= amount.amount_minor <= high_minor:
        low, high = Money(low_minor, amount.currency), Money(high_minor, amount.currency)
        raise pricing.BadOffer(param, f"{param} must be from {low} to {high}, not {amount}.")
