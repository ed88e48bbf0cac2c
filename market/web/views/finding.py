"""Open tasks: the list, one task, and claiming it."""

from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.gzip import gzip_page
from django.views.decorators.http import require_GET, require_POST

from market.bounties import claiming, locks, queries
from market.policy import countries
from market.web import limits, pages, positions, reads, tickets, visitors
from tasks import claims, clock
from tasks.models import WorkerProfile

_SHOWN = 20


@require_GET
@gzip_page
def listing(request: HttpRequest) -> HttpResponse:
    """Show open tasks: nearest first once the visitor has said where he is, else those that close first."""
    worker, position, now = visitors.worker_of(request), positions.kept(request), clock.now()
    mode = visitors.mode_of(worker)
    if position is None:
        found = queries.open_anywhere(mode=mode, limit=_SHOWN, now=now)
    elif worker is None:
        found = queries.open_near_for_anyone(mode=mode, latitude=position.latitude, longitude=position.longitude, limit=_SHOWN, now=now)
    else:
        found = queries.open_near(worker=worker, latitude=position.latitude, longitude=position.longitude, limit=_SHOWN, now=now)
    ongoing = reads.ongoing(worker, now=now) if worker else []
    return pages.show(request, "listing", {"listings": found, "position": position, "ongoing": ongoing})


@require_POST
def choose_place(request: HttpRequest) -> HttpResponse:
    """Take the visitor's place, measured by his phone or typed, or forget it."""
    response = pages.go(reverse("web:listing"))
    if "forget" in request.POST:
        positions.forget(response)
        return response
    try:
        position = positions.read(request.POST.get("place", ""))
    except positions.NoPlace as missing:
        return pages.refuse(request, title="Where are you?", message=str(missing), status=422)
    positions.keep(response, position, is_secure=request.is_secure())
    return response


@require_GET
def task_page(request: HttpRequest, task: str) -> HttpResponse:
    """Show what is asked, what it pays, and the way to claim it."""
    worker = visitors.worker_of(request)
    listing = _listing(task, worker)
    if worker is not None:
        held = reads.open_claim_on(worker, listing.task)
        if held is not None:
            return pages.go(reverse("web:claim", args=[str(held)]))
    return _task_page(request, listing)


@require_POST
def claim(request: HttpRequest, task: str) -> HttpResponse:
    """Claim a task; a visitor without an account gets one here."""
    worker, now = visitors.worker_of(request), clock.now()
    listing = _listing(task, worker)
    if worker is None and request.user.is_authenticated:
        return _task_page(request, listing, error="You are signed in as an operator. Sign out to work.", status=403)
    try:
        if worker is None:
            worker = _open_worker(request)
        position = positions.kept(request)
        taken = claiming.claim(
            task_id=listing.task.pk,
            worker=worker,
            latitude=position.latitude if position else None,
            longitude=position.longitude if position else None,
            now=now,
        )
    except claims.NotClaimable as refused:
        return _task_page(request, listing, error=_WORDS.get(type(refused), str(refused)), status=409)
    except (visitors.CountryNotServed, tickets.BadTicket) as refused:
        return _task_page(request, listing, error=str(refused), status=422)
    except limits.TooMany as refused:
        return _task_page(request, listing, error=str(refused), status=429)
    return pages.go(reverse("web:claim", args=[str(taken)]))


_WORDS: dict[type[claims.NotClaimable], str] = {
    claims.NotListed: "This task has just closed. Others are on the list.",
    claims.AllTaken: "Somebody else is on it at the moment. It may open again; others are on the list.",
    claims.AlreadyClaimed: "You have worked on this task before. It goes to one person once.",
    claims.TooManyOpenClaims: "Finish or drop the task you have first: it is under “My work”.",
}


def _open_worker(request: HttpRequest) -> WorkerProfile:
    ticket = tickets.read(request.POST.get("ticket", ""))
    limits.count(request, "open-worker")
    return visitors.open_worker(request, ticket=ticket, country=request.POST.get("country", ""))


def _task_page(request: HttpRequest, listing: queries.Listing, *, error: str = "", status: int = 200) -> HttpResponse:
    worker = visitors.worker_of(request)
    position = positions.kept(request)
    context: pages.Context = {
        "listing": listing,
        "criteria": reads.shows_first(listing.criteria),
        "distance_m": reads.distance_to(listing.task, position),
        "lease_s": claiming.lease_s(
            task=listing.task,
            latitude=position.latitude if position else None,
            longitude=position.longitude if position else None,
        ),
        "is_open": reads.is_open(listing.task, now=clock.now()),
        "record": reads.record_of(listing.bounty.agent),
        "error": error,
    }
    if worker is None:
        chosen = request.POST.get("country") or listing.task.country
        context |= {"ticket": tickets.issue(), "countries": _countries(chosen), "country": chosen}
    elif visitors.not_served(worker.country):
        context["error"] = error or "We can't pay people who live in your country."
    return pages.show(request, "task", context, status=status)


def _countries(chosen: str) -> list[tuple[str, str, bool, bool]]:
    """Return code, name, whether people there can be paid, and whether it is the one to show first."""
    return [(code, name, not visitors.not_served(code), code == chosen) for code, name in countries.names()]


def _listing(task: str, worker: WorkerProfile | None) -> queries.Listing:
    try:
        return queries.listing_of(task_id=pages.id_in("tsk", task), mode=visitors.mode_of(worker))
    except locks.NoBounty:
        raise Http404("There is no such task.") from None
