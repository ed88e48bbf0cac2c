"""Where each address goes; the edges are named by string only."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
]
__all__ = ["include", "urlpatterns"]
