"""/v1/leases: machine workers take pieces of work, keep them, and hand in results; fenced by token, safe to repeat.

Vision runs are handled here; the trainings of owners and the jobs of the trusted pool in `market.api.replays`.
"""

import datetime
import uuid

from django.conf import settings
from django.core import signing
from django.db.models import Q
from django.db.models.functions import Now
from django.http import FileResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import PolymorphicProxySerializer, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from market.accounts.models import ApiKey
from market.api import auth, base, fields, media, once, parsing, problems, replays
from tasks import clock, evidence, ids, leases
from tasks.models import Evidence, Mode
from verification import vision_runs
from verification.models import VisionRun

MAX_LIMIT = 64
MIN_LEASE_S, MAX_LEASE_S = 5, 600
# Ask again after this when nothing was ready; there are no long polls, because they would hold threads.
RETRY_AFTER_S = 1.0
_SALT = "market.api.leases.input"
_KINDS = {"vision": ApiKey.Scope.LEASE_VISION, "replay": ApiKey.Scope.LEASE_REPLAY, "trusted": ApiKey.Scope.LEASE_REPLAY}


class LeaseInput(fields.Input):
    """How much work, for whom and for how long."""

    kind = serializers.ChoiceField(choices=sorted(_KINDS))
    limit = fields.Whole(min_value=1, max_value=MAX_LIMIT, default=1)
    holder = serializers.RegexField(r"^[A-Za-z0-9._:@-]{1,80}$", help_text="Names the process in the market's logs.")
    lease_s = fields.Whole(min_value=MIN_LEASE_S, max_value=MAX_LEASE_S, default=60)
    host_id = fields.id_field("hst", required=False, help_text="For trainings: which of your machines (POST /v1/hosts).")
    class_key = fields.Text(
        max_length=300, required=False, allow_blank=True, help_text="For trainings: the machine's class now; it must be the host's."
    )


class ProgressInput(fields.Input):
    """How far a training is."""

    step = fields.Whole(min_value=0, max_value=2**31 - 1)
    steps = fields.Whole(min_value=0, max_value=2**31 - 1)


class HeartbeatInput(fields.Input):
    """Keep an item for ``lease_s`` seconds from now."""

    token = fields.token_field()
    lease_s = fields.Whole(min_value=MIN_LEASE_S, max_value=MAX_LEASE_S, default=60)
    progress = ProgressInput(required=False)


class CompleteInput(fields.Input):
    """Readings of one item: scores and descriptors, never a verdict."""

    token = fields.token_field()
    readings = serializers.DictField()
    model_hash = serializers.RegexField(r"^[0-9a-f]{64}$")
    preprocessing = serializers.RegexField(r"^[A-Za-z0-9._+-]{1,40}$")


class FailInput(fields.Input):
    """Why an item can't be done here."""

    token = fields.token_field()
    reason = fields.Text(min_length=1, max_length=200)
    steps_done = fields.Whole(min_value=0, max_value=2**31 - 1, default=0, help_text="Of a training.")


class LeaseFileOutput(serializers.Serializer[object]):
    """One file of an item; its address is for this key and ends with the lease."""

    sha256 = serializers.CharField()
    url = serializers.CharField()
    role = serializers.CharField()


class LeaseItemOutput(serializers.Serializer[object]):
    """One piece of work, held until ``lease_until`` by whoever has ``token``."""

    id = fields.id_field("(run|rpl|job)")
    object = fields.object_field("lease_item")
    token = serializers.IntegerField()
    lease_until = serializers.DateTimeField()
    kind = serializers.CharField()
    params = serializers.DictField()
    inputs = LeaseFileOutput(many=True)


class LeaseOutput(serializers.Serializer[object]):
    """What was handed out; without items, ask again after ``retry_after_s``."""

    object = fields.object_field("lease")
    items = LeaseItemOutput(many=True)
    retry_after_s = serializers.FloatField()


COMPLETE = PolymorphicProxySerializer(
    component_name="Complete",
    serializers=[CompleteInput, replays.RevealInput, replays.ReadingsInput],
    resource_type_field_name=None,
)


class LeasesView(base.ApiView):
    """Handing out."""

    scopes = auth.LEASE

    @extend_schema(operation_id="leases_take", request=LeaseInput, responses=LeaseOutput)
    @once.once
    def post(self, request: Request) -> Response:
        """Lease up to ``limit`` items. A lost answer loses nothing: they come back when their lease ends."""
        wanted = once.read(LeaseInput, request)
        key = _key_for(request, wanted["kind"])
        if wanted["kind"] != "vision":
            return _leased(replays.take(key=key, wanted=wanted))
        modes = [Mode.TEST] if key.mode == Mode.TEST else [Mode.TEST, Mode.LIVE]
        runs = vision_runs.hand_out(
            key_id=key.pk,
            holder=wanted["holder"],
            limit=wanted["limit"],
            lease_s=wanted["lease_s"],
            modes=[str(mode) for mode in modes],
            stranger_to=key.user_id,
        )
        files = Evidence.objects.in_bulk([run.evidence_id for run in runs])
        return _leased([_item_json(run, files[run.evidence_id], key) for run in runs])


class HeartbeatView(base.ApiView):
    """Keeping."""

    scopes = auth.LEASE
    is_vital = True

    @extend_schema(operation_id="leases_heartbeat", request=HeartbeatInput, responses=replays.LeaseStateOutput)
    @once.once
    def post(self, request: Request, run_id: str) -> Response:
        """Keep an item longer."""
        wanted, key = once.read(HeartbeatInput, request), _key_of(request, run_id)
        if not _is_vision(run_id):
            replays.heartbeat(key=key, item_id=run_id, wanted=wanted)
            return replays.state(run_id, "LEASED")
        vision_runs.heartbeat(run_id=ids.decode("run", run_id), token=wanted["token"], key_id=key.pk, lease_s=wanted["lease_s"])
        return replays.state(run_id, "LEASED")


