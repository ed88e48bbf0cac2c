"""Settlement: turn each candidate's verdict into transfers, exactly once."""

import datetime
import uuid

from django.db.models.functions import Greatest

from market.bounties import maturing as deposit_maturing
from market.bounties.research import closing, funding, locks, news, paying, pricing, reserving, rules
from market.bounties.research.models import CaseReserve, ResearchBounty, ResearchSettlement, RunPayment
from market.common import account_paths, retrying
from market.escrow import bonds, holds
from tasks import batches, ids
from tasks.models import WorkerProfile
from verification import receipts
from verification.research import candidates
from verification.research.models import Candidate, Run

_Status = Candidate.Status


def apply_due(*, now: datetime.datetime, limit: int = 100) -> int:
    """Settle every decided candidate that has no settlement, oldest first; return how many."""
    due = Candidate.objects.filter(status__in=Candidate.DECIDED, settlement__isnull=True, reserve__isnull=False).order_by(
        "decided_at", "pk"
    )

    def work(pk: uuid.UUID) -> bool:
        return retrying.in_transaction(lambda: _settle(pk, now)) is not None

    return sum(batches.drive(sweep="candidates settled", due=due, work=work, limit=limit, now=now))


def lapse_due(*, now: datetime.datetime, limit: int = 100) -> int:
    """End what announced and never sent candidates held up: bond and reserve; return how many.

    The bond is lost, because others waited for nothing; not where the bounty closed first, so that it could not be sent.
    """
    due = CaseReserve.objects.filter(released_at=None, candidate__status=_Status.LAPSED).order_by("created_at")

    def work(pk: uuid.UUID) -> bool:
        return retrying.in_transaction(lambda: _lapse(pk, now))

    return sum(batches.drive(sweep="announcements lapsed", due=due, work=work, limit=limit, now=now))


def _settle(candidate_id: uuid.UUID, now: datetime.datetime) -> ResearchSettlement | None:
    task_id = Candidate.objects.values_list("task_id", flat=True).get(pk=candidate_id)
    bounty = locks.lock_bounty_of_task(task_id)
    candidate = Candidate.objects.select_related("task", "parent__tree", "tree").get(pk=candidate_id)
    if ResearchSettlement.objects.filter(candidate=candidate).exists():
        return None
    reserve = CaseReserve.objects.select_related("bond").get(candidate=candidate)
    settlement = _write(bounty, candidate, now)
    _pay(bounty, reserve, settlement, now)
    # What its runs earned waits for the same window.
    RunPayment.objects.filter(run__candidate=candidate, matured_at=None).update(matures_at=Greatest("matures_at", settlement.matures_at))
    word = settlement.outcome.lower()
    news.tell_of_candidate(bounty, candidate, type=f"candidate.{word}", actor="machine", gain=candidate.gain)
    news.tell_of_settlement(bounty, settlement, type="candidate.settled", actor="machine")
    closing.wind_down(bounty=bounty, actor="machine", now=now)
    return settlement


def _pay(bounty: ResearchBounty, reserve: CaseReserve, settlement: ResearchSettlement, now: datetime.datetime) -> None:
    candidate = settlement.candidate
    fees = account_paths.platform_fees(mode=bounty.mode, currency=bounty.currency)
    if settlement.outcome == _Status.ACCEPTED:
        # Its bond stays until nobody can challenge it any more (`maturing.finalise_due`).
        earned = account_paths.worker_earned(mode=bounty.mode, worker_id=settlement.worker_id, currency=bounty.currency)
        parts = [holds.Part(earned, settlement.reward_minor, "reward"), holds.Part(fees, settlement.fee_minor, "platform_fee")]
        reserving.capture(bounty=bounty, reserve=reserve, parts=parts, effect=str(settlement), now=now)
        return
    if settlement.outcome == _Status.REJECTED and candidate.reason_code not in rules.BLAMELESS_REJECTIONS:
        # The poster paid the owners; this pays the trusted pool, which looked at all of it.
        bonds.lose(bond=reserve.bond, parts=[holds.Part(fees, reserve.bond.amount_minor, "bond_lost")], now=now)
    else:
        bonds.give_back(bond=reserve.bond, now=now)
    candidates.make_final(candidate=candidate, now=now)


