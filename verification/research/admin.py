"""Look-up of research facts for operators. Strangers' trees, secret seeds, sealed reports and hold-out scores are left out."""

from django.contrib import admin

from tasks.admin import LookUp
from verification.research.models import Artefact, Candidate, DataFile, Finding, Host, Idea, ResearchTask, Run, Tip, TrustedJob


@admin.register(ResearchTask)
class ResearchTaskLookUp(LookUp):
    """Research tasks by title."""

    list_display = ("__str__", "title", "status", "mode", "closes_at")
    list_filter = ("status", "mode")
    search_fields = ("id", "title")


@admin.register(Tip)
class TipLookUp(LookUp):
    """Chains of accepted commits, read only."""

    list_display = ("__str__", "task", "candidate", "created_at", "withdrawn_at")
    search_fields = ("task__id", "candidate__id")


@admin.register(Candidate)
class CandidateLookUp(LookUp):
    """Candidates and how they ended, read only."""

    list_display = ("__str__", "task", "place", "status", "reason_code", "gain", "lease_state", "received_at", "decided_at")
    list_filter = ("status", "lease_state")
    search_fields = ("id", "task__id", "claimant__id")
    exclude = ("seed_indexes", "test", "tree", "sent_tree")


@admin.register(Run)
class RunLookUp(LookUp):
    """Runs by candidate, owner and stage, read only."""

    list_display = ("__str__", "kind", "stage", "candidate", "host", "lease_state", "reason_code", "created_at", "judged_at")
    list_filter = ("stage", "kind", "lease_state")
    search_fields = ("id", "candidate__id", "owner__id")
    exclude = ("seed", "seed_index", "report", "spec", "holdout_score", "tree")


@admin.register(Artefact)
class ArtefactLookUp(LookUp):
    """Checkpoints that were handed in, read only."""

    list_display = ("__str__", "run", "checkpoint", "byte_count", "created_at")
    search_fields = ("run__id", "sha256")


@admin.register(TrustedJob)
class TrustedJobLookUp(LookUp):
    """What the trusted pool does, read only."""

    list_display = ("__str__", "kind", "candidate", "run", "lease_state", "created_at", "completed_at")
    list_filter = ("kind", "lease_state")
    search_fields = ("id", "candidate__id", "run__id")
    exclude = ("params", "readings")


@admin.register(Host)
class HostLookUp(LookUp):
    """Owners' machines and their records, read only."""

    list_display = ("__str__", "hardware", "mode", "valid_count", "invalid_count", "is_suspended", "calibrated_at", "last_seen_at")
    list_filter = ("is_suspended", "mode", "hardware")
    search_fields = ("id", "owner__id", "class_text")


@admin.register(Finding)
class FindingLookUp(LookUp):
    """What was found later, read only."""

    list_display = ("__str__", "candidate", "run", "source", "is_upheld", "reason_code", "created_at")
    list_filter = ("source", "is_upheld")
    search_fields = ("candidate__id", "run__id", "check_name")


@admin.register(Idea)
class IdeaLookUp(LookUp):
    """Ideas and what came of them, read only."""

    list_display = ("__str__", "task", "status", "candidate", "created_at", "ended_at")
    list_filter = ("status",)
    search_fields = ("id", "task__id", "author__id")


@admin.register(DataFile)
class DataFileLookUp(LookUp):
    """Data files that posters handed in, read only."""

    list_display = ("__str__", "owner", "byte_count", "created_at")
    search_fields = ("sha256", "owner__id")
