"""Candidates as they come in: announced by a hash, received as text, refused by the gate, lapsed by the clock."""

import datetime
import hashlib
import hmac
import math
import re
from collections.abc import Mapping, Sequence

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import transaction
from django.db.models import Max, Q

from tasks import text
from verification import dispatch
from verification.replay import gate
from verification.replay import trees as shapes
from verification.replay.spec import Spec
from verification.research import alpha, reasons, rules, trees
from verification.research.models import Candidate, ResearchTask, Tip

_Status = Candidate.Status
_SEAL = re.compile(r"[0-9a-f]{64}")
_SALT = re.compile(r"[0-9a-f]{32,128}")


class NotListed(Exception):
    """The task takes no candidates: it was not funded yet, or is closed."""


class OwnTask(Exception):
    """Nobody sends candidates to his own task."""


class UnknownParent(LookupError):
    """The parent is no tip of this task that stands: take the digest of the current one."""


class GateRefused(ValueError):
    """The commit breaks limits of the task; ``refusals`` say which, by code and path."""

    def __init__(self, refusals: Sequence[gate.Refusal]) -> None:
        super().__init__("The commit breaks limits of the task: " + ", ".join(sorted({refusal.code for refusal in refusals})) + ".")
        self.refusals = list(refusals)


class DuplicateTree(Exception):
    """This task has seen the same tree before: only the first to send it is judged."""


class AnnouncedBefore(Exception):
    """This claimant has an announced candidate here that still waits to be sent, or let too many lapse today."""


class MalformedSeal(ValueError):
    """The seal is not 64 hexadecimal digits, or the salt not 32 to 128, in lower case."""


class NotAnnounced(LookupError):
    """What was announced has lapsed, was sent already, is another claimant's, or was another tree or salt."""


def seal_of(*, tree_digest: str, salt: str) -> str:
    """Return what is announced of a tree before it is sent: SHA-256 of ``atoms.research.seal.1:<salt>:<tree digest>``, in hexadecimal.

    Raises:
        MalformedSeal: the salt is not 32 to 128 hexadecimal digits.
    """
    if not _SALT.fullmatch(salt):
        raise MalformedSeal("The salt must be 32 to 128 hexadecimal digits in lower case.")
    return hashlib.sha256(f"atoms.research.seal.1:{salt}:{tree_digest}".encode()).hexdigest()


def announce(*, task: ResearchTask, claimant: AbstractBaseUser, sealed_sha256: str, now: datetime.datetime) -> Candidate:
    """Keep a place for a candidate of which only a hash is known, for `rules.REVEAL_WITHIN`. The same seal again is the same row.

    Raises:
        MalformedSeal, NotListed, OwnTask
        AnnouncedBefore: another one of his waits here, or he let `rules.MAX_LAPSED_PER_DAY` lapse.
        alpha.AlphaSpent: his record allows no more.
    """
    if not _SEAL.fullmatch(sealed_sha256):
        raise MalformedSeal("The seal must be 64 hexadecimal digits in lower case (SHA-256).")
    with transaction.atomic():
        locked = _lock(task, claimant, now)
        mine = Candidate.objects.filter(task=locked, claimant=claimant.pk)
        open_ones = mine.filter(status=_Status.SEALED, reveal_until__gt=now)
        same = open_ones.filter(sealed_sha256=sealed_sha256).first()
        if same is not None:
            return same
        # Of those that ran out just now the clock has not spoken yet.
        lapsed = mine.filter(Q(status=_Status.LAPSED) | Q(status=_Status.SEALED, reveal_until__lte=now))
        if open_ones.exists() or lapsed.filter(reveal_until__gt=now - datetime.timedelta(days=1)).count() >= rules.MAX_LAPSED_PER_DAY:
            raise AnnouncedBefore("Send what you announced, or wait until its time is over; after some that lapsed, wait for a day.")
        alpha.require(task=locked, claimant=claimant)
        return Candidate.objects.create(
            task=locked,
            claimant_id=claimant.pk,
            place=_next_place(locked),
            status=_Status.SEALED,
            sealed_sha256=sealed_sha256,
            reveal_until=now + rules.REVEAL_WITHIN,
            created_at=now,
        )


