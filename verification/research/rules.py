"""The limits that research bounties run by on the server; the statistics' own figures are in `verification.replay`."""

import datetime

from verification.replay.spec import Spec

# -- What strangers may send ------------------------------------------------------------------------------------------
MAX_FILE_BYTES = 64 * 1024 * 1024
MAX_FILES_PER_OWNER = 256
MAX_HOSTS_PER_OWNER = 64
# A host's first run is paid by the platform: a name costs nothing, so the owner's hosts count together.
MAX_CALIBRATIONS_PER_OWNER = 4

# -- Candidates -------------------------------------------------------------------------------------------------------
# A sealed candidate keeps its place for so long; whoever comes after it waits until then at most.
REVEAL_WITHIN = datetime.timedelta(minutes=30)
# Of one claimant in one task and day: places that were kept and never used hold up everybody behind them.
MAX_LAPSED_PER_DAY = 3
# Nobody's money hangs on a pool that never comes: after so long without the smoke run, or without a host at the head of the line,
# the candidate ends INCONCLUSIVE.
SMOKE_WAIT = datetime.timedelta(hours=24)
HOST_WAIT = datetime.timedelta(hours=48)
CANDIDATE_LEASE_S = 60
# What waits for others is looked at again after so long, if nobody has said that there is news.
LOOK_AGAIN_S = 30.0

# -- Runs -------------------------------------------------------------------------------------------------------------
MAX_HANDED_OUT = 8
# An open run goes to so many owners; then the trusted pool does it.
MAX_ATTEMPTS = 4
# A run is asked of so many owners after an invalid or vanished one; then the trusted pool does it.
MAX_REPLICAS = 6
# From the seal on an owner may be away for so long; then the run is asked of another one.
SEALED_LEASE_S = 24 * 3600
MOST_REVEAL_RETRY_S = 30.0
LEAST_REVEAL_RETRY_S = 2.0
# A sealed run that could be revealed and is not keeps its lease, but others wait for it no longer than this: another owner is asked too.
REVEAL_PATIENCE = datetime.timedelta(hours=4)
MAX_CHECKPOINT_BYTES = 64 * 1024 * 1024
TRUSTED_ATTEMPTS = 4
# A class has hosts that were seen within this time.
HOST_LIVES = datetime.timedelta(minutes=15)
SUSPENDED_AFTER_INVALID = 3
# An owner may appeal a finding for so long, and knows the outcome after so much more at the latest.
APPEAL_WITHIN = datetime.timedelta(days=7)
APPEAL_DECIDED_WITHIN = datetime.timedelta(days=14)
# Each costs the platform a training: of one owner so many in `APPEALS_COUNT_FOR`, beside those that were right.
MAX_APPEALS = 3
APPEALS_COUNT_FOR = datetime.timedelta(days=30)
# A secret seed serves so many candidates of one task and class: owners see it, so it wears out.
SEED_USES = 8
# New seeds are drawn from so many numbers.
SEED_POOL = 64
# What the price of a run asks for, unless the poster's side says more: share of runs audited, random segments of each.
AUDIT_SHARE = 0.1
AUDITED_SEGMENTS = 3

# -- Ideas ------------------------------------------------------------------------------------------------------------
IDEA_HELD = datetime.timedelta(hours=6)
MAX_OPEN_IDEAS_PER_AUTHOR = 50
MAX_HELD_IDEAS = 3


def run_limit(spec: Spec) -> datetime.timedelta:
    """Return how long one owner may keep an open run by saying that he lives: twice its wall-clock limit, and time to load and pause."""
    return datetime.timedelta(seconds=2 * spec.wall_s, hours=1)


def reveal_retry_s(spec: Spec) -> float:
    """Return after how many seconds to ask again whether a sealed report is due: a sixtieth of a run's limit, from 2 to 30."""
    return min(max(spec.wall_s / 60, LEAST_REVEAL_RETRY_S), MOST_REVEAL_RETRY_S)


def round_limit(spec: Spec) -> datetime.timedelta:
    """Return how long one pair may take from its asking to its judgement, with owners who fail and vanish in between."""
    return HOST_WAIT + MAX_ATTEMPTS * run_limit(spec)
