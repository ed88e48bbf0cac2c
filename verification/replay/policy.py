"""How often runs are audited, repeated and salted with known answers, and how many tries a claimant has. Figures, no draws and no rows."""

import dataclasses
import math

# A host is audited every time until so many valid results (BOINC's adaptive replication trusts after ten, too).
ALWAYS_AUDITED = 10
# A run worth as much is audited every time: 100.00 of a currency with hundredths.
ALWAYS_ABOVE_MINOR = 100_00
# Known good, known null and known cheating candidates among all runs. One in fourteen catches a host that never works within
# 20 runs with probability 0.77 (1 - (1 - 1/14) ** 20), on top of the audits.
RINGER_SHARE = 1 / 14

# Wanted chance to hit a forgery of a tenth of the segments, up to a run's price; see `detection_probability`.
_DETECTION = ((100, 0.25), (ALWAYS_ABOVE_MINOR, 0.5), (None, 0.9))
_FORGED_SHARE = 0.1

# Millionths of an error rate.
ALPHA_OF_A_TRY = 5_000
ALPHA_AT_FIRST = 50_000
ALPHA_OF_AN_ACCEPTED = 50_000


def audit_probability(valid_count: int, gain_minor: int, stake_minor: int, price_minor: int) -> float:
    """Return the chance with which a run is audited, 0 to 1.

    1 until the host has `ALWAYS_AUDITED` valid results and for prices from `ALWAYS_ABOVE_MINOR` on; then one in the number of valid
    results. Never less than gain / (gain + stake): below it, a forger who loses ``stake_minor`` when caught and else wins ``gain_minor``
    would come out ahead.
    """
    if valid_count < ALWAYS_AUDITED or price_minor >= ALWAYS_ABOVE_MINOR:
        return 1.0
    worthwhile = gain_minor / (gain_minor + stake_minor) if gain_minor > 0 else 0.0
    return min(1.0, max(1 / valid_count, worthwhile))


def segment_count(price_minor: int, segments: int) -> int:
    """Return how many random segments an audit re-runs, beside the initialisation and the last segment that it always does.

    The fewest that hit a forgery of a tenth of the segments with probability 0.25, for runs from 1.00 on 0.5, from 100.00 on 0.9.
    """
    wanted = next(wanted for below, wanted in _DETECTION if below is None or price_minor < below)
    forged = math.ceil(_FORGED_SHARE * segments)
    return next(count for count in range(1, segments + 1) if detection_probability(segments, forged, count) >= wanted)


def detection_probability(segments: int, forged: int, audited: int) -> float:
    """Return the chance that a random choice of ``audited`` segments holds a forged one: 1 - C(N - f, m) / C(N, m)."""
    return 1.0 - math.comb(segments - forged, audited) / math.comb(segments, audited)


def replicas(valid_count: int) -> int:
    """Return how many unrelated owners run the same: two while the host is new, then one, and audits."""
    return 2 if valid_count < ALWAYS_AUDITED else 1


@dataclasses.dataclass(frozen=True)
class AlphaBudget:
    """What a claimant's record leaves him of error rate to spend.

    Alpha-investing (Foster and Stine, Journal of the Royal Statistical Society B 70, 2008): a try at level a costs a / (1 - a)
    unless it is accepted, which earns more. With 0.05 at first and 0.05 an accepted candidate, false acceptances stay below 0.05 of
    (all acceptances + 1) in expectation, however many candidates are null and whatever the claimant learns between them.
    ``unaccepted`` counts those refused, inconclusive and still being judged; those that never got to a pair do not count.
    """

    accepted: int
    unaccepted: int

    @property
    def tries_left(self) -> int:
        """How many candidates more may be judged if none of them is accepted."""
        price = math.ceil(ALPHA_OF_A_TRY / (1 - ALPHA_OF_A_TRY / 1e6))
        wealth = ALPHA_AT_FIRST + ALPHA_OF_AN_ACCEPTED * self.accepted - price * self.unaccepted
        return max(0, wealth // price)

    @property
    def may_submit(self) -> bool:
        """Whether one more candidate may be judged."""
        return self.tries_left > 0
