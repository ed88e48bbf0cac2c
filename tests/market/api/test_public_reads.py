"""What anybody may read without a key."""

import base64

import pytest

from market.api import public
from market.bounties import pricing
from market.common.money import Money
from tests.market.api.caller import Caller
from verification import calibration


@pytest.mark.parametrize("bound", [0.019, 0.01, 0.005, 0.0021])
def test_finds_the_highest_reward_under_a_bound(bound: float) -> None:
    highest = public.highest_reward(bound)
    assert highest is not None
    assert pricing.max_false_accept(highest) >= bound
    assert pricing.max_false_accept(Money(highest.amount_minor + 1, "USD")) < bound


def test_knows_that_nothing_or_everything_is_certified() -> None:
    assert public.highest_reward(None) is None
    assert public.highest_reward(0.021) is None
    assert public.highest_reward(0.001) == Money(pricing.MAX_REWARD_MINOR["USD"], "USD")


@pytest.mark.django_db
def test_publishes_what_calibration_certifies() -> None:
    known = calibration.certified()
    body = Caller().get("calibration").ok()
    assert body["model_hash"] == known.model_hash
    assert body["photographs"] == known.photographs
    assert body["is_certified"] == (known.max_false_accept is not None)
    assert (body["max_reward"] is None) == (public.highest_reward(known.bad_among_accepted_upper) is None)


@pytest.mark.django_db
def test_publishes_receipt_keys_as_json_web_keys() -> None:
    (key,) = Caller().get("keys").ok()["data"]
    assert (key["kty"], key["crv"], key["alg"], key["kid"]) == ("OKP", "Ed25519", "EdDSA", key["key_id"])
    assert len(base64.urlsafe_b64decode(key["x"] + "=")) == 32
