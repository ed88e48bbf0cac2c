"""What every page is given, and how a page says that something was refused."""

import uuid
from collections.abc import Callable
from functools import wraps

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render

from market.web import visitors
from tasks import ids
from tasks.models import Mode, WorkerProfile

Context = dict[str, object]
WorkerView = Callable[..., HttpResponse]


def show(request: HttpRequest, name: str, context: Context, *, status: int = 200) -> HttpResponse:
    """Render a page for whoever is signed in. Forms and money are on it, so nothing in between may keep it."""
    worker = visitors.worker_of(request)
    shared: Context = {"worker": worker, "is_test": visitors.mode_of(worker) == Mode.TEST, "page": name}
    response = render(request, f"web/{name}.html", {**shared, **context}, status=status)
    response.headers["Cache-Control"] = "no-store"
    return response


def refuse(request: HttpRequest, *, title: str, message: str, status: int) -> HttpResponse:
    """Render a page that says why something can't be done, and the way back."""
    return show(request, "refusal", {"title": title, "message": message}, status=status)


def go(address: str) -> HttpResponseRedirect:
    """Answer a form: see this page next. 303, so that a reload sends nothing again."""
    response = redirect(address)
    response.status_code = 303
    return response


def id_in(prefix: str, text: str) -> uuid.UUID:
    """Read an id in an address; one that is none is not found."""
    try:
        return ids.decode(prefix, text)
    except ids.MalformedId:
        raise Http404("There is no such page.") from None


def for_workers(view: WorkerView) -> WorkerView:
    """Let workers in, hand the view its worker, and tell everybody else how to become one."""

    @wraps(view)
    def handle(request: HttpRequest, *args: str, **kwargs: str) -> HttpResponse:
        worker: WorkerProfile | None = visitors.worker_of(request)
        if worker is None:
            return show(request, "nobody", {}, status=403)
        return view(request, worker, *args, **kwargs)

    return handle
