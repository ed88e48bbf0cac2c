"""The calls that campaigns repeat and mutate: one for every route. That each succeeds is the first thing the mutation looks at."""

from tests.faults import calls


def test_has_a_call_for_every_route() -> None:
    assert calls.MAKERS.keys() == calls.routes()
