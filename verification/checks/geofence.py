"""Was the photo taken at the place? The browser's position and its accuracy against the terms' circle."""

import math

from tasks import geo
from verification.checks.result import CaseFacts, CheckResult, Outcome

NAME, VERSION = "geofence", 1
CRITERION = "in_place"
# W3C calls the reported accuracy a 95 % radius, Android reports a 68 % one; taken as one sigma it errs for the worker.
SIGMAS = 3
# A position that could be this far off can't confirm a smaller circle.
WORST_ACCURACY_M = 100.0


def check(facts: CaseFacts) -> CheckResult:
    """Fail only where the place is outside by 3 sigma; pass only where position and accuracy both say inside."""
    where = (facts.latitude, facts.longitude)
    if None in where or facts.accuracy_m is None:
        return CheckResult(CRITERION, Outcome.INCONCLUSIVE, "no_position")
    latitude, longitude, accuracy_m = float(where[0] or 0), float(where[1] or 0), facts.accuracy_m
    if not (math.isfinite(latitude) and math.isfinite(longitude) and math.isfinite(accuracy_m) and accuracy_m >= 0):
        return CheckResult(CRITERION, Outcome.INCONCLUSIVE, "no_position")
    distance_m = geo.haversine_m(latitude, longitude, facts.terms.latitude, facts.terms.longitude)
    found = {"distance_m": round(distance_m, 1), "accuracy_m": round(accuracy_m, 1), "within_m": facts.terms.within_m}
    if distance_m - SIGMAS * accuracy_m > facts.terms.within_m:
        return CheckResult(CRITERION, Outcome.FAIL, "outside_area", facts=found)
    if distance_m <= facts.terms.within_m and accuracy_m <= max(WORST_ACCURACY_M, facts.terms.within_m):
        return CheckResult(CRITERION, Outcome.PASS, facts=found)
    return CheckResult(CRITERION, Outcome.INCONCLUSIVE, "position_uncertain", facts=found)
