"""Does the photo show what was asked? The vision worker's score for one phrase against calibrated thresholds."""

from verification.checks.result import CaseFacts, CheckResult, Outcome

NAME, VERSION = "shows", 1


def check(facts: CaseFacts, *, phrase: int) -> CheckResult:
    """Pass or fail only where the calibration certifies it for this case; leave all else to a person."""
    criterion = f"shows:{phrase}"
    if facts.phrase_scores is None:
        return CheckResult(criterion, Outcome.INCONCLUSIVE, "no_readings")
    score = facts.phrase_scores[phrase]
    if facts.limits is None:
        return CheckResult(criterion, Outcome.INCONCLUSIVE, "not_certified", score)
    if score >= facts.limits.accept_at:
        return CheckResult(criterion, Outcome.PASS, score=score)
    if facts.limits.retake_below is not None and score < facts.limits.retake_below:
        return CheckResult(criterion, Outcome.FAIL, "not_shown", score)
    return CheckResult(criterion, Outcome.INCONCLUSIVE, "not_certain", score)
