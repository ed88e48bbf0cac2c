"""Facts of an honest case, and how tests change them."""

import datetime

from tasks.kinds.photo import PhotoTerms
from verification.checks.result import CaseFacts, CopyFacts, Limits, PhotoFacts

NOON = datetime.datetime(2026, 11, 20, 12, 0, tzinfo=datetime.UTC)
MINUTE = datetime.timedelta(minutes=1)
PLACE = (52.5200, 13.4050)
TERMS = PhotoTerms.model_validate(
    {
        "question": "Is the bakery open? Show the door sign.",
        "must_show": ["the door sign", "the street"],
        "latitude": PLACE[0],
        "longitude": PLACE[1],
        "within_m": 50,
        "opens_at": NOON - 60 * MINUTE,
        "closes_at": NOON + 60 * MINUTE,
        "max_false_accept": 0.02,
    }
)
PHOTO = PhotoFacts(width_px=1280, height_px=960, exif={}, sharpness=800.0, dark_level=20.0, bright_level=210.0, burnt_share=0.01)


def photo(**changes: object) -> PhotoFacts:
    values = {name: getattr(PHOTO, name) for name in PhotoFacts.__slots__}
    return PhotoFacts(**{**values, **changes})


def honest(**changes: object) -> CaseFacts:
    values: dict[str, object] = {
        "terms": TERMS,
        "latitude": PLACE[0],
        "longitude": PLACE[1],
        "accuracy_m": 10.0,
        "captured_at": NOON - MINUTE,
        "received_at": NOON,
        "claimed_at": NOON - 20 * MINUTE,
        "claim_expires_at": NOON + 10 * MINUTE,
        "closes_at": TERMS.closes_at,
        "photos": (PHOTO,),
        "copies": CopyFacts(),
        "phrase_scores": (0.9, 0.9),
        "limits": Limits(0.6, 0.2),
        **changes,
    }
    return CaseFacts(**values)  # type: ignore[arg-type]
