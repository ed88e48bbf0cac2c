"""Does the file's own metadata contradict place or time? It may only ever contradict: agreement and absence count the same."""

import datetime
import math
from collections.abc import Mapping

from tasks import geo
from verification.checks.result import CaseFacts, CheckResult, Outcome

NAME, VERSION = "exif", 1
CRITERION = "original"
# Local time without a zone may be 14 hours off, and 9 of 9 genuine COOLPIX photos of a public set are 24 hours off.
TOLERANCE = datetime.timedelta(hours=39)
# Cell towers and stale fixes put genuine photos kilometres away.
TOLERANCE_M = 5_000.0


def check(facts: CaseFacts) -> CheckResult:
    """Leave open where a photo's metadata names another day or another town; never pass, never fail."""
    for number, photo in enumerate(facts.photos):
        taken = _taken_at(photo.exif)
        if taken is not None and abs(facts.received_at - taken) > TOLERANCE + (facts.received_at - facts.claimed_at):
            return CheckResult(CRITERION, Outcome.INCONCLUSIVE, "metadata_names_another_day", facts={"photo": number})
        away_m = _distance_m(facts, photo.exif)
        if away_m is not None and away_m > facts.terms.within_m + TOLERANCE_M:
            return CheckResult(CRITERION, Outcome.INCONCLUSIVE, "metadata_names_another_place", facts={"photo": number})
    return CheckResult(CRITERION, Outcome.NOT_APPLICABLE)


def _taken_at(exif: Mapping[str, object]) -> datetime.datetime | None:
    written = exif.get("captured_at")
    if not isinstance(written, str):
        return None
    try:
        return datetime.datetime.strptime(written, "%Y:%m:%d %H:%M:%S").replace(tzinfo=datetime.UTC)
    except ValueError:
        # Cameras write blanks and zeros where the clock was never set.
        return None


def _distance_m(facts: CaseFacts, exif: Mapping[str, object]) -> float | None:
    latitude, longitude = exif.get("latitude"), exif.get("longitude")
    if not isinstance(latitude, int | float) or not isinstance(longitude, int | float):
        return None
    # 0, 0 is what a camera without a fix writes.
    if not (math.isfinite(latitude) and math.isfinite(longitude)) or (latitude, longitude) == (0, 0):
        return None
    return geo.haversine_m(latitude, longitude, facts.terms.latitude, facts.terms.longitude)
