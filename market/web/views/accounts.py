"""A worker's account: open it again with its recovery code, or leave this phone."""

from django.contrib.auth import logout
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from market.web import limits, pages, visitors


@require_http_methods(["GET", "POST"])
def recover(request: HttpRequest) -> HttpResponse:
    """Sign in with a recovery code."""
    if request.method == "GET":
        return pages.show(request, "recover", {})
    try:
        limits.count(request, "recover")
        visitors.recover(request, typed=request.POST.get("code", ""))
    except limits.TooMany as refused:
        return pages.show(request, "recover", {"error": str(refused)}, status=429)
    except visitors.UnknownCode as refused:
        return pages.show(request, "recover", {"error": str(refused)}, status=422)
    return pages.go(reverse("web:work"))


@require_POST
def leave(request: HttpRequest) -> HttpResponse:
    """Sign out on this phone."""
    logout(request)
    return pages.go(reverse("web:listing"))
