"""Does it look like an earlier photo, re-encoded, scaled, turned or mirrored (PDQ)? A person then compares the two."""

from verification.checks.result import CaseFacts, CheckResult, Outcome

NAME, VERSION = "near_copy", 1
CRITERION = "original"


def check(facts: CaseFacts) -> CheckResult:
    """Leave open where an earlier photo differs in at most `verification.pdq.MAX_DISTANCE` of 256 bits."""
    if facts.copies.nearest_bits is not None:
        return CheckResult(
            CRITERION, Outcome.INCONCLUSIVE, "looks_like_earlier_photo", facts.copies.nearest_bits, {"bits": facts.copies.nearest_bits}
        )
    return CheckResult(CRITERION, Outcome.PASS)
