"""The least that Django can do on the same server: answer a GET, and insert one row and answer.

What our own answers cost beyond these two is what the market does for its money.
"""

import os

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.benchmarks.marketplace.bare_settings"

from django.core.wsgi import get_wsgi_application
from django.db import connection
from django.http import HttpRequest, JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt


def read(request: HttpRequest) -> JsonResponse:
    """Answer."""
    return JsonResponse({})


@csrf_exempt
def write(request: HttpRequest) -> JsonResponse:
    """Insert what was sent, durably, and answer."""
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO benchmark_written (content) VALUES (%s)", [request.body.decode()])
    return JsonResponse({}, status=201)


urlpatterns = [path("healthz", read), path("read", read), path("write", write)]
application = get_wsgi_application()
