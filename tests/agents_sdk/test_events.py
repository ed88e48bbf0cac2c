"""The events feed is read without a gap ..."""

import httpx
import pytest

from agents_sdk import AsyncMarket, Market, errors
from tests.agents_sdk import replies

KINDS: list[replies.Kind] = ["sync", "async"]


def feed(last: int, page_size: int = 3) -> replies.FakeMarket:
    def handle(request: httpx.Request) -> httpx.Response:
        after = int(request.url.params["after"])
        return replies.ok({"object": "list", "data": [replies.event(seq) for seq in range(after + 1, min(after + page_size, last) + 1)]})

    return replies.FakeMarket(handle)


@pytest.mark.parametrize("kind", KINDS)
def test_it_yields_all_pages_in_order(kind: replies.Kind) -> None:
    assert [found.seq for found in feed(8).ask(kind, lambda m: m.events())] == [1, 2, 3, 4, 5, 6, 7, 8]


@pytest.mark.parametrize("kind", KINDS)
def test_it_goes_on_after_the_last_event_dealt_with(kind: replies.Kind) -> None:
    assert [found.seq for found in feed(8).ask(kind, lambda m: m.events(after=6))] == [7, 8]


@pytest.mark.parametrize("wrong", [[1, 3], [2], [1, 1], [0], [1, None]])
def test_a_gap_is_an_error_not_a_loss(wrong: list[int | None]) -> None:
    rows = [replies.event(1) | {"seq": seq} for seq in wrong]
    with pytest.raises(errors.MalformedResponse, match="gap"):
        replies.FakeMarket(replies.ok(replies.page(*rows))).ask("sync", lambda m: m.events())


@pytest.mark.parametrize("kind", KINDS)
def test_following_waits_for_more(kind: replies.Kind) -> None:
    pages = [
        replies.page(replies.event(1)),
        replies.page(),
        replies.page(),
        replies.page(replies.event(2)),
        replies.problem(401, "api_key_refused"),
    ]
    fake = replies.FakeMarket(*(page if isinstance(page, httpx.Response) else replies.ok(page) for page in pages))
    seen = []

    def follow(client: Market) -> None:
        for found in client.events(follow=True):
            seen.append(found.seq)

    async def follow_async(client: AsyncMarket) -> None:
        async for found in client.events(follow=True):
            seen.append(found.seq)

    with pytest.raises(errors.Unauthenticated):
        fake.ask(kind, follow if kind == "sync" else follow_async)
    assert seen == [1, 2]
    assert len(fake.slept_s) == 2
    assert fake.slept_s[0] < fake.slept_s[1]