def receive(
    *,
    task: ResearchTask,
    claimant: AbstractBaseUser,
    edited: Mapping[str, str],
    parent_digest: str,
    reported_gain: float | None,
    note: str,
    announced: Candidate | None = None,
    salt: str = "",
    now: datetime.datetime,
) -> Candidate:
    """Take a candidate: full texts of the files it changes, on the tip whose tree has ``parent_digest``.

    An announced one keeps the place that it got then. Call it in the transaction that stakes its bond.

    Raises:
        NotListed, OwnTask, UnknownParent
        GateRefused: with every refusal.
        DuplicateTree: this task has the tree already, from whomever.
        alpha.AlphaSpent: this claimant's record allows no more for now.
        NotAnnounced, MalformedSeal: ``announced`` is not what is sent.
    """
    parent = Tip.objects.filter(task=task, tree=parent_digest, withdrawn_at__isnull=True).select_related("tree").last()
    if parent is None:
        raise UnknownParent("parent must be the tree digest of a tip of this task that stands.")
    base = parent.tree.untrusted_files
    refusals = gate.refusals(Spec.from_json(task.spec), base, edited)
    if refusals:
        raise GateRefused(refusals)
    files = shapes.apply(base, edited)
    with transaction.atomic():
        locked = _lock(task, claimant, now)
        tree = trees.keep(files)
        if is_known(task=locked, digest=tree.pk):
            raise DuplicateTree("This task has seen the same tree before.")
        if announced is None:
            alpha.require(task=locked, claimant=claimant)
            candidate = Candidate(task=locked, claimant_id=claimant.pk, place=_next_place(locked), created_at=now)
        else:
            candidate = _announced(announced, locked, claimant, seal_of(tree_digest=tree.pk, salt=salt), now)
        candidate.status = _Status.RECEIVED
        candidate.parent = candidate.sent_parent = parent
        candidate.tree = candidate.sent_tree = tree
        candidate.reported_gain = reported_gain if reported_gain is not None and math.isfinite(reported_gain) else None
        candidate.untrusted_note = text.strip_to_plain(note, max_length=500)
        candidate.received_at = now
        candidate.save()
        dispatch.nudge_research()
    return candidate


def is_known(*, task: ResearchTask, digest: str) -> bool:
    """Tell whether a tree was sent to a task, is one of its tips, or is one that a rebase made."""
    seen = Candidate.objects.filter(task=task).filter(Q(sent_tree=digest) | Q(tree=digest))
    return seen.exists() or Tip.objects.filter(task=task, tree=digest).exists()


def lapse_due(*, now: datetime.datetime) -> int:
    """End every announced candidate that was not sent in time, so that those behind it have their turn; return how many."""
    due = Candidate.objects.filter(status=_Status.SEALED, reveal_until__lte=now)
    lapsed = due.update(status=_Status.LAPSED, reason_code=reasons.NEVER_REVEALED)
    if lapsed:
        dispatch.nudge_research()
    return lapsed


def make_final(*, candidate: Candidate, now: datetime.datetime) -> bool:
    """Note that nothing can change a decided candidate's verdict any more; return whether that was news."""
    decided = Candidate.objects.filter(pk=candidate.pk, status__in=Candidate.DECIDED, final_at__isnull=True)
    return bool(decided.update(final_at=now))


def _lock(task: ResearchTask, claimant: AbstractBaseUser, now: datetime.datetime) -> ResearchTask:
    # Places are given, trees compared and tips made under this lock alone; it is the first of every story that takes one.
    locked = ResearchTask.objects.select_for_update(no_key=True).get(pk=task.pk)
    if locked.status != ResearchTask.Status.LISTED or locked.closes_at <= now:
        raise NotListed(f"Task {locked} takes no candidates.")
    if locked.owner_id == claimant.pk:
        raise OwnTask("You posted this task: your candidates are not judged here.")
    return locked


def _next_place(task: ResearchTask) -> int:
    newest: int | None = Candidate.objects.filter(task=task).aggregate(newest=Max("place"))["newest"]
    return (newest or 0) + 1


def _announced(announced: Candidate, task: ResearchTask, claimant: AbstractBaseUser, seal: str, now: datetime.datetime) -> Candidate:
    mine = Candidate.objects.filter(pk=announced.pk, task=task, claimant=claimant.pk, status=_Status.SEALED, reveal_until__gt=now)
    found = mine.select_for_update(no_key=True).first()
    if found is None or not hmac.compare_digest(found.sealed_sha256, seal):
        raise NotAnnounced("No announced candidate of yours waits for this tree and salt. Announce it again, or send it without.")
    return found
