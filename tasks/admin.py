"""Look-up of tasks, claims, submissions and workers for operators; every change goes through a use case instead."""

from typing import TYPE_CHECKING

from django.contrib import admin
from django.db import models
from django.http import HttpRequest

from tasks.models import Claim, Setback, Submission, Task, WorkerProfile

# Generic for the type checker only.
if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[models.Model]
else:
    _ModelAdmin = admin.ModelAdmin


class LookUp(_ModelAdmin):
    """Rows to find and read. Nothing is added, changed or deleted here, whatever the user's permissions say."""

    show_full_result_count = False
    list_per_page = 50

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002
        """Refuse."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:  # noqa: ARG002
        """Refuse."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:  # noqa: ARG002
        """Refuse."""
        return False


@admin.register(Task)
class TaskLookUp(LookUp):
    """Tasks by title."""

    list_display = ("__str__", "title", "status", "mode", "country", "closes_at")
    list_filter = ("status", "mode", "country")
    search_fields = ("id", "title")


@admin.register(Claim)
class ClaimLookUp(LookUp):
    """Claims by task and worker."""

    list_display = ("__str__", "task", "worker", "status", "expires_at")
    list_filter = ("status",)
    search_fields = ("id", "task__id", "worker__user__id")


@admin.register(Submission)
class SubmissionLookUp(LookUp):
    """Submissions by task and worker; exact positions of people are left out."""

    list_display = ("__str__", "task", "worker", "kind", "status", "received_at")
    list_filter = ("status", "kind")
    search_fields = ("id", "task__id", "worker__user__id")
    exclude = ("reported_latitude", "reported_longitude", "reported_accuracy_m")


@admin.register(WorkerProfile)
class WorkerLookUp(LookUp):
    """Workers by record."""

    list_display = ("__str__", "mode", "country", "accepted_count", "rejected_count", "expired_count", "is_suspended")
    list_filter = ("mode", "is_suspended", "country")
    search_fields = ("user__id",)


@admin.register(Setback)
class SetbackLookUp(LookUp):
    """Rows that fail in a sweep, and when they are tried again."""

    list_display = ("__str__", "error", "next_try_at")
    list_filter = ("sweep",)
    search_fields = ("row",)
