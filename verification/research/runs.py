"""Runs in the hands of owners: handed out, kept, sealed, revealed, handed in. What a run is worth, `judging` says."""

import datetime
import re
import uuid
from dataclasses import dataclass

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import transaction
from django.db.models import F, QuerySet
from django.db.models.functions import Least, Now

from tasks import ids, leases
from verification import dispatch
from verification.replay import reports
from verification.replay.classes import ClassKey
from verification.replay.spec import SANDBOX_LEVELS, Spec
from verification.research import auditing, eligible, files, hosts, nudges, reasons, ringers, rounds, rules, trusted
from verification.research.models import Artefact, Host, Run

_Stage = Run.Stage
_LEASED = leases.LeaseState.LEASED
_REASON = re.compile(r"[^a-z0-9_]+")
_SEAL = re.compile(r"[0-9a-f]{64}")
# After the report is known, nobody else may train it: it ends valid, invalid or cancelled.
ENDED = (_Stage.VALID, _Stage.INVALID, _Stage.CANCELLED)


class NoRun(LookupError):
    """This key was not given a run with that id."""


class HostSuspended(Exception):
    """The host handed in too many invalid runs: it gets no more."""


class MalformedSeal(ValueError):
    """A seal is 64 hexadecimal digits in lower case."""


class OtherSeal(Exception):
    """The run was sealed with another seal: a seal is for good."""


