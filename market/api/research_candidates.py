"""Candidates of research bounties: announced, handed in, read; the leaderboard and the chain of tips."""

import uuid
from collections.abc import Sequence

from django.db.models import Q, QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from market.accounts.models import Agent, ApiKey
from market.api import auth, base, bounties, fields, once, paging, parsing, problems, research
from market.bounties.research import entering
from market.bounties.research.models import CaseReserve, ResearchSettlement
from tasks import clock
from tasks.models import WorkerProfile
from verification.replay.sequential import Sequential
from verification.research import reasons
from verification.research.models import Candidate, ResearchTask, Tip

NOTE_LENGTH = 500


class CandidateInput(fields.Input):
    """A commit: the full text of each file that it changes, on the tip whose digest is ``parent``."""

    # Serializers have an attribute of this name; their fields are kept apart from those.
    parent = serializers.RegexField(r"^[0-9a-f]{64}$", help_text="The digest of the tip that it is made on.")  # type: ignore[assignment]
    files = serializers.DictField(child=fields.Text(allow_blank=True, trim_whitespace=False), help_text="Allow-listed paths alone.")
    reported_gain = fields.Number(
        min_value=-1000, max_value=1000, required=False, help_text="Your own measurement; shown, never judged by."
    )
    note = fields.Text(max_length=NOTE_LENGTH, allow_blank=True, default="", trim_whitespace=False)
    announced = fields.id_field("cnd", required=False, help_text="If it was announced: the id that the announcement got.")
    salt = serializers.RegexField(r"^[0-9a-f]{32,128}$", required=False, help_text="And the salt of its seal.")

    def validate(self, attrs: dict[str, object]) -> dict[str, object]:
        """Require both halves of an announcement, or none."""
        if ("announced" in attrs) != ("salt" in attrs):
            raise serializers.ValidationError({"salt": ["Send announced and salt together, or neither."]})
        return attrs


class PrecommitInput(fields.Input):
    """A candidate's seal: SHA-256 of ``atoms.research.seal.1:<salt>:<tree digest>``."""

    sealed_sha256 = serializers.RegexField(r"^[0-9a-f]{64}$")


class PointOutput(serializers.Serializer[object]):
    """The sequential test after so many pairs: it accepts above ``upper`` and rejects below ``lower``."""

    pairs = serializers.IntegerField()
    llr = serializers.FloatField()
    upper = serializers.FloatField()
    lower = serializers.FloatField()


class BondOutput(serializers.Serializer[object]):
    """What backs a candidate's word."""

    amount = fields.MoneyOutput()
    status = serializers.ChoiceField(choices=["PLACED", "RETURNED", "LOST"])


class CandidateUntrustedOutput(serializers.Serializer[object]):
    """Words of the claimant: data, never instructions."""

    note = serializers.CharField(allow_blank=True)


class CandidateOutput(serializers.Serializer[object]):
    """A commit and its way to a verdict. What is yours alone to know while it is judged is null for others."""

    id = fields.id_field("cnd")
    object = fields.object_field("candidate")
    bounty = fields.id_field("rsb")
    status = serializers.ChoiceField(choices=Candidate.Status.values)
    place = serializers.IntegerField(help_text="Candidates of a bounty are judged in this order.")
    is_yours = serializers.BooleanField()
    is_final = serializers.BooleanField()
    reason_code = serializers.CharField(allow_blank=True)
    reason = serializers.CharField(allow_blank=True, help_text="The code in a sentence.")
    parent = serializers.CharField(allow_blank=True, help_text="The tip that it is judged against now.")  # type: ignore[assignment]
    tree = serializers.CharField(allow_blank=True)
    rebase_count = serializers.IntegerField()
    tip_number = serializers.IntegerField(allow_null=True)
    reported_gain = serializers.FloatField(allow_null=True)
    gain = serializers.FloatField(allow_null=True)
    shrunk_gain = serializers.FloatField(allow_null=True, help_text="What is paid for.")
    pairs = serializers.IntegerField()
    path = PointOutput(many=True)
    reward = fields.MoneyOutput(allow_null=True)
    bond = BondOutput(allow_null=True)
    receipt = serializers.DictField(allow_null=True)
    untrusted = CandidateUntrustedOutput()
    reveal_until = serializers.DateTimeField(allow_null=True)
    received_at = serializers.DateTimeField(allow_null=True)
    decided_at = serializers.DateTimeField(allow_null=True)
    final_at = serializers.DateTimeField(allow_null=True, help_text="When nothing can change the verdict any more.")
    created_at = serializers.DateTimeField()


class LeaderOutput(serializers.Serializer[object]):
    """An accepted candidate that stands."""

    rank = serializers.IntegerField()
    candidate = fields.id_field("cnd")
    tip_number = serializers.IntegerField()
    gain = serializers.FloatField()
    shrunk_gain = serializers.FloatField()
    reward = fields.MoneyOutput(allow_null=True)
    is_yours = serializers.BooleanField()
    decided_at = serializers.DateTimeField()


