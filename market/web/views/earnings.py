"""A GPU owner's earnings: every run with what it paid or why it did not, and the same as CSV."""

import uuid

from django.http import HttpRequest, HttpResponse
from django.views.decorators.gzip import gzip_page
from django.views.decorators.http import require_GET

from market.web import pages, research_csv, research_earnings
from tasks import clock
from tasks.models import WorkerProfile

_SHOWN = 50


@require_GET
@gzip_page
@pages.for_workers
def earnings(request: HttpRequest, worker: WorkerProfile) -> HttpResponse:
    """Show the sums over all runs, and the runs themselves, newest first."""
    after: uuid.UUID | None = pages.id_in("rpl", request.GET["after"]) if request.GET.get("after") else None
    runs = research_earnings.runs_of(worker)
    found = list((runs.filter(pk__lt=after) if after else runs)[: _SHOWN + 1])
    now = clock.now()
    context: pages.Context = {
        "windows": research_earnings.windows_of(worker, now=now),
        "sums": research_earnings.sums_of(worker),
        "counts": research_earnings.counts_of(worker),
        "earnings": research_earnings.earnings_of(found[:_SHOWN], now=now),
        "last": found[_SHOWN - 1] if len(found) > _SHOWN else None,
    }
    return pages.show(request, "earnings", context)


@require_GET
@pages.for_workers
def earnings_csv(request: HttpRequest, worker: WorkerProfile) -> HttpResponse:  # noqa: ARG001 - every view takes the request
    """Send every run as a row."""
    return research_csv.answer("earnings", research_earnings.HEADER, research_earnings.rows_of(worker, now=clock.now()))


@require_GET
@pages.for_workers
def days_csv(request: HttpRequest, worker: WorkerProfile) -> HttpResponse:  # noqa: ARG001 - every view takes the request
    """Send the last days as rows, one a day and currency."""
    windows = research_earnings.windows_of(worker, now=clock.now())
    return research_csv.answer("earnings-by-day", research_earnings.DAYS_HEADER, [row for each in windows for row in each.plot.rows])
