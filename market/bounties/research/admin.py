"""Look-up of research bounties' money for operators."""

from django.contrib import admin

from market.bounties.research.models import (
    AppliedFinding,
    CaseReserve,
    Challenge,
    Forfeit,
    ResearchBounty,
    ResearchSettlement,
    RunPayment,
)
from tasks.admin import LookUp


@admin.register(ResearchBounty)
class ResearchBountyLookUp(LookUp):
    """Research bounty rows, read only."""

    list_display = ("__str__", "agent", "status", "closed_because", "budget_minor", "reserved_minor", "spent_minor", "currency", "mode")
    list_filter = ("status", "mode")
    search_fields = ("id", "agent__id", "task__id")


@admin.register(CaseReserve)
class CaseReserveLookUp(LookUp):
    """What candidates may still cost, read only."""

    list_display = ("__str__", "bounty", "amount_minor", "spent_minor", "bond", "released_at")
    search_fields = ("candidate__id", "bounty__id")


@admin.register(ResearchSettlement)
class ResearchSettlementLookUp(LookUp):
    """Settlement rows, read only."""

    list_display = ("__str__", "bounty", "outcome", "reward_minor", "fee_minor", "currency", "settled_at", "matured_at", "taken_back_at")
    list_filter = ("outcome",)
    search_fields = ("id", "bounty__id", "candidate__id")


@admin.register(RunPayment)
class RunPaymentLookUp(LookUp):
    """Pay of runs, read only."""

    list_display = ("__str__", "worker", "reason", "amount_minor", "staked_minor", "platform_minor", "currency", "paid_at", "matured_at")
    list_filter = ("reason",)
    search_fields = ("run__id", "bounty__id", "worker__user__id")


@admin.register(Forfeit)
class ForfeitLookUp(LookUp):
    """What stakes lost, read only."""

    list_display = ("__str__", "worker", "amount_minor", "currency", "forfeited_at")
    search_fields = ("run__id", "worker__user__id")


@admin.register(Challenge)
class ChallengeLookUp(LookUp):
    """Challenge rows, read only."""

    list_display = ("__str__", "candidate", "bounty", "status", "award_minor", "created_at", "decided_at")
    list_filter = ("status",)
    search_fields = ("id", "candidate__id", "bounty__id")


@admin.register(AppliedFinding)
class AppliedFindingLookUp(LookUp):
    """What findings cost, read only."""

    list_display = ("__str__", "bounty", "taken_back_minor", "bond_minor", "stake_minor", "applied_at")
    search_fields = ("finding__id", "bounty__id")
