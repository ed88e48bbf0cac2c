"""Bodies as agents send them."""

from tests import stories


def bounty(**changes: object) -> dict[str, object]:
    """Return a body for POST /v1/bounties; None leaves a field out."""
    body: dict[str, object] = {
        "kind": "photo",
        "question": stories.QUESTION,
        "place": {"latitude": stories.PLACE[0], "longitude": stories.PLACE[1], "within_m": 50},
        "reward": {"amount": "10.00", "currency": "USD"},
        "deadline_in_s": 7200,
    }
    return {name: value for name, value in {**body, **changes}.items() if value is not None}
