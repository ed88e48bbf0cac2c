"""A worker's money: where it is, and having it paid out."""

import uuid

from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from market.common.money import MalformedMoney, Money
from market.payments import payouts
from market.payments.models import Payout
from market.payments.providers import base, registry, test_money
from market.web import pages, reads, visitors
from tasks import clock
from tasks.models import Mode, WorkerProfile

_SHOWN = 30


@require_http_methods(["GET", "POST"])
@pages.for_workers
def money_page(request: HttpRequest, worker: WorkerProfile) -> HttpResponse:
    """Show the balance; take a payout's request. Where the money goes is asked only when there is some."""
    if request.method == "GET":
        return _page(request, worker)
    try:
        payouts.request(
            worker=worker,
            mode=worker.mode,
            destination=request.POST.get("destination", ""),
            amount=Money.parse(request.POST.get("amount", "").strip(), request.POST.get("currency", "")),
            request_id=_request_id(request),
            now=clock.now(),
        )
    except payouts.NothingPayable:
        return _page(request, worker, error="That is more than you have ready, or nothing. Nothing was moved.", status=409)
    except payouts.RequestReused:
        return _page(request, worker, error="This form was sent before with another amount. Load the page again.", status=409)
    except payouts.PayoutDenied:
        return _page(request, worker, error="We can't pay people who live in your country. Your money stays yours here.", status=403)
    except (MalformedMoney, base.UnknownCounterpart, registry.LiveMoneyUnavailable) as refused:
        return _page(request, worker, error=str(refused), status=422)
    return pages.go(reverse("web:money"))


def _page(request: HttpRequest, worker: WorkerProfile, *, error: str = "", status: int = 200) -> HttpResponse:
    sent = Payout.objects.filter(worker=worker, mode=worker.mode).order_by("-created_at")[:_SHOWN]
    context: pages.Context = {
        "purses": reads.purses_of(worker),
        "payouts": [(payout, Money(payout.amount_minor, payout.currency)) for payout in sent],
        "destinations": test_money.COUNTERPARTS if worker.mode == Mode.TEST else (),
        "request_id": uuid.uuid4().hex,
        "is_served": not visitors.not_served(worker.country),
        "error": error,
    }
    return pages.show(request, "money", context, status=status)


def _request_id(request: HttpRequest) -> uuid.UUID:
    try:
        return uuid.UUID(hex=request.POST.get("request_id", ""))
    except ValueError:
        raise MalformedMoney("The form was not complete. Load the page again.") from None