def _write(bounty: ResearchBounty, candidate: Candidate, now: datetime.datetime) -> ResearchSettlement:
    reward_minor = 0
    if candidate.status == _Status.ACCEPTED:
        assert candidate.shrunk_gain is not None, f"{candidate} was accepted without a gain."
        reward_minor = pricing.reward_minor(
            shrunk_gain=candidate.shrunk_gain,
            min_effect=candidate.task.spec["min_effect"],
            reward_per_effect_minor=bounty.reward_per_effect_minor,
            cap_minor=bounty.cap_minor,
        )
    window_s = bounty.challenge_window_s if candidate.status == _Status.ACCEPTED else 0
    final_at = now + datetime.timedelta(seconds=window_s)
    settlement = ResearchSettlement(
        candidate=candidate,
        bounty=bounty,
        outcome=candidate.status,
        worker=_worker(candidate, bounty),
        reward_minor=reward_minor,
        fee_minor=pricing.fee_minor(reward_minor, bounty.fee_bps),
        currency=bounty.currency,
        settled_at=now,
        final_at=final_at,
        matures_at=max(final_at, deposit_maturing.deposits_mature_at(agent_id=bounty.agent_id, settled_at=now)),
    )
    settlement.receipt = dict(receipts.sign(receipt_payload(bounty, candidate, settlement)))
    # The insert is the lock: a candidate is unique here, so a second settlement can't be written.
    settlement.save(force_insert=True)
    return settlement


def receipt_payload(bounty: ResearchBounty, candidate: Candidate, settlement: ResearchSettlement) -> dict[str, receipts.Json]:
    """Return the facts that a candidate's receipt states: digests, numbers, enums and times only, signed as every receipt is."""
    runs = Run.objects.filter(candidate=candidate, stage=Run.Stage.VALID).order_by("pk")
    return {
        "version": receipts.VERSION,
        "bounty": str(bounty),
        "candidate": str(candidate),
        "terms_hash": bounty.terms_hash or funding.terms_hash(bounty),
        "spec_digest": candidate.task.spec_digest,
        "parent_tree": candidate.parent.tree_id if candidate.parent else None,
        "tree": candidate.tree_id,
        "verdict": {
            "outcome": candidate.status,
            "reason_code": candidate.reason_code,
            "gain": candidate.gain,
            "shrunk_gain": candidate.shrunk_gain,
        },
        "paid": {"reward_minor": settlement.reward_minor, "fee_minor": settlement.fee_minor, "currency": settlement.currency},
        "runs": [_run_line(run) for run in runs],
        "times": {
            "received_at": _time(candidate.received_at),
            "decided_at": _time(candidate.decided_at),
            "settled_at": _time(settlement.settled_at),
            "final_at": _time(settlement.final_at),
        },
    }


def _run_line(run: Run) -> receipts.Json:
    root = run.report.get("root") if isinstance(run.report, dict) else None
    return {
        "id": ids.encode("rpl", run.pk),
        "kind": run.kind,
        "tree": run.tree_id,
        "class": run.class_text,
        "root": root if isinstance(root, str) else None,
        "public_score": run.public_score,
        "holdout_score": run.holdout_score,
    }


def _worker(candidate: Candidate, bounty: ResearchBounty) -> WorkerProfile:
    return paying.profile_of(candidate.claimant_id, bounty.mode)


def _lapse(candidate_id: uuid.UUID, now: datetime.datetime) -> bool:
    bounty = locks.lock_bounty_of_task(Candidate.objects.values_list("task_id", flat=True).get(pk=candidate_id))
    reserve = CaseReserve.objects.select_related("bond", "candidate").get(pk=candidate_id)
    if not reserving.release(bounty=bounty, reserve=reserve, now=now):
        return False
    if bounty.closed_because:
        bonds.give_back(bond=reserve.bond, now=now)
    else:
        fees = account_paths.platform_fees(mode=bounty.mode, currency=bounty.currency)
        bonds.lose(bond=reserve.bond, parts=[holds.Part(fees, reserve.bond.amount_minor, "bond_lost")], now=now)
    news.tell_of_candidate(bounty, reserve.candidate, type="candidate.lapsed", actor="clock")
    closing.wind_down(bounty=bounty, actor="clock", now=now)
    return True


def _time(moment: datetime.datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
