"""Does the browser's capture time contradict the claim? It can be set by anyone, so it never rejects and never proves."""

import datetime

from verification.checks.result import CaseFacts, CheckResult, Outcome

NAME, VERSION = "capture_time", 1
CRITERION = "in_time"
# Phones' clocks are set by the network; Truepic allows the same.
SKEW = datetime.timedelta(minutes=5)


def check(facts: CaseFacts) -> CheckResult:
    """Leave open where the photo says to be from before the claim, from the future or from outside the window."""
    if facts.captured_at is None:
        return CheckResult(CRITERION, Outcome.NOT_APPLICABLE)
    if facts.captured_at > facts.received_at + SKEW:
        return CheckResult(CRITERION, Outcome.INCONCLUSIVE, "captured_in_the_future")
    if facts.captured_at < max(facts.claimed_at, facts.terms.opens_at) - SKEW:
        return CheckResult(CRITERION, Outcome.INCONCLUSIVE, "captured_before_claim")
    return CheckResult(CRITERION, Outcome.PASS)
