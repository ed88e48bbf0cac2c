"""Is the photo sharp? The variance of the Laplacian in the sharpest tenth of the picture, at 512 pixels."""

from verification.checks import exposure
from verification.checks.result import CaseFacts, CheckResult, Outcome

NAME, VERSION = "sharpness", 1
CRITERION = "sharp"
# Of 20 real photographs the everyday ones have 150 to 13,000 (the smoothest, the moon, 82); blurred by a Gaussian of
# 0.4 % of the long side they have 4 to 47, page text 71, and by 1 % 2 to 7.
BLURRED_BELOW = 30.0
SHARP_FROM = 60.0


def check(facts: CaseFacts) -> CheckResult:
    """Fail where a photo is blurred everywhere; leave open what is between blurred and sharp."""
    lit = [photo.sharpness for photo in facts.photos if exposure.is_lit(photo)]
    if not lit:
        # In the dark everything is smooth: the worker is told of the light alone.
        return CheckResult(CRITERION, Outcome.NOT_APPLICABLE)
    score = min(lit)
    if score < BLURRED_BELOW:
        return CheckResult(CRITERION, Outcome.FAIL, "blurred", score)
    if score < SHARP_FROM:
        return CheckResult(CRITERION, Outcome.INCONCLUSIVE, "maybe_blurred", score)
    return CheckResult(CRITERION, Outcome.PASS, score=score)
