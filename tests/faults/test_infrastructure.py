"""What a market stands on may be killed under load. The campaign, in its smaller form: it ..."""

import random
import uuid
from collections.abc import Callable, Iterator

import pytest

from tests.faults import acknowledged, campaign, customers, infrastructure, servers

# A killed worker's rows wait for the end of its lease.
LEASE_S = 2
# The command holds twice the lease. Here the machine may be busy with the rest of the suite: a wait that ends with this has met a
# defect, not a slow machine.
DONE_WITHIN_S = 120.0
AWAY_S = 6.0

Opened = tuple[servers.Market, list[servers.ClientKeys]]


@pytest.fixture(scope="module")
def opened() -> Iterator[Opened]:
    """One market for all tests here; each leaves it whole."""
    with servers.open_market(servers.Options(clients=3, lease_s=LEASE_S)) as market_and_keys:
        yield market_and_keys


@pytest.mark.parametrize(("scenario", "rounds"), [("postgres", 3), ("broker", 1), ("web", 3), ("processes", 3), ("broker-away", 1)])
def test_loses_nothing_and_does_nothing_twice(opened: Opened, scenario: str, rounds: int) -> None:
    market, (*keys, _) = opened
    report = campaign.Report()
    infrastructure.play(
        scenario,
        market=market,
        keys=keys,
        rounds=rounds,
        seed=1,
        done_within_s=DONE_WITHIN_S,
        most_writes=10,
        held_row_within_s=2.0,
        away_s=AWAY_S,
        report=report,
    )
    assert report.violations == []


def load_of_one(opened: Opened) -> customers.Load:
    """One client, whose workers hold no claims of other tests: it begins with a deposit, a bounty, a claim and a submission."""
    market, (*_, keys) = opened
    return customers.Load(market.url, [keys], chance=random.Random(1))


def test_finds_work_that_lives_in_the_broker_alone(opened: Opened) -> None:
    """Without beat no sweeper runs, so that only the bell that is lost would have had the submission judged."""
    market, _ = opened
    before, load = acknowledged.written(market), load_of_one(opened)
    market.kill("beat")
    market.kill("worker")
    load.start()
    load.wait_for_more(4)
    memory = load.finish()
    assert memory.acknowledged["submission"]
    market.kill("valkey")
    market.start("valkey")
    market.start("worker")
    market.wait_for_worker()
    assert "cases to judge" in acknowledged.wait_until_done(market, within_s=1)[1]
    market.start("beat")
    assert acknowledged.wait_until_done(market, within_s=DONE_WITHIN_S)[1] == {}
    assert acknowledged.differences(market, memory, before=before) == []


def test_finds_an_event_that_no_webhook_told(opened: Opened) -> None:
    """An event that has its number, and never came into the outbox."""
    market, _ = opened
    before = acknowledged.written(market)
    [(lost,)] = market.query(
        "INSERT INTO events_event (public_id, agent_id, seq, type, subject, actor, data)"
        " SELECT gen_random_uuid(), agent_id, 1000000, 'bounty.opened', 'bty_0', 'agent', '{}' FROM events_webhookendpoint LIMIT 1"
        " RETURNING replace(public_id::text, '-', '')"
    )
    assert acknowledged.wait_until_done(market, within_s=DONE_WITHIN_S)[1] == {}
    found = acknowledged.differences(market, customers.Memory(), before=before)
    market.query("DELETE FROM events_event WHERE seq = 1000000 RETURNING 1")
    assert found == [f"never told by webhook: event {lost}"]


def test_finds_what_is_done_twice(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that loses its first answer, and repeats the request under another key."""
    send_once = customers.Client._write

    def send_twice(client: customers.Client, kind: str, send: Callable[[str], customers.Answer]) -> customers.Answer | None:
        send(str(uuid.uuid4()))
        return send_once(client, kind, send)

    before, load = acknowledged.written(opened[0]), load_of_one(opened)
    with monkeypatch.context() as planted:
        planted.setattr(customers.Client, "_write", send_twice)
        load.start()
        load.wait_for_more(1)
        memory = load.finish()
    found = acknowledged.differences(opened[0], memory, before=before)
    assert "done twice: deposit" in {line.rpartition(" ")[0] for line in found}


def test_finds_answers_that_leave_before_their_commit(opened: Opened) -> None:
    """A PostgreSQL that answers a commit before it is on disk, and dies."""
    market, _ = opened
    before, load = acknowledged.written(market), load_of_one(opened)
    market.stop("postgres")
    market.start("postgres", *servers.EARLY_ANSWERS)
    market.freeze_wal_writer()
    load.start()
    load.wait_for_more(3)
    market.kill("postgres")
    market.start("postgres")
    found = acknowledged.differences(market, load.finish(), before=before)
    assert any(line.startswith("acknowledged and lost: ") for line in found), found
