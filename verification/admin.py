"""Look-up of verdicts, checks and reviews for operators."""

from django.contrib import admin

from tasks.admin import LookUp
from verification.models import CheckRun, Review, Verdict


@admin.register(Verdict)
class VerdictLookUp(LookUp):
    """Verdict rows, read only."""

    list_display = ("__str__", "submission", "round", "outcome", "decided_by", "created_at")
    list_filter = ("outcome", "decided_by")
    search_fields = ("id", "submission__id")


@admin.register(CheckRun)
class CheckRunLookUp(LookUp):
    """CheckRun rows, read only."""

    list_display = ("__str__", "criterion", "outcome", "reason_code", "score")
    list_filter = ("check_name", "outcome")
    search_fields = ("submission__id",)


@admin.register(Review)
class ReviewLookUp(LookUp):
    """Review rows, read only."""

    list_display = ("__str__", "submission", "kind", "decision", "criterion", "created_at")
    list_filter = ("kind", "decision")
    search_fields = ("id", "submission__id")
