"""A claim under way: take the photo, send it, say that it can't be done, get more time, or drop it."""

import datetime
import math

from django.core.files.uploadedfile import UploadedFile
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from market.bounties import claiming, queries, submitting
from market.web import pages, positions, reads, visitors
from tasks import claims, clock, evidence, submissions
from tasks import queries as task_queries
from tasks.models import Claim, Submission, WorkerProfile


class UnreadableForm(ValueError):
    """A number or a time in the form is none."""


@require_GET
@pages.for_workers
def claim_page(request: HttpRequest, worker: WorkerProfile, claim: str) -> HttpResponse:
    """Show the camera and what the photo must show; a claim that was handed in shows its submission instead."""
    held = _own(worker, claim)
    last = reads.last_submission_of(held)
    if last is not None and held.status == Claim.Status.SUBMITTED:
        return pages.go(reverse("web:submission", args=[str(last)]))
    return _claim_page(request, held)


@require_POST
@pages.for_workers
def send(request: HttpRequest, worker: WorkerProfile, claim: str) -> HttpResponse:
    """Take the photo in and hand it in; the same photo again shows the same submission."""
    held = _own(worker, claim)
    try:
        submission = submitting.submit(
            claim=held,
            worker=worker,
            files=_files(request),
            capture=_capture(request),
            note=request.POST.get("note", ""),
            reported_original_sha256s=[request.POST.get("original_sha256", "")],
            now=clock.now(),
        )
    except _REFUSALS as refused:
        return _claim_page(request, held, error=_words(refused), status=_status(refused))
    visitors.stop_showing_code(request)
    return pages.go(reverse("web:submission", args=[str(submission)]))


@require_http_methods(["GET", "POST"])
@pages.for_workers
def cannot(request: HttpRequest, worker: WorkerProfile, claim: str) -> HttpResponse:
    """Say truthfully that it can't be done, with a photo that shows why."""
    held = _own(worker, claim)
    if request.method == "GET":
        return _cannot_page(request, held)
    try:
        submission = submitting.submit_negative(
            claim=held,
            worker=worker,
            reason=request.POST.get("reason", ""),
            files=_files(request),
            capture=_capture(request),
            note=request.POST.get("note", ""),
            now=clock.now(),
        )
    except _REFUSALS as refused:
        return _cannot_page(request, held, error=_words(refused), status=_status(refused))
    visitors.stop_showing_code(request)
    return pages.go(reverse("web:submission", args=[str(submission)]))


@require_POST
@pages.for_workers
def extend(request: HttpRequest, worker: WorkerProfile, claim: str) -> HttpResponse:
    """Give more time, once, to a worker who is there."""
    held = _own(worker, claim)
    try:
        here = positions.read(request.POST.get("place", ""))
        claiming.extend(claim=held, worker=worker, latitude=here.latitude, longitude=here.longitude, now=clock.now())
    except (positions.NoPlace, claims.NotInside, claims.AlreadyExtended, claims.StaleClaim) as refused:
        return _claim_page(request, _own(worker, claim), error=_words(refused), status=409)
    return pages.go(reverse("web:claim", args=[str(held)]))


@require_POST
@pages.for_workers
def drop(request: HttpRequest, worker: WorkerProfile, claim: str) -> HttpResponse:
    """Give the claim up, without penalty."""
    held = _own(worker, claim)
    try:
        claiming.drop(claim=held, worker=worker, now=clock.now())
    except claims.StaleClaim:
        return pages.go(reverse("web:claim", args=[str(held)]))
    visitors.stop_showing_code(request)
    return pages.go(reverse("web:listing"))


_REFUSALS = (
    UnreadableForm,
    claims.StaleClaim,
    submissions.BadSubmission,
    evidence.Unreadable,
    evidence.IntakeBusy,
)


def _words(refused: Exception) -> str:
    if isinstance(refused, claims.StaleClaim):
        return "The time for this task is over, or it was handed in or dropped before. Nothing was sent."
    if isinstance(refused, claims.AlreadyExtended):
        return "You have added time to this task before: it works once."
    return str(refused)


def _status(refused: Exception) -> int:
    if isinstance(refused, claims.StaleClaim):
        return 409
    return 503 if isinstance(refused, evidence.IntakeBusy) else 422


def _claim_page(request: HttpRequest, claim: Claim, *, error: str = "", status: int = 200) -> HttpResponse:
    context = {**_shared(request, claim), "error": error}
    return pages.show(request, "claim", context, status=status)


def _cannot_page(request: HttpRequest, claim: Claim, *, error: str = "", status: int = 200) -> HttpResponse:
    reasons = list(_REASONS.items())
    return pages.show(request, "cannot", {**_shared(request, claim), "reasons": reasons, "error": error}, status=status)


_REASONS = {
    Submission.NegativeReason.CLOSED.value: "It is closed",
    Submission.NegativeReason.NOT_FOUND.value: "It is not there",
    Submission.NegativeReason.NO_ACCESS.value: "I can't get to it",
    Submission.NegativeReason.UNSAFE.value: "It is not safe",
}


def _shared(request: HttpRequest, claim: Claim) -> pages.Context:
    listing = queries.listing_of(task_id=claim.task_id, mode=claim.task.mode)
    last = reads.last_submission_of(claim)
    is_active = claim.status == Claim.Status.ACTIVE and claim.expires_at > clock.now()
    return {
        "claim": claim,
        "is_active": is_active,
        "listing": listing,
        "criteria": reads.shows_first(listing.criteria),
        "recovery_code": visitors.code_to_show(request),
        "last": last,
        "faults": reads.faults_of(last) if last else [],
    }


def _files(request: HttpRequest) -> list[evidence.TakenIn]:
    photos = [file for file in request.FILES.getlist("photo") if isinstance(file, UploadedFile)]
    if not photos:
        raise submissions.BadSubmission("There was no photo. Take it again, then send it.")
    if len(photos) > 1:
        raise submissions.BadSubmission("Send one photo.")
    if (photos[0].size or 0) > evidence.MAX_BYTES:
        raise evidence.Unreadable("too_many_bytes")
    return [evidence.take_in(photos[0].read())]


def _capture(request: HttpRequest) -> submissions.ReportedCapture:
    """Read what the phone says of the shutter; without a script it says nothing."""
    return submissions.ReportedCapture(
        latitude=_number(request, "latitude"),
        longitude=_number(request, "longitude"),
        accuracy_m=_number(request, "accuracy_m"),
        captured_at=_moment(request, "captured_at"),
    )


def _number(request: HttpRequest, name: str) -> float | None:
    text = request.POST.get(name, "")
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UnreadableForm("The phone's position could not be read. Take the photo again.")
    return value


def _moment(request: HttpRequest, name: str) -> datetime.datetime | None:
    text = request.POST.get(name, "")
    if not text:
        return None
    try:
        value = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise UnreadableForm("The phone's clock could not be read. Take the photo again.") from None
    if value.tzinfo is None:
        raise UnreadableForm("The phone's clock could not be read. Take the photo again.")
    return value


def _own(worker: WorkerProfile, claim: str) -> Claim:
    try:
        return task_queries.claim_of(worker, pages.id_in("clm", claim))
    except claims.NoClaim:
        raise Http404("There is no such page.") from None
