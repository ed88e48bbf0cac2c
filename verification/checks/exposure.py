"""Is there enough light, and not too much? Brightness percentiles and the share of burnt pixels, at 512 pixels."""

from verification.checks.result import CaseFacts, CheckResult, Outcome, PhotoFacts

NAME, VERSION = "exposure", 1
CRITERION = "exposed"
# Of 20 real photographs the darkest (a deep sky) has its brightest twentieth above 52; a night street has lamps.
DARK_BELOW = 40.0
BURNT_ABOVE = 0.6
WHITE_FROM = 235.0


def is_lit(photo: PhotoFacts) -> bool:
    """Tell whether a photo has the light in which anything else can be judged."""
    return photo.bright_level >= DARK_BELOW and photo.burnt_share <= BURNT_ABOVE and photo.dark_level <= WHITE_FROM


def check(facts: CaseFacts) -> CheckResult:
    """Fail where nearly nothing in a photo is bright enough to see, or most of it is burnt to white."""
    darkest = min(photo.bright_level for photo in facts.photos)
    burnt_share = max(photo.burnt_share for photo in facts.photos)
    palest = max(photo.dark_level for photo in facts.photos)
    found = {"bright_level": round(darkest, 1), "dark_level": round(palest, 1), "burnt_share": round(burnt_share, 3)}
    if darkest < DARK_BELOW:
        return CheckResult(CRITERION, Outcome.FAIL, "too_dark", facts=found)
    if burnt_share > BURNT_ABOVE or palest > WHITE_FROM:
        return CheckResult(CRITERION, Outcome.FAIL, "too_bright", facts=found)
    return CheckResult(CRITERION, Outcome.PASS, facts=found)
