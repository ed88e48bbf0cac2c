"""Is the photo large enough? Pixels of the file that was sent, not of our copy."""

from verification.checks.result import CaseFacts, CheckResult, Outcome

NAME, VERSION = "size", 1
CRITERION = "large_enough"


def check(facts: CaseFacts) -> CheckResult:
    """Fail where the shorter side of a photo is under the terms' minimum."""
    short_side_px = min(min(photo.width_px, photo.height_px) for photo in facts.photos)
    found = {"short_side_px": short_side_px, "min_short_side_px": facts.terms.min_short_side_px}
    if short_side_px < facts.terms.min_short_side_px:
        return CheckResult(CRITERION, Outcome.FAIL, "too_few_pixels", facts=found)
    return CheckResult(CRITERION, Outcome.PASS, facts=found)
