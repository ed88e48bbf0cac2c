"""What a caller may take of a process: a body of so many bytes, so many requests, and all threads but those kept for money."""

import threading
from collections import Counter
from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.urls import Resolver404, resolve
from rest_framework import exceptions

from market.api import parsing, problems
from market.config import rates

# Load balancers learn more from a slow answer of these than from a refusal.
_NEVER_SHED = frozenset({"/healthz", "/readyz"})

GetResponse = Callable[[HttpRequest], HttpResponse]


def bounded_bodies(get_response: GetResponse) -> GetResponse:
    """Refuse a body larger than any route takes before a byte of it is read: forms of pages are written to disk as they come."""

    def handle(request: HttpRequest) -> HttpResponse:
        length = str(request.META.get("CONTENT_LENGTH") or "0")
        # A file that is no form is read by the routes that take one, and by none else.
        most = parsing.MAX_FILE_BYTES if request.META.get("CONTENT_TYPE") == parsing.FILE_TYPE else parsing.MAX_FORM_BYTES
        if not (length.isascii() and length.isdigit()) or int(length[:20]) > most:
            return problems.refuse(request, parsing.BodyTooLarge(f"The body has more than {most} bytes."))
        return get_response(request)

    return handle


def counted_requests(get_response: GetResponse) -> GetResponse:
    """Refuse a request over its rate (see `market.config.rates`)."""

    def handle(request: HttpRequest) -> HttpResponse:
        wait_s = rates.wait_s_of(request)
        if wait_s is not None:
            return problems.refuse(request, exceptions.Throttled(wait=wait_s))
        response = get_response(request)
        rates.note(request, response)
        return response

    return handle


def threads_for_money(get_response: GetResponse) -> GetResponse:
    """Keep a quarter of a web process's threads for vital requests; what finds the others taken is told to come again.

    Whoever is refused costs next to nothing, so a queue of such requests is gone before a vital one behind it has waited long.
    Of one key so many requests at once are vital as fill half of what is kept, its others are like anybody's: one that sends its
    bodies slowly can't hold all that is kept. Who has several keys can; only a proxy that waits for whole bodies prevents that.
    Only a web server that says how many threads it has sheds anything.
    """
    most_of_others = max(1, settings.WEB_THREADS * 3 // 4)
    others = threading.Semaphore(most_of_others)
    vital = _Places(max(1, (settings.WEB_THREADS - most_of_others) // 2))

    def handle(request: HttpRequest) -> HttpResponse:
        if settings.WEB_THREADS == 0 or request.path in _NEVER_SHED:
            return get_response(request)
        name = rates.digest_of(request) or ""
        if is_vital(request) and vital.take(name):
            try:
                return get_response(request)
            finally:
                vital.give_back(name)
        if not others.acquire(blocking=False):
            return problems.refuse(request, problems.Overloaded("The market is busy; money is moved first."))
        try:
            return get_response(request)
        finally:
            others.release()

    return handle


class _Places:
    """So many places of each name; names without one taken are not remembered."""

    def __init__(self, of_each: int) -> None:
        self._of_each = of_each
        self._taken: Counter[str] = Counter()
        self._lock = threading.Lock()

    def take(self, name: str) -> bool:
        with self._lock:
            is_free = self._taken[name] < self._of_each
            self._taken[name] += is_free
            return is_free

    def give_back(self, name: str) -> None:
        with self._lock:
            self._taken[name] -= 1
            if not self._taken[name]:
                del self._taken[name]


def is_vital(request: HttpRequest) -> bool:
    """Tell whether a request moves money, or keeps somebody's right to it."""
    if request.method != "POST" or not request.path.startswith(problems.PREFIX):
        return False
    try:
        view = resolve(request.path_info).func
    except Resolver404:
        return False
    return bool(getattr(getattr(view, "view_class", None), "is_vital", False))
