"""Ideas: what somebody could try on a task, who tries it now, and what came of it. Nothing is paid for one."""

import datetime
import hashlib
import math
import re
import unicodedata

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import transaction

from tasks import text
from verification.research import rules
from verification.research.models import Candidate, Idea, ResearchTask

_Status = Idea.Status
MAX_LENGTH = 1000
_NOT_A_WORD = re.compile(r"[\W_]+")


class EmptyIdea(ValueError):
    """The text has no words."""


class KnownIdea(Exception):
    """The same words are queued for this task already; ``idea`` is that one, with what came of it."""

    def __init__(self, idea: Idea) -> None:
        super().__init__(f"This is idea {idea}, which is {idea.status}.")
        self.idea = idea


class TooManyIdeas(Exception):
    """This person has as many open ideas, or holds as many, as he may."""


class NotOpen(Exception):
    """Somebody else tries this idea, or it has ended."""


class NotHolder(Exception):
    """The idea is not held by this person, or no longer."""


def add(*, task: ResearchTask, author: AbstractBaseUser, untrusted_text: str, now: datetime.datetime) -> Idea:
    """Queue an idea; the same words, whatever their case and punctuation, are queued once for a task.

    Raises:
        EmptyIdea, KnownIdea
        TooManyIdeas: the author has `rules.MAX_OPEN_IDEAS_PER_AUTHOR` open ones.
    """
    plain = text.strip_to_plain(untrusted_text, max_length=MAX_LENGTH)
    words = _NOT_A_WORD.sub(" ", unicodedata.normalize("NFKC", plain).casefold()).strip()
    if not words:
        raise EmptyIdea("Say in words what to try.")
    digest = hashlib.sha256(words.encode()).hexdigest()
    open_ones = Idea.objects.filter(author=author.pk, status__in=(_Status.OPEN, _Status.HELD))
    if open_ones.count() >= rules.MAX_OPEN_IDEAS_PER_AUTHOR:
        raise TooManyIdeas(f"You have {rules.MAX_OPEN_IDEAS_PER_AUTHOR} open ideas. Try one of them first.")
    idea, is_new = Idea.objects.get_or_create(
        task=task, words_sha256=digest, defaults={"author_id": author.pk, "untrusted_text": plain, "created_at": now}
    )
    if not is_new:
        raise KnownIdea(idea)
    return idea


def hold(*, idea: Idea, holder: AbstractBaseUser, now: datetime.datetime) -> Idea:
    """Note that somebody tries an idea, for `rules.IDEA_HELD`; again by the same person, the time begins anew.

    Raises:
        NotOpen
        TooManyIdeas: he holds `rules.MAX_HELD_IDEAS` others.
    """
    until = now + rules.IDEA_HELD
    with transaction.atomic():
        # In turn for each task, or two requests at once would pass the limit.
        ResearchTask.objects.select_for_update(no_key=True).get(pk=idea.task_id)
        mine = Idea.objects.filter(task=idea.task_id, holder=holder.pk, status=_Status.HELD)
        if not mine.filter(pk=idea.pk).update(held_until=until):
            if mine.filter(held_until__gt=now).count() >= rules.MAX_HELD_IDEAS:
                raise TooManyIdeas(f"You hold {rules.MAX_HELD_IDEAS} ideas here. End one of them first.")
            if not Idea.objects.filter(pk=idea.pk, status=_Status.OPEN).update(status=_Status.HELD, holder_id=holder.pk, held_until=until):
                raise NotOpen(f"Idea {idea} is not open.")
    idea.refresh_from_db()
    return idea


def end(
    *,
    idea: Idea,
    holder: AbstractBaseUser,
    has_worked: bool,
    result: str,
    reported_gain: float | None,
    candidate: Candidate | None,
    now: datetime.datetime,
) -> Idea:
    """Note what came of a held idea, for good: a failure is worth as much to the next one as a success. All of it is his word.

    Raises:
        NotHolder: it is not his, or his time was over and somebody else has it. The same again by him changes nothing.
    """
    status = _Status.WORKED if has_worked else _Status.FAILED
    mine = Idea.objects.filter(pk=idea.pk, holder=holder.pk)
    own_candidate = candidate if candidate and candidate.claimant_id == holder.pk and candidate.task_id == idea.task_id else None
    moved = mine.filter(status=_Status.HELD).update(
        status=status,
        untrusted_result=text.strip_to_plain(result, max_length=MAX_LENGTH),
        reported_gain=reported_gain if reported_gain is not None and math.isfinite(reported_gain) else None,
        candidate=own_candidate,
        ended_at=now,
    )
    if not moved and not mine.filter(status=status).exists():
        raise NotHolder(f"Idea {idea} is not yours to end. Hold it first.")
    idea.refresh_from_db()
    return idea


def let_go(*, idea: Idea, holder: AbstractBaseUser) -> Idea:
    """Give a held idea back without a result.

    Raises:
        NotHolder
    """
    mine = Idea.objects.filter(pk=idea.pk, holder=holder.pk, status=_Status.HELD)
    if not mine.update(status=_Status.OPEN, holder=None, held_until=None):
        raise NotHolder(f"Idea {idea} is not held by you.")
    idea.refresh_from_db()
    return idea


def release_due(*, now: datetime.datetime) -> int:
    """Open again what its holder let run out; return how many."""
    return Idea.objects.filter(status=_Status.HELD, held_until__lte=now).update(status=_Status.OPEN, holder=None, held_until=None)