class CompleteView(base.ApiView):
    """Handing in."""

    scopes = auth.LEASE
    is_vital = True
    parser_classes = (parsing.ReportBody,)

    @extend_schema(operation_id="leases_complete", request=COMPLETE, responses=replays.LeaseStateOutput)
    @once.once
    def post(self, request: Request, run_id: str) -> Response:
        """Hand in the readings of an item, or the report of a sealed training."""
        key = _key_of(request, run_id)
        if not _is_vision(run_id):
            return replays.complete(request, key=key, item_id=run_id)
        wanted = once.read(CompleteInput, request)
        vision_runs.complete(
            run_id=ids.decode("run", run_id),
            token=wanted["token"],
            key_id=key.pk,
            readings=wanted["readings"],
            model_hash=wanted["model_hash"],
            preprocessing=wanted["preprocessing"],
            now=clock.now(),
        )
        return replays.state(run_id, "DONE")


class FailView(base.ApiView):
    """Giving back."""

    scopes = auth.LEASE
    is_vital = True

    @extend_schema(operation_id="leases_fail", request=FailInput, responses=replays.LeaseStateOutput)
    @once.once
    def post(self, request: Request, run_id: str) -> Response:
        """Give an item back with the reason why it can't be done here."""
        wanted, key = once.read(FailInput, request), _key_of(request, run_id)
        if not _is_vision(run_id):
            replays.fail(key=key, item_id=run_id, wanted=wanted)
            return replays.state(run_id, "GIVEN_BACK")
        vision_runs.fail(run_id=ids.decode("run", run_id), token=wanted["token"], key_id=key.pk, reason=wanted["reason"])
        return replays.state(run_id, "GIVEN_BACK")


class LeaseFileView(base.ApiView):
    """The files of leased items."""

    scopes = auth.LEASE

    @extend_schema(operation_id="leases_file", responses={(200, "application/octet-stream"): OpenApiTypes.BINARY})
    def get(self, request: Request, token: str) -> FileResponse:
        """Fetch a file of a leased item, as long as its lease lasts."""
        if auth.key_of(request).scope == ApiKey.Scope.LEASE_REPLAY:
            return replays.send_input(token, auth.key_of(request))
        key = _key_for(request, "vision")
        file = _file_of(token, key)
        try:
            return media.respond(evidence.open_original(file.sha256), content_type="application/octet-stream", name=f"{file}.bin")
        except FileNotFoundError:
            # Erased: the row is kept for its digests, and there is nothing to read for any more.
            raise problems.LeaseEnded("The lease of this file has ended.") from None


def _key_for(request: Request, kind: str) -> ApiKey:
    """Return the caller's key if it may do this kind of work.

    Raises:
        WrongScope: it has the scope of another kind.
        KeyNotTrusted: its machine may not see what people photographed, nor what decides about replays.
    """
    key = auth.key_of(request)
    if key.scope != _KINDS[kind]:
        raise problems.WrongScope(f"A key of scope {key.scope} can't take {kind} runs.")
    if not key.is_trusted and kind != "replay":
        raise problems.KeyNotTrusted("The machine behind this key is not trusted with private photos, hold-out data or audits.")
    return key


def _key_of(request: Request, item_id: str) -> ApiKey:
    """Return the caller's key if it may do what kind of work the item is."""
    return _key_for(request, {"rpl": "replay", "job": "trusted"}.get(item_id.partition("_")[0], "vision"))


def _is_vision(item_id: str) -> bool:
    return item_id.partition("_")[0] not in ("rpl", "job")


def _leased(items: list[dict[str, object]]) -> Response:
    return Response(fields.shown(LeaseOutput, {"object": "lease", "items": items, "retry_after_s": 0.0 if items else RETRY_AFTER_S}))


def _item_json(run: VisionRun, file: Evidence, key: ApiKey) -> dict[str, object]:
    return {
        "id": str(run),
        "object": "lease_item",
        "token": run.token,
        "lease_until": run.lease_until,
        "kind": "vision",
        "params": run.params,
        "inputs": [{"sha256": file.sha256, "url": _file_url(run, key), "role": "evidence"}],
    }


def _file_url(run: VisionRun, key: ApiKey) -> str:
    token = signing.dumps([run.pk.hex, run.token, key.pk.hex], salt=_SALT)
    return f"{settings.PUBLIC_URL}/v1/lease_files/{token}"


def _file_of(token: str, key: ApiKey) -> Evidence:
    """Return the file an address was made for, if lease, token and key are still those.

    Raises:
        LeaseEnded: one of them is not.
    """
    try:
        run_hex, run_token, key_hex = signing.loads(token, salt=_SALT, max_age=datetime.timedelta(days=1))
    except (signing.BadSignature, ValueError):
        raise problems.LeaseEnded("The lease of this file has ended.") from None
    held = Q(lease_state=leases.LeaseState.LEASED, lease_until__gt=Now(), leased_by_key=key.pk, token=run_token)
    run = VisionRun.objects.select_related("evidence").filter(held, pk=uuid.UUID(hex=run_hex)).first() if key_hex == key.pk.hex else None
    if run is None:
        raise problems.LeaseEnded("The lease of this file has ended.")
    return run.evidence
