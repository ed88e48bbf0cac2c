"""Where each address goes; the edges are named by string only."""

from django.contrib import admin
from django.urls import include, path

from market.config import health

urlpatterns = [
    path("healthz", health.healthz),
    path("readyz", health.readyz),
    path("admin/", admin.site.urls),
    path("v1/", include("market.api.urls")),
    path("", include("market.web.urls")),
]
handler400 = "market.api.problems.handle_400"
handler403 = "market.api.problems.handle_403"
handler404 = "market.api.problems.handle_404"
handler500 = "market.api.problems.handle_500"