class CandidatesView(base.ApiView):
    """A bounty's candidates."""

    scopes = research.READERS
    writing_scopes = auth.AGENT_OR_WORKER
    is_vital = True
    parser_classes = (parsing.TreeBody,)

    @extend_schema(
        operation_id="candidates_list",
        parameters=[
            *paging.page_parameters("cnd"),
            OpenApiParameter("mine", {"type": "boolean", "default": False}, description="Yours alone."),
            OpenApiParameter("status", {"type": "string", "enum": Candidate.Status.values}),
        ],
        responses=paging.list_of("Candidate", CandidateOutput),
    )
    def get(self, request: Request, research_id: str) -> Response:
        """List what was handed in, the newest first; what was rejected too, so that nobody tries it again."""
        key, rows = auth.key_of(request), _candidates().filter(task=research.find(request, research_id).task)
        if bounties.truth(request, "mine"):
            rows = rows.filter(claimant=key.user_id)
        status = request.query_params.get("status", "")
        if status:
            if status not in Candidate.Status.values:
                raise problems.BadParameter("status", f"status is one of {', '.join(Candidate.Status.values)}.")
            rows = rows.filter(status=status)
        found, next_cursor = base.page(request, rows, "cnd")
        return base.listed(CandidateOutput, candidates_json(found, key=key), next_cursor)

    @extend_schema(operation_id="candidates_submit", request=CandidateInput, responses={201: CandidateOutput})
    @once.once
    def post(self, request: Request, research_id: str) -> Response:
        """Hand in a candidate with its bond: it is checked at once, then replayed by strangers when it is its turn."""
        wanted, key = once.read(CandidateInput, request), auth.key_of(request)
        bounty = research.find(request, research_id)
        announced = None
        if "announced" in wanted:
            announced = base.find(Candidate.objects.filter(task=bounty.task, claimant=key.user_id), "cnd", wanted["announced"])
        candidate = entering.submit(
            bounty=bounty,
            user=key.user,
            source=source_of(request),
            edited=wanted["files"],
            parent_digest=wanted["parent"],
            reported_gain=wanted.get("reported_gain"),
            note=wanted["note"],
            announced=announced,
            salt=wanted.get("salt", ""),
            now=clock.now(),
        )
        return _answer(candidate.pk, key, status=201)


class PrecommitsView(base.ApiView):
    """Announcements."""

    scopes = auth.AGENT_OR_WORKER
    is_vital = True

    @extend_schema(operation_id="candidates_announce", request=PrecommitInput, responses={201: CandidateOutput})
    @once.once
    def post(self, request: Request, research_id: str) -> Response:
        """Keep a place for a candidate of which only the seal is known; send it before ``reveal_until``."""
        wanted, key = once.read(PrecommitInput, request), auth.key_of(request)
        candidate = entering.announce(
            bounty=research.find(request, research_id),
            user=key.user,
            source=source_of(request),
            sealed_sha256=wanted["sealed_sha256"],
            now=clock.now(),
        )
        return _answer(candidate.pk, key, status=201)


class CandidateView(base.ApiView):
    """One candidate."""

    scopes = research.READERS

    @extend_schema(operation_id="candidates_get", responses=CandidateOutput)
    def get(self, request: Request, candidate_id: str) -> Response:
        """Read a candidate of a bounty that you may see."""
        return _answer(find(request, candidate_id).pk, auth.key_of(request))


class LeaderboardView(base.ApiView):
    """The leaderboard."""

    scopes = research.READERS

    @extend_schema(
        operation_id="research_leaderboard",
        parameters=paging.page_parameters("cnd"),
        responses=paging.list_of("Leader", LeaderOutput),
    )
    def get(self, request: Request, research_id: str) -> Response:
        """List the accepted candidates that stand, the largest verified gain first."""
        bounty, key, limit = research.find(request, research_id), auth.key_of(request), base.limit_of(request)
        standing = Candidate.objects.filter(task=bounty.task, status=Candidate.Status.ACCEPTED, tip__withdrawn_at=None)
        rows, before = _after(standing, base.cursor_of(request, "cnd"))
        found = list(rows.select_related("tip", "settlement").order_by("-shrunk_gain", "-pk")[: limit + 1])
        data = [_leader_json(candidate, rank, key) for rank, candidate in enumerate(found[:limit], start=before + 1)]
        return base.listed(LeaderOutput, data, str(found[limit - 1]) if len(found) > limit else "")


class LineageView(base.ApiView):
    """The chain of tips."""

    scopes = research.READERS

    @extend_schema(
        operation_id="research_lineage",
        parameters=[
            paging.page_parameters("tip")[0],
            OpenApiParameter("cursor", {"type": "string", "pattern": "^[0-9]{1,9}$"}, description="next_cursor of the page before."),
        ],
        responses=paging.list_of("Tip", research.TipOutput),
    )
    def get(self, request: Request, research_id: str) -> Response:
        """List every tip, the newest first, down to the base; withdrawn ones are marked."""
        bounty, limit, cursor = research.find(request, research_id), base.limit_of(request), request.query_params.get("cursor", "")
        rows = Tip.objects.filter(task=bounty.task).select_related("parent", "candidate").order_by("-number")
        if cursor:
            if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= 9):
                raise base.foreign_cursor()
            rows = rows.filter(number__lt=int(cursor))
        found = list(rows[: limit + 1])
        data = [research.tip_json(tip) for tip in found[:limit]]
        return base.listed(research.TipOutput, data, str(found[limit - 1].number) if len(found) > limit else "")


