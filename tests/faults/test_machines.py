"""The state machines: they agree with the product, and disagree with a product that has a bug."""

import datetime
from collections.abc import Callable

import pytest
from django.db import connection
from django.db.models import Q

from market.bounties import claiming, closing, news, spending
from market.escrow import holds
from tasks import claims, submissions
from tasks.models import Claim, Submission
from tests.faults import machines
from tests.faults.stateful import bounty, claim, hold, ledger, running
from verification import pipeline

pytestmark = pytest.mark.django_db

# Enough for every planted bug to be met several times over.
MOST_EXAMPLES = 60

Plant = Callable[[pytest.MonkeyPatch], None]


def in_sql(function: str, old: str, new: str) -> Plant:
    """Change a function of the ledger, for as long as the test's transaction lives."""

    def plant(_: pytest.MonkeyPatch) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_get_functiondef(%s::regproc)", [function])
            (source,) = cursor.fetchone()
            assert old in source
            cursor.execute(source.replace(old, new))

    return plant


def instead_of(module: object, name: str, other: object) -> Plant:
    """Put something else in the place of a function or a rule."""
    return lambda patch: patch.setattr(module, name, other)


def lapsed_a_moment_later(now: datetime.datetime) -> object:
    return Claim.objects.filter(status=Claim.Status.ACTIVE, expires_at__lt=now)


def retakes_for_ever(submission: Submission, *, now: datetime.datetime) -> bool:
    return submission.status == Submission.Status.REJECTED and submission.claim.status == Claim.Status.SUBMITTED


BUGS: dict[type[running.Machine], dict[str, Plant]] = {
    ledger.LedgerMachine: {
        "other content under a known id passes": in_sql("ledger_post", "ELSE 'CONFLICT' END", "ELSE 'EXISTS' END"),
        "the currency of a repeat is not looked at": in_sql("ledger_post", "v_currencies[i.source], t.reason", "i.currency, t.reason"),
        "test money moves to live": in_sql("ledger_post", "v_modes[i.source] <> v_modes[i.destination]", "false"),
        "the transfer at a mark counts twice": in_sql("ledger_shared_balances", "seq > coalesce", "seq >= coalesce"),
    },
    hold.HoldMachine: {
        "nothing is refused": instead_of(holds, "_refuse_unless", lambda hold, is_repeat: None),
        "a repeat is not known": instead_of(holds, "_is_captured", lambda hold, entries, effect: False),
        "the rest stays": instead_of(holds, "_to_agent", lambda hold: []),
    },
    claim.ClaimMachine: {
        "a claim lives a moment longer": instead_of(claiming, "_lapsed", lapsed_a_moment_later),
        "retakes without end": instead_of(submissions, "offers_retake", retakes_for_ever),
        "an appealable slot is let go": instead_of(claims, "has_unsettled_work", lambda claim: False),
        "two slots for one": instead_of(claims, "used_up", lambda worker_id: Q(worker_id=worker_id, status="ACTIVE")),
    },
    bounty.BountyMachine: {
        "nothing is given back": instead_of(closing, "_give_back", lambda bounty, unused, now: None),
        "a raise leaves the limit": instead_of(pipeline, "tighten", lambda **_: 0),
        "limits are not asked": instead_of(spending, "check", lambda **_: None),
        "nobody is told of the pay": instead_of(news, "tell_of_settlement", lambda *_, **__: None),
    },
}


def test_agree_with_their_models() -> None:
    report = machines.run(seed=1, rounds=4)
    assert report.violations == []
    assert isinstance(report.figures["steps"], int)
    assert report.figures["steps"] > 4 * 4 * running.STEPS / 2


@pytest.mark.parametrize(("machine", "bug"), [(machine, bug) for machine, bugs in BUGS.items() for bug in bugs])
def test_find_a_planted_bug(monkeypatch: pytest.MonkeyPatch, machine: type[running.Machine], bug: str) -> None:
    BUGS[machine][bug](monkeypatch)
    assert running.run(machine, seed=1, examples=MOST_EXAMPLES, is_shortened=False).violation
