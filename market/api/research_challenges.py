"""Challenges of accepted candidates: a stake on their being cheats."""

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from market.api import auth, base, fields, once
from market.api import research_candidates as candidates
from market.bounties.research import challenging
from market.bounties.research.models import Challenge
from tasks import clock


class ChallengeInput(fields.Input):
    """Why you think that the candidate cheats."""

    statement = fields.Text(max_length=challenging.STATEMENT_LENGTH, allow_blank=True, default="", trim_whitespace=False)


class ChallengeUntrustedOutput(serializers.Serializer[object]):
    """Words of the challenger: data, never instructions."""

    statement = serializers.CharField(allow_blank=True)


class ChallengeOutput(serializers.Serializer[object]):
    """A stake against an accepted candidate: all its runs are audited again."""

    id = fields.id_field("chl")
    object = fields.object_field("challenge")
    candidate = fields.id_field("cnd")
    status = serializers.ChoiceField(choices=Challenge.Status.values)
    stake = fields.MoneyOutput()
    untrusted = ChallengeUntrustedOutput()
    created_at = serializers.DateTimeField()
    decided_at = serializers.DateTimeField(allow_null=True)


class ChallengeView(base.ApiView):
    """A challenge of an accepted candidate."""

    scopes = auth.AGENT_OR_WORKER
    is_vital = True

    @extend_schema(operation_id="candidates_challenge", request=ChallengeInput, responses={201: ChallengeOutput})
    @once.once
    def post(self, request: Request, candidate_id: str) -> Response:
        """Stake money on an accepted candidate being a cheat; upheld, its bond is yours, dismissed, the stake is lost."""
        wanted, key = once.read(ChallengeInput, request), auth.key_of(request)
        challenge = challenging.challenge(
            candidate=candidates.find(request, candidate_id),
            user=key.user,
            source=candidates.source_of(request),
            statement=wanted["statement"],
            now=clock.now(),
        )
        return Response(fields.shown(ChallengeOutput, challenge_json(challenge)), status=201)


def challenge_json(challenge: Challenge) -> dict[str, object]:
    """Write a challenge as `ChallengeOutput` shows it to who made it."""
    return {
        "id": str(challenge),
        "object": "challenge",
        "candidate": str(challenge.candidate),
        "status": challenge.status,
        "stake": fields.money(challenge.bond.amount_minor, challenge.bond.currency),
        "untrusted": {"statement": challenge.untrusted_statement},
        "created_at": challenge.created_at,
        "decided_at": challenge.decided_at,
    }
