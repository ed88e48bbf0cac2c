"""The windows and counts of a research bounty's money, as data."""

import datetime
from fractions import Fraction

from market.common.money import Money
from verification.research import reasons

# How long an accepted commit may be challenged, and so nothing that hangs on it becomes payable: at most, at least, and unless
# the offer says otherwise. Test bounties may be quick, so that an agent's own tests can see the end.
MAX_CHALLENGE_WINDOW_S = 14 * 24 * 3600
MIN_CHALLENGE_WINDOW_S = {"live": 24 * 3600, "test": 1}
DEFAULT_CHALLENGE_WINDOW_S = 72 * 3600

# Runs that one pair of a candidate's test may need: its own and the tip's, by two unrelated owners each (the tip's always, its own
# while a host is new: `verification.replay.policy.replicas`).
RUNS_PER_PAIR = 4

# An owner's stake is full at so many fees of the run that is paid. From the eleventh valid result on about one in ten is
# audited; forging does not pay where the audited share is above gain / (gain + stake) = 1 / 11 (replay.md, step 7).
FULL_STAKE_IN_RUNS = 10

# Of what a challenge or a later audit takes from a forger's stake, the challenger's part; the rest pays the audit. Not all of
# it, so that nobody gets his own stake back by challenging himself under another name.
CHALLENGER_SHARE = Fraction(1, 2)

# What the platform pays for a host's first run. How many hosts of one owner get one is the facts' to limit.
CALIBRATION_PAY = Money(5, "USD")
# How long what a calibration earned waits: there is no candidate whose window it could wait for.
CALIBRATION_WINDOW = datetime.timedelta(hours=72)

# Rejections that no maker could foresee when he sent his commit: the tip moved meanwhile. His bond goes back to him.
BLAMELESS_REJECTIONS = frozenset({reasons.REBASE_CONFLICT, reasons.REBASE_REFUSED, reasons.NOTHING_NEW, reasons.DUPLICATE_TREE})
# Runs that nobody hands in by mistake.
FORGERIES = frozenset({reasons.AUDIT_FAILED, reasons.OTHER_WEIGHTS, reasons.OTHER_ROOT})
# Who leaves once he has seen which checkpoints are asked for dodges the audit: that must cost what failing it costs.
DESERTIONS = frozenset({reasons.VANISHED, reasons.GAVE_UP})
