"""The lease loop against a real HTTP server: each item is answered once, and trouble with one is not its neighbours'."""

import threading
from collections.abc import Sequence
from typing import Any

import pytest

from agents_sdk import errors
from agents_sdk.leases import LeaseClient
from gpu_workers import leasing
from gpu_workers.decoding import DecoderPool
from gpu_workers.vision.base import Picture, Readings, VisionModel
from tests.gpu_workers.conftest import MeanColour, grey_photo
from tests.gpu_workers.lease_server import KEY, Item, LeaseServer


def work(server: LeaseServer, model: VisionModel, decoders: DecoderPool, **options: Any) -> leasing.Tally:
    with LeaseClient(server.url, KEY, max_retries=0) as client:
        return leasing.work_until_empty(client=client, load_model=lambda: model, decoders=decoders, holder="test:1", **options)


def test_works_through_all_items_in_batches(mean_colour: MeanColour, decoders: DecoderPool) -> None:
    items = [Item(grey_photo(number), ["a wall", "a door"]) for number in range(5)]
    with LeaseServer(*items) as server:
        tally = work(server, mean_colour, decoders, batch=2)
    assert tally == leasing.Tally(completed=5)
    assert mean_colour.batches == [2, 2, 1]
    assert [item.readings["phrase_scores"] for item in items] == [[float(number)] * 2 for number in range(5)]
    assert {item.model_hash for item in items} == {"ab" * 32}
    assert [item.hand_outs for item in items] == [1] * 5


def test_hostile_items_fail_alone(mean_colour: MeanColour, decoders: DecoderPool) -> None:
    good = Item(grey_photo(7), ["a wall"])
    bad = {
        "damaged": Item(b"\xff\xd8\xff broken", ["a wall"]),
        "not_a_photo": Item(b"GIF89a", ["a wall"]),
        "digest_mismatch": Item(grey_photo(8), ["a wall"], sha256="0" * 64),
        "malformed_params": Item(grey_photo(9), {"phrases": 1}),
    }
    with LeaseServer(*bad.values(), good) as server:
        tally = work(server, mean_colour, decoders)
    assert tally == leasing.Tally(completed=1, failed=4)
    assert {item.reason for item in bad.values()} == set(bad)
    assert good.readings["phrase_scores"] == [7.0]


@pytest.mark.parametrize("phrases", [["x"] * 6, ["x" * 501], [1], "a wall", None])
def test_refuses_phrases_it_was_not_built_for(mean_colour: MeanColour, decoders: DecoderPool, phrases: object) -> None:
    with LeaseServer(Item(grey_photo(1), phrases)) as server:
        assert work(server, mean_colour, decoders) == leasing.Tally(failed=1)
    assert mean_colour.batches == []


def test_an_item_taken_over_while_we_worked_does_not_count(mean_colour: MeanColour, decoders: DecoderPool) -> None:
    taken, kept = Item(grey_photo(1), ["a"]), Item(grey_photo(2), ["a"])

    def take_over(step: str, item: Item) -> None:
        if item is taken and step == "complete":
            item.token += 1

    with LeaseServer(taken, kept) as server:
        server.before = take_over
        assert work(server, mean_colour, decoders) == leasing.Tally(completed=1, stale=1)
    assert taken.readings == {}
    assert kept.readings


def test_a_lost_answer_is_no_second_result(mean_colour: MeanColour, decoders: DecoderPool) -> None:
    item = Item(grey_photo(3), ["a"])
    with LeaseServer(item) as server, LeaseClient(server.url, KEY, max_retries=1) as client:
        server.before = lambda step, _item: setattr(
            server, "lost_answers", 1 if server.requests.count(f"/v1/leases/{item.id}/complete") == 1 else 0
        )
        tally = leasing.work_until_empty(client=client, load_model=lambda: mean_colour, decoders=decoders, holder="test:1")
    assert tally == leasing.Tally(completed=1)
    assert server.requests.count(f"/v1/leases/{item.id}/complete") == 2
    assert mean_colour.batches == [1]


def test_a_redelivered_item_is_worked_again_with_its_new_token(mean_colour: MeanColour, decoders: DecoderPool) -> None:
    item = Item(grey_photo(4), ["a"])
    with LeaseServer(item) as server:
        with LeaseClient(server.url, KEY, max_retries=0) as client:
            client.lease("vision", 1, holder="killed:1")
        item.state = "READY"
        assert work(server, mean_colour, decoders) == leasing.Tally(completed=1)
    assert (item.token, item.hand_outs, item.state) == (2, 2, "DONE")


def test_heartbeats_while_the_model_works_and_drops_what_was_taken_over(mean_colour: MeanColour, decoders: DecoderPool) -> None:
    kept, lost = Item(grey_photo(1), ["a"]), Item(grey_photo(2), ["a"])
    # Heartbeats go out in turn: with the second one for `kept` after the take-over, the answer for `lost` has been read.
    second_round, before_it = threading.Event(), list[int]()

    def notice(step: str, item: Item) -> None:
        if step == "heartbeat" and item is kept and before_it and kept.heartbeats > before_it[0]:
            second_round.set()

    class Slow:
        model_hash, preprocessing = "ab" * 32, "mean-1"

        def describe(self, images: Sequence[Picture], phrases: Sequence[Sequence[str]]) -> list[Readings]:
            lost.token += 1
            before_it.append(kept.heartbeats)
            assert second_round.wait(20)
            return mean_colour.describe(images, phrases)

    with LeaseServer(kept, lost) as server:
        server.before = notice
        tally = work(server, Slow(), decoders, lease_s=0.3)
    assert tally == leasing.Tally(completed=1, stale=1)
    assert server.requests.count(f"/v1/leases/{lost.id}/complete") == 0


def test_stops_between_batches_when_asked(mean_colour: MeanColour, decoders: DecoderPool) -> None:
    items = [Item(grey_photo(number), ["a"]) for number in range(4)]
    with LeaseServer(*items) as server:
        tally = work(server, mean_colour, decoders, batch=2, is_stopping=lambda: bool(mean_colour.batches))
    assert tally == leasing.Tally(completed=2)
    assert [item.state for item in items] == ["DONE", "DONE", "READY", "READY"]


def test_a_missing_file_leaves_the_item_to_its_lease(mean_colour: MeanColour, decoders: DecoderPool) -> None:
    item = Item(grey_photo(5), ["a"])
    with LeaseServer(item) as server:
        server.are_files_gone = True
        tally = work(server, mean_colour, decoders)
    assert tally == leasing.Tally(unanswered=1)
    assert item.state == "LEASED"


def test_a_market_out_of_reach_raises(mean_colour: MeanColour, decoders: DecoderPool) -> None:
    with LeaseServer() as server:
        url = server.url
    with LeaseClient(url, KEY, max_retries=0) as client, pytest.raises(errors.AtomsError):
        leasing.work_until_empty(client=client, load_model=lambda: mean_colour, decoders=decoders, holder="test:1")
