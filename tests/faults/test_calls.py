"""The calls that campaigns repeat and mutate: one for every route, and each succeeds."""

import pytest

from tests.faults import calls
from tests.market.api.caller import Caller

pytestmark = pytest.mark.django_db


def test_has_a_call_for_every_route() -> None:
    assert calls.MAKERS.keys() == calls.routes()


@pytest.mark.parametrize(("route", "method"), calls.MAKERS)
def test_succeeds(route: str, method: str) -> None:
    call = calls.Cast().call(route, method)
    headers = {"Authorization": f"Bearer {call.secret}", "Idempotency-Key": call.key}
    response = Caller().client.generic(method, call.path, call.content(), call.content_type, headers=headers)
    content = response.getvalue()  # Read to its end, a file is closed.
    assert 200 <= response.status_code < 300, content