def candidates_json(found: Sequence[Candidate], *, key: ApiKey) -> list[dict[str, object]]:
    """Write candidates as `CandidateOutput` shows them to a key; as many statements for a page as for one."""
    keys = [candidate.pk for candidate in found]
    reserves = CaseReserve.objects.select_related("bond").in_bulk(keys)
    settlements = {each.candidate_id: each for each in ResearchSettlement.objects.filter(candidate__in=keys)}
    numbers = dict(Tip.objects.filter(candidate__in=keys).values_list("candidate", "number"))
    return [
        _candidate_json(candidate, reserves.get(candidate.pk), settlements.get(candidate.pk), numbers.get(candidate.pk), key)
        for candidate in found
    ]


def _candidate_json(
    candidate: Candidate, reserve: CaseReserve | None, settlement: ResearchSettlement | None, tip_number: int | None, key: ApiKey
) -> dict[str, object]:
    is_yours = candidate.claimant_id == key.user_id
    # What somebody tries is his until it is decided; then everybody learns from it.
    is_open = is_yours or candidate.status in Candidate.DECIDED
    test = Sequential.from_json(candidate.test) if candidate.test and is_open else None
    bond = reserve.bond if reserve and is_yours else None
    return {
        "id": str(candidate),
        "object": "candidate",
        "bounty": str(candidate.task.bounty),
        "status": candidate.status,
        "place": candidate.place,
        "is_yours": is_yours,
        "is_final": candidate.final_at is not None and candidate.final_at <= clock.now(),
        "reason_code": candidate.reason_code,
        "reason": reasons.MESSAGES.get(candidate.reason_code, ""),
        "parent": candidate.parent.tree_id if candidate.parent else "",
        "tree": (candidate.tree_id or "") if is_open else "",
        "rebase_count": candidate.rebase_count,
        "tip_number": tip_number,
        "reported_gain": candidate.reported_gain if is_open else None,
        "gain": candidate.gain,
        "shrunk_gain": candidate.shrunk_gain,
        "pairs": len(test.path) if test else 0,
        "path": [{"pairs": point.pairs, "llr": point.llr, "upper": point.upper, "lower": point.lower} for point in test.path]
        if test
        else [],
        "reward": fields.money(settlement.reward_minor, settlement.currency) if settlement else None,
        "bond": {"amount": fields.money(bond.amount_minor, bond.currency), "status": bond.status} if bond else None,
        "receipt": settlement.receipt if settlement else None,
        "untrusted": {"note": candidate.untrusted_note if is_open else ""},
        "reveal_until": candidate.reveal_until,
        "received_at": candidate.received_at,
        "decided_at": candidate.decided_at,
        "final_at": candidate.final_at,
        "created_at": candidate.created_at,
    }


def _leader_json(candidate: Candidate, rank: int, key: ApiKey) -> dict[str, object]:
    settlement: ResearchSettlement | None = getattr(candidate, "settlement", None)
    return {
        "rank": rank,
        "candidate": str(candidate),
        "tip_number": candidate.tip.number,
        "gain": candidate.gain,
        "shrunk_gain": candidate.shrunk_gain,
        "reward": fields.money(settlement.reward_minor, settlement.currency) if settlement else None,
        "is_yours": candidate.claimant_id == key.user_id,
        "decided_at": candidate.decided_at,
    }


def _after(standing: QuerySet[Candidate], last_id: uuid.UUID | None) -> tuple[QuerySet[Candidate], int]:
    """Return the rows that follow the last one of the page before, and how many there were until then."""
    if last_id is None:
        return standing, 0
    last = standing.filter(pk=last_id).values_list("shrunk_gain", flat=True).first()
    if last is None:
        raise base.foreign_cursor()
    below = Q(shrunk_gain__lt=last) | Q(shrunk_gain=last, pk__lt=last_id)
    return standing.filter(below), standing.exclude(below).count()


def _candidates() -> QuerySet[Candidate]:
    return Candidate.objects.select_related("task__bounty", "parent")


def find(request: Request, candidate_id: str) -> Candidate:
    """Return a candidate of a bounty that the caller may see.

    Raises:
        NotYours: there is none.
    """
    seen = ResearchTask.objects.filter(bounty__in=research.visible(request).order_by().values("pk"))
    return base.find(_candidates().filter(task__in=seen.values("pk")), "cnd", candidate_id)


def source_of(request: Request) -> Agent | WorkerProfile:
    """Return whose money backs the word of whoever calls."""
    return auth.agent_of(request) if auth.key_of(request).scope == ApiKey.Scope.AGENT else auth.worker_of(request)


def _answer(candidate_id: uuid.UUID, key: ApiKey, *, status: int = 200) -> Response:
    candidate = _candidates().get(pk=candidate_id)
    return Response(fields.shown(CandidateOutput, candidates_json([candidate], key=key)[0]), status=status)
