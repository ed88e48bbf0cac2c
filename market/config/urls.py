"""Where each address goes; the edges are named by string only."""

from django.contrib import admin
from django.urls import path

from market.config import health

urlpatterns = [
    path("healthz", health.healthz),
    path("readyz", health.readyz),
    path("admin/", admin.site.urls),
]
