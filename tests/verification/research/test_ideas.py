"""Ideas: an idea ..."""

import datetime

import pytest

from market.accounts.models import User
from tasks import clock
from tests import people
from tests.verification.research import scenes
from verification.research import ideas, rules
from verification.research.models import Idea, ResearchTask

pytestmark = pytest.mark.django_db


def add(task: ResearchTask, words: str = "Try a wider net", author: User | None = None) -> Idea:
    return ideas.add(task=task, author=author or people.open_user("author"), untrusted_text=words, now=clock.now())


def end(idea: Idea, holder: User, **changes: object) -> Idea:
    sent = {"has_worked": False, "result": "0.3 worse", "reported_gain": -0.3, "candidate": None, "now": clock.now()}
    return ideas.end(idea=idea, holder=holder, **{**sent, **changes})  # type: ignore[arg-type]


def test_is_queued_once_however_it_is_spelled() -> None:
    task = scenes.post()
    idea = add(task, "Try a WIDER net!\u200b")
    with pytest.raises(ideas.KnownIdea) as known:
        add(task, "try a  wider, net")
    assert known.value.idea.pk == idea.pk
    assert idea.untrusted_text == "Try a WIDER net!"
    add(scenes.post(), "try a wider net")
    with pytest.raises(ideas.EmptyIdea):
        add(task, "!?\u202e")
    assert Idea.objects.count() == 2


def test_is_held_by_one_until_his_time_is_over() -> None:
    now = clock.now()
    idea, holder, other = add(scenes.post()), people.open_user("holder"), people.open_user("other")
    ideas.hold(idea=idea, holder=holder, now=now)
    assert ideas.hold(idea=idea, holder=holder, now=now).held_until == now + rules.IDEA_HELD
    with pytest.raises(ideas.NotOpen):
        ideas.hold(idea=idea, holder=other, now=now)
    assert ideas.release_due(now=now + rules.IDEA_HELD - datetime.timedelta(microseconds=1)) == 0
    assert ideas.release_due(now=now + rules.IDEA_HELD) == 1
    assert ideas.hold(idea=idea, holder=other, now=now).holder_id == other.pk
    with pytest.raises(ideas.NotHolder):
        end(idea, holder)
    with pytest.raises(ideas.NotHolder):
        ideas.let_go(idea=idea, holder=holder)
    assert ideas.let_go(idea=idea, holder=other).status == Idea.Status.OPEN


def test_ends_for_good_with_what_came_of_it() -> None:
    task = scenes.post()
    idea, holder = add(task), people.open_user("holder")
    with pytest.raises(ideas.NotHolder):
        end(idea, holder)
    ideas.hold(idea=idea, holder=holder, now=clock.now())
    done = end(idea, holder, candidate=scenes.submit(task), reported_gain=float("inf"))
    assert (done.status, done.candidate, done.reported_gain, done.untrusted_result) == (Idea.Status.FAILED, None, None, "0.3 worse")
    assert end(idea, holder, result="again").untrusted_result == "0.3 worse"
    with pytest.raises(ideas.NotOpen):
        ideas.hold(idea=idea, holder=holder, now=clock.now())
    with pytest.raises(ideas.NotHolder):
        end(idea, holder, has_worked=True)


def test_may_name_its_holders_candidate() -> None:
    task, holder = scenes.post(), people.open_user("holder")
    idea = ideas.hold(idea=add(task), holder=holder, now=clock.now())
    own = scenes.submit(task, claimant=holder)
    done = end(idea, holder, has_worked=True, candidate=own, reported_gain=0.1)
    assert (done.status, done.candidate_id, done.reported_gain) == (Idea.Status.WORKED, own.pk, 0.1)


def test_is_one_of_few_that_one_person_has() -> None:
    task, author = scenes.post(), people.open_user("author")
    for number in range(rules.MAX_OPEN_IDEAS_PER_AUTHOR):
        add(task, f"number {number}", author)
    with pytest.raises(ideas.TooManyIdeas):
        add(task, "one more", author)
    some = list(Idea.objects.all())
    for idea in some[: rules.MAX_HELD_IDEAS]:
        ideas.hold(idea=idea, holder=author, now=clock.now())
    with pytest.raises(ideas.TooManyIdeas):
        ideas.hold(idea=some[-1], holder=author, now=clock.now())
