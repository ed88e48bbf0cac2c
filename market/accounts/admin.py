"""Look-up of accounts, agents and keys for operators; no secret and no digest of one is shown."""

from django.contrib import admin

from market.accounts.models import Agent, ApiKey, User
from tasks.admin import LookUp


@admin.register(User)
class UserLookUp(LookUp):
    """User rows, read only."""

    list_display = ("__str__", "username", "is_staff", "is_anonymous_worker", "is_active")
    list_filter = ("is_staff", "is_anonymous_worker")
    search_fields = ("id", "username")
    exclude = ("password", "recovery_code_hash")


@admin.register(Agent)
class AgentLookUp(LookUp):
    """Agent rows, read only."""

    list_display = ("__str__", "name", "owner", "mode", "is_suspended")
    list_filter = ("mode", "is_suspended")
    search_fields = ("id", "name")


@admin.register(ApiKey)
class ApiKeyLookUp(LookUp):
    """ApiKey rows, read only."""

    list_display = ("__str__", "name", "scope", "mode", "visible_prefix", "revoked_at")
    list_filter = ("scope", "mode")
    search_fields = ("id", "visible_prefix")
    exclude = ("secret_sha256",)
