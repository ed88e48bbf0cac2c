"""What became of a photo: its status, the verdict criterion by criterion, retake, appeal; and a worker's own list."""

from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from market.bounties import disputes, queries, submitting
from market.common.money import Money
from market.web import pages, photo_paths, reads
from tasks import clock
from tasks import queries as task_queries
from tasks import submissions as handed_in
from tasks.models import Submission, WorkerProfile

_Status = Submission.Status
# Seconds after which the page looks again by itself.
_LOOKS_AGAIN_S = {_Status.RECEIVED: 5, _Status.CHECKING: 5, _Status.IN_REVIEW: 60, _Status.APPEALED: 60}


@require_GET
@pages.for_workers
def submission_page(request: HttpRequest, worker: WorkerProfile, submission: str) -> HttpResponse:
    """Show how it stands and what can be done now."""
    return _page(request, _own(worker, submission))


@require_POST
@pages.for_workers
def retake(request: HttpRequest, worker: WorkerProfile, submission: str) -> HttpResponse:
    """Start the one retake."""
    own = _own(worker, submission)
    try:
        claim = submitting.start_retake(claim=own.claim, worker=worker, now=clock.now())
    except submitting.NoRetake:
        return _page(request, own, error="The time for the retake is over, or it was used.", status=409)
    return pages.go(reverse("web:claim", args=[str(claim)]))


@require_POST
@pages.for_workers
def appeal(request: HttpRequest, worker: WorkerProfile, submission: str) -> HttpResponse:
    """Ask that another person looks."""
    own = _own(worker, submission)
    try:
        disputes.appeal(submission=own, worker=worker, statement=request.POST.get("statement", ""), now=clock.now())
    except disputes.NotAppealable:
        return _page(request, own, error="This can't be appealed any more.", status=409)
    return pages.go(reverse("web:submission", args=[str(own)]))


@require_POST
@pages.for_workers
def waive(request: HttpRequest, worker: WorkerProfile, submission: str) -> HttpResponse:
    """Leave it at the rejection, so that the worker is free for the next task now."""
    own = _own(worker, submission)
    try:
        disputes.waive(submission=own, worker=worker, now=clock.now())
    except disputes.NotAppealable:
        return _page(request, own, error="There is nothing to give up any more.", status=409)
    return pages.go(reverse("web:submission", args=[str(own)]))


@require_GET
@pages.for_workers
def work(request: HttpRequest, worker: WorkerProfile) -> HttpResponse:
    """Show the worker's own claims and submissions, newest first."""
    return pages.show(request, "work", {"history": reads.history_of(worker)})


def _page(request: HttpRequest, submission: Submission, *, error: str = "", status: int = 200) -> HttpResponse:
    now = clock.now()
    story = queries.story_of_submission(submission, now=now)
    verdict = reads.verdict_of(submission)
    is_decided = submission.status in (_Status.ACCEPTED, _Status.REJECTED, _Status.INCONCLUSIVE)
    settlement = story.settlement
    context: pages.Context = {
        "submission": submission,
        "story": story,
        "lines": reads.lines_of(submission, verdict),
        "verdict": verdict,
        "reviewers_words": reads.words_of_reviewer(submission) if is_decided else "",
        "is_decided": is_decided,
        "review_due_at": None if is_decided else reads.review_due_at(submission, now=now),
        "is_due": settlement is not None and settlement.matures_at is not None and settlement.matures_at <= now,
        "is_paid": settlement is not None and settlement.worker_minor > 0,
        "pay": Money(settlement.worker_minor, settlement.currency) if settlement else _awaited(submission),
        "is_appealable": _is_appealable(submission, story),
        "photos": [photo_paths.path_for(submission.worker_id, each, "display") for each in submission.evidence.all()],
        "looks_again_s": _LOOKS_AGAIN_S.get(_Status(submission.status)),
        "error": error,
    }
    return pages.show(request, "submission", context, status=status)


def _awaited(submission: Submission) -> Money:
    listing = queries.listing_of(task_id=submission.task_id, mode=submission.task.mode)
    return listing.negative_fee if submission.kind == Submission.Kind.NEGATIVE else listing.reward


def _is_appealable(submission: Submission, story: queries.SubmissionStory) -> bool:
    until = submission.appeal_until
    is_open = submission.status == _Status.REJECTED and submission.final_at is None and story.appeal is None
    return is_open and until is not None and clock.now() < until and submission.claim.status != submission.claim.Status.ACTIVE


def _own(worker: WorkerProfile, submission: str) -> Submission:
    try:
        return task_queries.submission_of(worker, pages.id_in("sub", submission))
    except handed_in.NoSubmission:
        raise Http404("There is no such page.") from None
