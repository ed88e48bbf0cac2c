"""Does a learned descriptor find it in an earlier photo, cropped or edited as PDQ can't follow? A person then compares."""

from verification.checks.result import CaseFacts, CheckResult, Outcome

NAME, VERSION = "learned_copy", 1
CRITERION = "original"


def check(facts: CaseFacts) -> CheckResult:
    """Leave open where an earlier photo is as alike as copies are; say nothing where no readings came in."""
    if facts.phrase_scores is None:
        return CheckResult(CRITERION, Outcome.NOT_APPLICABLE)
    if facts.copies.nearest_cosine is not None:
        return CheckResult(CRITERION, Outcome.INCONCLUSIVE, "looks_like_earlier_photo", facts.copies.nearest_cosine)
    return CheckResult(CRITERION, Outcome.PASS)
