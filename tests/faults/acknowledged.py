"""Whether a market keeps its promises to those it answered: every acknowledged write once, everything begun done, all of it told."""

import time
from collections.abc import Mapping

from market.config.supervisor import children
from tests.faults import customers, servers

# All ids of each kind of write, as their 32 hexadecimal digits.
_WRITTEN = {
    "deposit": "SELECT replace(id::text, '-', '') FROM payments_deposit",
    "bounty": "SELECT replace(id::text, '-', '') FROM bounties_bounty WHERE status NOT IN ('DRAFT', 'SCREENED', 'BLOCKED')",
    "claim": "SELECT replace(id::text, '-', '') FROM tasks_claim",
    "submission": "SELECT replace(id::text, '-', '') FROM tasks_submission",
    "acceptance": "SELECT replace(submission_id::text, '-', '') FROM verification_verdict WHERE decided_by = 'POSTER'",
    "payout": "SELECT replace(id::text, '-', '') FROM payments_payout",
}
_PAID = """
    SELECT replace(submission_id::text, '-', '') FROM bounties_settlement JOIN tasks_submission ON tasks_submission.id = submission_id
    WHERE bounties_settlement.kind = 'ACCEPTED' AND status = 'ACCEPTED'
"""
_TOLD = """
    SELECT replace(public_id::text, '-', '') FROM events_event
    JOIN events_webhookendpoint endpoint ON endpoint.agent_id = events_event.agent_id
"""
# What nobody need wait for: rows that some process of ours is to take on, now.
_UNDONE = {
    "cases to judge": "SELECT count(*) FROM verification_case WHERE stage IN ('CHECKS', 'VISION', 'DECIDE')",
    "vision runs": "SELECT count(*) FROM verification_visionrun WHERE lease_state IN ('READY', 'LEASED')",
    "verdicts to apply": "SELECT count(*) FROM verification_verdict WHERE applied_at IS NULL",
    "settlements to mature": "SELECT count(*) FROM bounties_settlement WHERE matured_at IS NULL AND kind = 'ACCEPTED'",
    "deposits to confirm": "SELECT count(*) FROM payments_deposit WHERE status = 'REQUESTED'",
    "payouts to send": "SELECT count(*) FROM payments_payout WHERE status = 'REQUESTED'",
    "events to number": "SELECT count(*) FROM events_event WHERE seq IS NULL",
    "webhooks to send": "SELECT count(*) FROM events_delivery WHERE lease_state IN ('READY', 'LEASED')",
    "news of banks": "SELECT count(*) FROM payments_providerevent WHERE processed_at IS NULL",
}

Written = Mapping[str, frozenset[str]]


def written(market: servers.Market) -> Written:
    """Return the ids of all writes that the database has."""
    return {kind: _ids(market, statement) for kind, statement in _WRITTEN.items()}


def differences(market: servers.Market, memory: customers.Memory, *, before: Written) -> list[str]:
    """Compare what clients were told with what is there; ``before`` is what was `written` when they began.

    Each client repeats what it began until it is answered, so what is there and was not acknowledged was done twice.
    """
    found = [f"not answered however often it was sent: {what}" for what in memory.given_up]
    for kind, there in written(market).items():
        told = frozenset(_digits(answered) for answered in memory.acknowledged[kind])
        new = there - before[kind]
        found += [f"acknowledged and lost: {kind} {lost}" for lost in sorted(told - new)]
        found += [f"done twice: {kind} {extra}" for extra in sorted(new - told)]
    unpaid = {_digits(submission) for submission in memory.accepted} - _ids(market, _PAID)
    found += [f"called accepted and not paid: submission {submission}" for submission in sorted(unpaid)]
    untold = _ids(market, _TOLD) - frozenset(map(_digits, market.webhooks_heard()))
    found += [f"never told by webhook: event {event}" for event in sorted(untold)]
    return found + [f"the books: {line}" for line in market.audit()]


def undone(market: servers.Market) -> dict[str, int]:
    """Count what is still to be done, by what it is."""
    counts = {what: market.query(statement)[0][0] for what, statement in _UNDONE.items()}
    return {what: count for what, count in counts.items() if isinstance(count, int) and count}


def wait_until_done(market: servers.Market, *, within_s: float) -> tuple[float, dict[str, int]]:
    """Wait until nothing is undone; return how long that took in seconds, and what is undone after ``within_s``."""
    began_s = time.monotonic()
    while left := undone(market):
        if time.monotonic() - began_s > within_s:
            break
        market.start_what_ended()
        time.sleep(children.POLL_S)
    return time.monotonic() - began_s, left


def _ids(market: servers.Market, statement: str) -> frozenset[str]:
    return frozenset(str(found) for (found,) in market.query(statement))


def _digits(answered: str) -> str:
    """Return the digits of an id as it is answered: a kind of three letters, and them."""
    return answered.partition("_")[2]
