"""What a verdict's codes mean to the person who took the photo: what was wrong, and what to do about it."""

from typing import Final

WORDS: Final = {
    "blurred": "It is blurred. Hold the phone still, tap on the subject to focus, and take it again.",
    "burnt": "It is too bright. Turn away from the light.",
    "captured_before_claim": "Your phone says it was taken before you claimed the task.",
    "captured_in_the_future": "Your phone's clock is ahead of ours.",
    "copy_of_earlier_photo": "This picture was sent before. Take a new one yourself.",
    "decided_by_person": "Decided by a person who looked at the photo.",
    "looks_like_earlier_photo": "It looks much like an earlier photo.",
    "maybe_blurred": "It may be too blurred to judge.",
    "metadata_names_another_day": "The file names another day.",
    "metadata_names_another_place": "The file names another place.",
    "no_position": "Your phone sent no position. Allow location for this page, then take the photo again.",
    "no_readings": "It could not be read automatically.",
    "not_certain": "The machine is not sure.",
    "not_certified": "The machine may not decide this alone.",
    "not_shown": "We could not see it in the photo. Go closer, put it in the middle, and take it again.",
    "outside_area": "It was taken outside the area. Go to the marked place and take it there.",
    "position_uncertain": "Your position was not exact enough. Wait outdoors for a better signal.",
    "same_photo_sent_twice": "The same photo came in twice.",
    "too_bright": "It is too bright. Turn away from the light, or wait for shade.",
    "too_dark": "It is too dark. Find more light or use the flash.",
    "too_early": "It came in before the task's time began.",
    "too_few_pixels": "It is too small. Use the camera's full size.",
    "too_late": "It came in after the time was over.",
}


def words_for(reason_code: str, facts: dict[str, object] | None = None) -> str:
    """Return a sentence for a reason code, with the distance where the check measured one; "" for a code without words."""
    sentence = WORDS.get(reason_code, "")
    distance_m = (facts or {}).get("distance_m")
    if reason_code == "outside_area" and isinstance(distance_m, int | float):
        return f"It was taken about {distance_m:.0f} m from the place. Go to the marked place and take it there."
    return sentence