class RevealTooEarly(Exception):
    """Other runs of the round are still trained: ask again after ``retry_after_s`` seconds."""

    def __init__(self, message: str, *, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class NotSealed(Exception):
    """Seal the report first."""


class NotWanted(ValueError):
    """This checkpoint was not asked for."""


class OtherCheckpoint(Exception):
    """Another file was handed in as this checkpoint."""


class CheckpointsMissing(Exception):
    """Checkpoints that were asked for are not here: ``missing`` are their numbers."""

    def __init__(self, missing: list[int]) -> None:
        super().__init__(f"Hand in checkpoints {', '.join(map(str, missing))} first.")
        self.missing = missing


@dataclass(frozen=True, slots=True)
class Sealed:
    """A sealed run: whether its report is asked for now, or when to look again."""

    is_reveal_due: bool
    retry_after_s: float


def hand_out(
    *,
    key_id: uuid.UUID,
    user: AbstractBaseUser,
    host: Host | None,
    holder: str,
    limit: int,
    lease_s: int,
    modes: tuple[str, ...],
    is_trusted: bool = False,
) -> list[Run]:
    """Lease up to ``limit`` runs, oldest first, to an owner's ``host``; to the trusted pool, the runs that only it may do.

    Nobody gets a run of his own task or commit, nor two runs of one tree and seed. One in some is a ringer (see `ringers`).

    Raises:
        HostSuspended
        hosts.NoHost: the host is another user's, or none was named and the key is not trusted.
    """
    handed_out: list[Run] = []
    with transaction.atomic():
        # One at a time for each owner, or two requests at once would get both replicas of one baseline.
        hosts.lock(user)
        due = _due(user, host, modes, is_trusted)
        while len(handed_out) < min(limit, rules.MAX_HANDED_OUT):
            # The pool is not tested, and would never be handed what is made for one of its hosts.
            if not is_trusted:
                ringers.mix_in(due=due, host=host, owner=user)
            leased = due.hand_out(limit=1, holder=holder[:80], lease_s=lease_s)
            if not leased:
                break
            handed_out += [_hand_over(run, key_id, user, host) for run in leased]
    return handed_out


def _due(user: AbstractBaseUser, host: Host | None, modes: tuple[str, ...], is_trusted: bool) -> leases.LeasedQuerySet[Run]:
    if is_trusted:
        return eligible.for_trusted_pool(owner=user, modes=modes, hardware=host.hardware if host else "")
    if host is None or host.owner_id != user.pk:
        raise hosts.NoHost("Register this machine and name its id.")
    fresh = Host.objects.get(pk=host.pk)
    if fresh.is_suspended:
        raise HostSuspended(f"Host {fresh} handed in {fresh.invalid_count} invalid runs; it gets no more.")
    Host.objects.filter(pk=host.pk).update(last_seen_at=Now())
    return eligible.for_host(host=fresh, owner=user, modes=modes)


def _hand_over(run: Run, key_id: uuid.UUID, user: AbstractBaseUser, host: Host | None) -> Run:
    values = {"owner_id": user.pk, "host_id": host.pk if host else None, "leased_by_key": key_id, "reported_step": 0}
    Run.objects.filter(pk=run.pk).update(leased_at=Now(), **values)
    run.refresh_from_db()
    return run


def heartbeat(*, run_id: uuid.UUID, token: int, key_id: uuid.UUID, lease_s: int, step: int | None = None) -> None:
    """Let the lease of an open run end ``lease_s`` seconds from now, and note the ``step`` it has come to.

    A sealed run keeps its longer lease; the trusted pool's has none.

    Raises:
        NoRun: this key was not given such a run.
        leases.StaleLease: it went to another holder, was cancelled, or is kept longer than `rules.run_limit`.
    """
    run = _of_key(run_id, key_id)
    if run.token == token and run.lease_state == _LEASED and run.stage != _Stage.OPEN:
        if run.is_trusted_only:
            Run.objects.filter(leased_by_key=key_id).heartbeat(pk=run_id, token=token, lease_s=lease_s)
        return
    spec = Spec.from_json(run.spec)
    # Or a holder who only ever says that he lives would keep a candidate from its verdict for ever.
    wanted = Run.objects.filter(leased_by_key=key_id, stage=_Stage.OPEN, leased_at__gte=Now() - rules.run_limit(spec))
    wanted.heartbeat(pk=run_id, token=token, lease_s=lease_s)
    if step is not None:
        done = max(0, min(step, spec.steps))
        Run.objects.filter(pk=run_id, token=token, reported_step__lt=done).update(reported_step=done)
    if run.host_id:
        Host.objects.filter(pk=run.host_id).update(last_seen_at=Now())


def seal(*, run_id: uuid.UUID, token: int, key_id: uuid.UUID, seal: str, now: datetime.datetime) -> Sealed:
    """Take the seal of a finished run's report (see `reports.seal`); from now on an owner's lease lasts `rules.SEALED_LEASE_S`.

    Raises:
        NoRun, MalformedSeal
        OtherSeal: it has another one.
        leases.StaleLease: the run went to another holder, or was cancelled.
    """
    if not _SEAL.fullmatch(seal):
        raise MalformedSeal("The seal must be 64 hexadecimal digits in lower case (SHA-256).")
    run = _of_key(run_id, key_id)
    if run.stage == _Stage.OPEN:
        # A pool that was killed has lost the report under its seal: waiting a day for it would only hold up the verdict.
        until = F("lease_until") if run.is_trusted_only else Now() + datetime.timedelta(seconds=rules.SEALED_LEASE_S)
        moved = _held(run, token, _Stage.OPEN).update(stage=_Stage.SEALED, seal=seal, sealed_at=now, lease_until=until)
        run.refresh_from_db()
        if moved:
            nudges.wake(run)
    _require_token(run, token)
    if run.seal != seal:
        raise OtherSeal(f"Run {run} is sealed with another seal.")
    is_due = rounds.is_reveal_due(run)
    return Sealed(is_due, 0.0 if is_due else rules.reveal_retry_s(Spec.from_json(run.spec)))


def reveal(*, run_id: uuid.UUID, token: int, key_id: uuid.UUID, report: object, salt: str, now: datetime.datetime) -> Run:
    """Take the report under a run's seal; return the run with ``wanted_checkpoints``. The same again changes nothing.

    Which segments are audited is drawn here: before, the owner could have made just those.

    Raises:
        NoRun, NotSealed, RevealTooEarly
        reports.MalformedReport: not of the published shape, of another run, or not what was sealed.
        leases.StaleLease: the run was cancelled.
    """
    run = _of_key(run_id, key_id)
    if run.stage == _Stage.OPEN:
        raise NotSealed(f"Seal the report of run {run} first.")
    _require_token(run, token)
    if run.stage != _Stage.SEALED:
        return run
    if not rounds.is_reveal_due(run):
        retry_s = rules.reveal_retry_s(Spec.from_json(run.spec))
        message = f"Other runs of the round of {run} are still trained. Send the report after {retry_s:.0f} s."
        raise RevealTooEarly(message, retry_after_s=retry_s)
    read = _read(report, run)
    if not reports.is_sealed_by(run.seal, read, salt):
        raise reports.MalformedReport("report", "send the report and salt that the seal was made of")
    plan = auditing.plan(run=run, report=read)
    fields = {"report": read.to_json(), "revealed_at": now, "audited_segments": plan.segments, "wanted_checkpoints": plan.checkpoints}
    _held(run, token, _Stage.SEALED).update(stage=_Stage.REVEALED, **fields)
    run.refresh_from_db()
    # The same twice at once: what was drawn first counts.
    _require_token(run, token)
    return run


def keep_artefact(
    *, run_id: uuid.UUID, token: int, key_id: uuid.UUID, index: int, stream: files.Stream, now: datetime.datetime
) -> Artefact:
    """Keep a checkpoint that was asked for. Its bytes are compared with the report's leaf by the trusted pool, not here.

    Raises:
        NoRun, leases.StaleLease
        NotWanted: it was not asked for, or the run's report is not known.
        OtherCheckpoint: another file was handed in as this one.
        files.TooLarge, files.EmptyFile
    """
    run = _of_key(run_id, key_id)
    _require_token(run, token)
    if index not in run.wanted_checkpoints:
        raise NotWanted(f"Checkpoint {index} of run {run} was not asked for.")
    # Before its row, outside a transaction: a crash in between leaves a file that nothing names.
    sha256, byte_count = files.keep_checkpoint(stream=stream)
    with transaction.atomic():
        kept = Run.objects.select_for_update(no_key=True).get(pk=run.pk)
        _require_token(kept, token)
        artefact = Artefact.objects.filter(run=run, checkpoint=index).first()
        if artefact is None and kept.stage != _Stage.REVEALED:
            raise leases.StaleLease(f"Run {run} takes no checkpoints any more.")
        if artefact is None:
            artefact = Artefact.objects.create(run=run, checkpoint=index, sha256=sha256, byte_count=byte_count, created_at=now)
    if artefact.sha256 != sha256:
        raise OtherCheckpoint(f"Checkpoint {index} of run {run} is here already, with other bytes.")
    return artefact


def finish(*, run_id: uuid.UUID, token: int, key_id: uuid.UUID, now: datetime.datetime) -> Run:
    """End the owner's part of a run: everything asked for is here. Its evaluation and audit are asked. The same again changes nothing.

    Raises:
        NoRun, NotSealed, CheckpointsMissing
        leases.StaleLease: the run was cancelled.
    """
    run = _of_key(run_id, key_id)
    _require_token(run, token)
    if run.stage in (_Stage.OPEN, _Stage.SEALED):
        raise NotSealed(f"Send the report of run {run} first.")
    if run.stage != _Stage.REVEALED:
        return run
    here = set(Artefact.objects.filter(run=run).values_list("checkpoint", flat=True))
    missing = sorted(set(run.wanted_checkpoints) - here)
    if missing:
        raise CheckpointsMissing(missing)
    with transaction.atomic():
        steps = Spec.from_json(run.spec).steps
        done = {"lease_state": leases.LeaseState.DONE, "lease_until": None, "handed_in_at": now, "reported_step": steps}
        if _held(run, token, _Stage.REVEALED).update(stage=_Stage.HANDED_IN, **done):
            run.refresh_from_db()
            trusted.ask_for_run(run=run, now=now)
    run.refresh_from_db()
    return run


def fail(*, run_id: uuid.UUID, token: int, key_id: uuid.UUID, reason: str, steps_done: int, now: datetime.datetime) -> str:
    """Take back what an owner can't finish; return the reason as a code. An open run is handed out again, a sealed one asked anew.

    Raises:
        NoRun
        leases.StaleLease: the run went to another holder, or has ended.
    """
    run = _of_key(run_id, key_id)
    # A stranger's bytes: what is not a plain code does not reach a row or a log.
    code = _REASON.sub("_", reason.lower())[:40]
    if run.stage in (_Stage.SEALED, _Stage.REVEALED) and run.token == token:
        if cancel(run=run, reason_code=reasons.GAVE_UP, now=now):
            hosts.note_deserted(run=run)
        return code
    with transaction.atomic():
        mine = Run.objects.filter(leased_by_key=key_id, stage=_Stage.OPEN)
        said = {"reported_failure": code, "reported_step": Least(max(0, min(steps_done, 2**31 - 1)), Spec.from_json(run.spec).steps)}
        mine.give_back(pk=run_id, token=token, delay_s=float(2 ** min(run.attempts, 6)), **said)
        fresh = Run.objects.select_for_update(no_key=True).get(pk=run_id)
        if code in reasons.TREE_FAULTS:
            # He would see the same again; a second one's word sends it to the trusted pool, and the pool's own word is the last.
            fresh.failed_by = [*fresh.failed_by, str(run.owner_id)]
        is_blamed = len(fresh.failed_by) >= (1 if run.is_trusted_only else 2)
        if run.kind != Run.Kind.CALIBRATION and (fresh.attempts >= rules.MAX_ATTEMPTS or is_blamed):
            fresh.lease_state = leases.LeaseState.DEAD
        fresh.save(update_fields=["failed_by", "lease_state"])
        nudges.wake(run)
    return code


def cancel(*, run: Run, reason_code: str, now: datetime.datetime) -> bool:
    """End a run that nobody needs, or nobody finished; return whether it had not ended before. Its holder finds his lease stale."""
    living = Run.objects.filter(pk=run.pk).exclude(stage__in=ENDED)
    moved = living.update(
        stage=_Stage.CANCELLED, reason_code=reason_code, judged_at=now, lease_state=leases.LeaseState.DONE, lease_until=None
    )
    if moved:
        nudges.wake(run)
    return bool(moved)


def sweep(*, now: datetime.datetime) -> int:
    """Take back open runs whose lease has ended, and cancel sealed ones whose owner never came back; return how many."""
    swept = Run.objects.filter(stage=_Stage.OPEN).exclude(kind=Run.Kind.CALIBRATION).sweep(max_attempts=rules.MAX_ATTEMPTS)
    # A machine may fail its own calibration as often as it likes.
    swept += Run.objects.filter(stage=_Stage.OPEN, kind=Run.Kind.CALIBRATION).sweep(max_attempts=2**15)
    # A ringer waits for one host, which may not come back.
    stale = now - datetime.timedelta(days=1)
    for ringer in ready().filter(kind=Run.Kind.RINGER, created_at__lt=stale)[:100]:
        cancel(run=ringer, reason_code=reasons.NOT_NEEDED, now=now)
    gone = Run.objects.filter(stage__in=(_Stage.SEALED, _Stage.REVEALED), lease_state=_LEASED, lease_until__lte=Now())
    for run in gone.order_by("pk")[:100]:
        swept += _end_vanished(run, now)
    if ready().exists():
        dispatch.ring_replay()
    return swept


def ready() -> QuerySet[Run]:
    """Return the runs that wait for an owner."""
    return Run.objects.filter(stage=_Stage.OPEN, lease_state=leases.LeaseState.READY, available_at__lte=Now())


def _end_vanished(run: Run, now: datetime.datetime) -> int:
    # Again in the statement: he may have come back in between.
    still = Run.objects.filter(pk=run.pk, token=run.token, stage=run.stage, lease_state=_LEASED, lease_until__lte=Now())
    # With the host's record, or a crash in between would spare it the audit that it left.
    with transaction.atomic():
        moved = still.update(
            stage=_Stage.CANCELLED, reason_code=reasons.VANISHED, judged_at=now, lease_state=leases.LeaseState.DONE, lease_until=None
        )
        if moved:
            hosts.note_deserted(run=run)
            nudges.wake(run)
    return moved


def _of_key(run_id: uuid.UUID, key_id: uuid.UUID) -> Run:
    run = Run.objects.filter(pk=run_id, leased_by_key=key_id).first()
    if run is None:
        raise NoRun(f"No run {ids.encode('rpl', run_id)} was handed to this key.")
    return run


def _held(run: Run, token: int, stage: Run.Stage) -> QuerySet[Run]:
    """Return the run as long as it is at ``stage`` and the token is the newest; a lease that ran out counts while nobody ended it."""
    return Run.objects.filter(pk=run.pk, token=token, stage=stage, lease_state=_LEASED)


def _require_token(run: Run, token: int) -> None:
    is_given_back = run.stage == _Stage.OPEN and run.lease_state != _LEASED
    if run.token != token or run.stage == _Stage.CANCELLED or is_given_back:
        raise leases.StaleLease(f"Token {token} no longer holds run {run}: lease again.")


def _read(report: object, run: Run) -> reports.Report:
    """Read a report and compare it with the run it must be of.

    Raises:
        reports.MalformedReport: with the field.
    """
    read = reports.Report.from_json(report)
    spec = Spec.from_json(run.spec)
    expected = {
        "run_id": ids.encode("rpl", run.pk),
        "spec_digest": spec.digest,
        "tree_digest": run.tree_id,
        "seed": run.seed,
        "leaf_count": spec.segments + 1,
        "steps": spec.steps,
    }
    for name, value in expected.items():
        if getattr(read, name) != value:
            raise reports.MalformedReport(name, "give the value of this run")
    if len(read.canonical()) > reports.MAX_REPORT_BYTES:
        raise reports.MalformedReport("report", f"send at most {reports.MAX_REPORT_BYTES} bytes")
    # The trusted pool may have another class of the same hardware.
    is_class_right = ClassKey.parse(read.class_text).is_allowed_by(spec) if run.is_trusted_only else read.class_text == run.class_text
    if not is_class_right:
        raise reports.MalformedReport("class_text", "train on the class of this run")
    if SANDBOX_LEVELS.index(read.sandbox_level) < SANDBOX_LEVELS.index(run.level):
        raise reports.MalformedReport("sandbox_level", "train at the level that the spec asks for")
    return read
