"""One run of a GPU owner's: how it was judged, and his appeal, with the two curves beside each other."""

from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from market.web import pages, research_appeals, research_csv, research_earnings
from tasks import clock
from tasks.models import WorkerProfile
from verification.research import appeals
from verification.research.models import Run


@require_GET
@pages.for_workers
def replay(request: HttpRequest, worker: WorkerProfile, replay: str) -> HttpResponse:
    """Show the run."""
    return _page(request, _own(worker, replay))


@require_POST
@pages.for_workers
def appeal(request: HttpRequest, worker: WorkerProfile, replay: str) -> HttpResponse:
    """Have the run trained again."""
    own = _own(worker, replay)
    try:
        appeals.ask(run=own, now=clock.now())
    except appeals.NotAppealable:
        return _page(request, own, error="This can't be appealed, or not any more.", status=409)
    except appeals.AppealsSpent:
        return _page(
            request, own, error="Earlier appeals of yours are open, or came to nothing. Appeal again when they are older.", status=409
        )
    return pages.go(reverse("web:replay", args=[str(own)]))


@require_GET
@pages.for_workers
def parting_csv(request: HttpRequest, worker: WorkerProfile, replay: str) -> HttpResponse:  # noqa: ARG001 - every view takes the request
    """Send both curves as figures."""
    own = _own(worker, replay)
    found = research_appeals.appealed(own, now=clock.now()).parting
    if found is None:
        raise Http404("There is nothing to compare yet.")
    return research_csv.answer(f"{own}-appeal", found.header, found.rows)


def _own(worker: WorkerProfile, replay: str) -> Run:
    return research_appeals.run_of(worker, pages.id_in("rpl", replay))


def _page(request: HttpRequest, run: Run, *, error: str = "", status: int = 200) -> HttpResponse:
    now = clock.now()
    [earning] = research_earnings.earnings_of([run], now=now)
    context: pages.Context = {"run": run, "earning": earning, "shown": research_appeals.appealed(run, now=now), "error": error}
    return pages.show(request, "replay", context, status=status)
