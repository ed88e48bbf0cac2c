"""The operators' pages: cases that wait for a person, one a screen, each decided by somebody who has not seen it before."""

from django.contrib.admin.views.decorators import staff_member_required
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods

from market.accounts.models import User
from market.web import pages, photo_paths, reads, visitors
from tasks import clock
from verification import reviews
from verification.models import Review, Verdict

_SHOWN = 50


@staff_member_required
@require_GET
def queue(request: HttpRequest) -> HttpResponse:
    """Show what waits for this reviewer, oldest first."""
    waiting = reviews.waiting_for(_reviewer(request))
    return pages.show(request, "reviews", {"reviews": waiting[:_SHOWN], "count": waiting.count()})


@staff_member_required
@require_http_methods(["GET", "POST"])
def case(request: HttpRequest, review: str) -> HttpResponse:
    """Show one case, or take its decision."""
    open_review = reviews.waiting_for(_reviewer(request)).filter(pk=pages.id_in("rev", review)).first()
    if request.method == "GET":
        if open_review is None:
            raise Http404("There is no such case for you: it was decided, or you have seen it before.")
        return _case(request, open_review)
    decision = request.POST.get("decision", "")
    try:
        if decision not in Verdict.Outcome.values:
            raise reviews.MalformedDecision("Choose accept, reject or can't say.")
        reviews.decide(
            review_id=pages.id_in("rev", review),
            reviewer=_reviewer(request),
            decision=decision,
            criterion=request.POST.get("criterion", "") if decision == Verdict.Outcome.REJECTED else "",
            reason=request.POST.get("reason", ""),
            now=clock.now(),
        )
    except reviews.MalformedDecision as refused:
        if open_review is None:
            raise Http404("There is no such case for you.") from None
        return _case(request, open_review, error=str(refused), status=422)
    except (reviews.AlreadyReviewed, reviews.NotYourCase) as refused:
        return pages.refuse(request, title="Not decided by you", message=str(refused), status=409)
    except reviews.NoReview:
        raise Http404("There is no such case.") from None
    return pages.go(reverse("web:reviews"))


def _case(request: HttpRequest, review: Review, *, error: str = "", status: int = 200) -> HttpResponse:
    submission = review.submission
    viewer = _reviewer(request).pk
    worker = submission.worker
    context: pages.Context = {
        "review": review,
        "submission": submission,
        "appeal": getattr(submission, "appeal", None),
        "lines": reads.machine_lines_of(submission),
        "earlier": reads.words_of_reviewer(submission),
        "photos": [photo_paths.path_for(viewer, file, "display") for file in submission.evidence.all()],
        "counts": [("accepted", worker.accepted_count), ("rejected", worker.rejected_count), ("expired", worker.expired_count)],
        "who": visitors.name_of(worker.pk),
        "may_leave_open": review.kind == Review.Kind.FIRST,
        "typed_reason": request.POST.get("reason", ""),
        "error": error,
    }
    return pages.show(request, "review", context, status=status)


def _reviewer(request: HttpRequest) -> User:
    # The decorator lets nobody else in.
    assert isinstance(request.user, User)
    return request.user
