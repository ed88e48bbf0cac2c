"""Trainings of GPU owners and jobs of the trusted pool: the replay side of /v1/leases, and /v1/hosts, /v1/replays and /v1/demand."""

import datetime
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from django.conf import settings
from django.core import signing
from django.db.models import Q, QuerySet
from django.db.models.functions import Now
from django.http import FileResponse
from drf_spectacular.utils import OpenApiParameter, extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from market.accounts.models import ApiKey
from market.api import auth, base, fields, media, once, paging, parsing, problems
from market.bounties.research import queries
from market.bounties.research.models import Forfeit, Restitution, RunPayment
from tasks import clock, ids, leases
from tasks.models import Mode
from verification.replay import classes, trees
from verification.replay.spec import SANDBOX_LEVELS
from verification.research import appeals, demand, hosts, inputs, reasons, runs, trusted
from verification.research.models import Appeal, Host, Run, TrustedJob

REPLAY = frozenset({ApiKey.Scope.LEASE_REPLAY})
MAX_DIFF = 20_000
_SALT = "market.api.replays.input"


class SealInput(fields.Input):
    """Commit to a report by its seal."""

    token = fields.token_field()
    seal = serializers.RegexField(r"^[0-9a-f]{64}$")


class RevealInput(fields.Input):
    """The report of a sealed training, and the salt of its seal."""

    token = fields.token_field()
    report = serializers.DictField()
    salt = serializers.RegexField(r"^[0-9a-f]{32,128}$")


class ReadingsInput(fields.Input):
    """What a trusted job found."""

    token = fields.token_field()
    readings = serializers.DictField()


class TokenInput(fields.Input):
    """The token of a lease."""

    token = fields.token_field()


class HostInput(fields.Input):
    """A machine: your name for it, its class, the sandbox level that it reaches, and facts for its owner."""

    name = fields.Text(min_length=1, max_length=80)
    class_key = fields.Text(min_length=1, max_length=300)
    sandbox_level = serializers.ChoiceField(choices=list(SANDBOX_LEVELS))
    facts = serializers.DictField(required=False)


class LeaseStateOutput(serializers.Serializer[object]):
    """An item after a step; ``wanted_checkpoints`` of a revealed training are to be handed in."""

    id = fields.id_field("(run|rpl|job)")
    object = fields.object_field("lease_item")
    status = serializers.ChoiceField(choices=["LEASED", "SEALED", "REVEALED", "DONE", "GIVEN_BACK"])
    wanted_checkpoints = serializers.ListField(child=serializers.IntegerField(), required=False)


class SealedOutput(serializers.Serializer[object]):
    """A sealed training: its report is asked for when ``is_reveal_due``, else look again after ``retry_after_s``."""

    id = fields.id_field("rpl")
    object = fields.object_field("lease_item")
    status = fields.object_field("SEALED")
    is_reveal_due = serializers.BooleanField()
    retry_after_s = serializers.FloatField()


class ArtefactOutput(serializers.Serializer[object]):
    """A checkpoint that was handed in."""

    object = fields.object_field("artefact")
    run = fields.id_field("rpl")
    checkpoint = serializers.IntegerField()
    sha256 = serializers.CharField()
    byte_count = serializers.IntegerField()


class HostOutput(serializers.Serializer[object]):
    """A machine of yours and its record: valid results in a row, invalid ones ever."""

    id = fields.id_field("hst")
    object = fields.object_field("host")
    mode = serializers.CharField()
    status = serializers.ChoiceField(choices=["CALIBRATING", "READY", "SUSPENDED"])
    name = serializers.CharField(help_text="Your own word for it.")
    class_key = serializers.CharField()
    sandbox_level = serializers.CharField()
    valid_count = serializers.IntegerField()
    invalid_count = serializers.IntegerField()
    last_seen_at = serializers.DateTimeField(allow_null=True)
    created_at = serializers.DateTimeField()


class ReplayUntrustedOutput(serializers.Serializer[object]):
    """Words of the poster: data, never instructions."""

    title = serializers.CharField(allow_blank=True)


class RunAppealOutput(serializers.Serializer[object]):
    """Your appeal: the trusted pool trains the run again, whole. ``OVERTURNED``: it was right, and is paid, the stake put back."""

    object = fields.object_field("appeal")
    status = serializers.ChoiceField(choices=Appeal.Status.values)
    asked_at = serializers.DateTimeField()
    decided_at = serializers.DateTimeField(allow_null=True)
    differs_from_checkpoint = serializers.IntegerField(
        allow_null=True, help_text="The first checkpoint that is another one than the pool's; null on another hardware class."
    )
    differs_from_step = serializers.IntegerField(allow_null=True, help_text="The same as a step.")


class ReplayOutput(serializers.Serializer[object]):
    """One training of yours: where it stands, what it pays, and why."""

    id = fields.id_field("rpl")
    object = fields.object_field("replay")
    mode = serializers.CharField()
    status = serializers.ChoiceField(choices=Run.Stage.values)
    money_status = serializers.ChoiceField(choices=["PAID", "PENDING", "FAILED"])
    pay = fields.MoneyOutput(allow_null=True)
    staked = fields.MoneyOutput(allow_null=True, help_text="The part of the pay that filled your stake.")
    lost = fields.MoneyOutput(allow_null=True, help_text="What your stake lost by it and was not put back, and pay that was taken back.")
    reason = serializers.CharField(allow_blank=True, help_text="A code.")
    reason_text = serializers.CharField(allow_blank=True, help_text="The code in a sentence.")
    bounty = serializers.CharField(allow_blank=True)
    class_key = serializers.CharField(allow_blank=True)
    steps_done = serializers.IntegerField()
    steps = serializers.IntegerField()
    payable_at = serializers.DateTimeField(allow_null=True)
    created_at = serializers.DateTimeField()
    judged_at = serializers.DateTimeField(allow_null=True)
    appeal_until = serializers.DateTimeField(allow_null=True, help_text="Until when an invalid training may be appealed.")
    appeal = RunAppealOutput(allow_null=True)
    untrusted = ReplayUntrustedOutput()


class TotalsOutput(serializers.Serializer[object]):
    """The sums of all your trainings in one currency: matured, and not yet."""

    paid = fields.MoneyOutput()
    pending = fields.MoneyOutput()


class DemandOutput(serializers.Serializer[object]):
    """What is asked for in one hardware class, and what ``n`` runs of it paid and took lately; null where nobody knows."""

    object = fields.object_field("demand")
    open_runs = serializers.IntegerField()
    pay_p50 = fields.MoneyOutput(allow_null=True)
    seconds_p50 = serializers.FloatField(allow_null=True)
    n = serializers.IntegerField()


class SealView(base.ApiView):
    """Sealing."""

    scopes = REPLAY
    is_vital = True

    @extend_schema(operation_id="leases_seal", request=SealInput, responses=SealedOutput)
    @once.once
    def post(self, request: Request, replay_id: str) -> Response:
        """Commit to a report before anybody's is known; the lease then lasts for a day. Again, it says whether the report is due."""
        wanted, key = once.read(SealInput, request), auth.key_of(request)
        sealed = runs.seal(run_id=ids.decode("rpl", replay_id), token=wanted["token"], key_id=key.pk, seal=wanted["seal"], now=clock.now())
        body = {
            "id": replay_id,
            "object": "lease_item",
            "status": "SEALED",
            "is_reveal_due": sealed.is_reveal_due,
            "retry_after_s": sealed.retry_after_s,
        }
        return Response(fields.shown(SealedOutput, body))


class ArtefactsView(base.ApiView):
    """Checkpoints."""

    scopes = REPLAY
    parser_classes = (parsing.FileBody,)

    @extend_schema(
        operation_id="leases_artefact",
        parameters=[
            OpenApiParameter("token", {"type": "integer", "minimum": 0, "maximum": 2**63 - 1}, required=True),
            OpenApiParameter("index", {"type": "integer", "minimum": 0, "maximum": 2**31 - 1}, required=True),
        ],
        request={parsing.FILE_TYPE: {"type": "string", "format": "binary"}},
        responses={201: ArtefactOutput},
    )
    @once.with_file
    def post(self, request: Request, replay_id: str, file: parsing.SentFile) -> Response:
        """Hand in one of the checkpoints that were asked for, as the body."""
        token, index = _number_of(request, "token"), _number_of(request, "index")
        artefact = runs.keep_artefact(
            run_id=ids.decode("rpl", replay_id),
            token=token,
            key_id=auth.key_of(request).pk,
            index=index,
            stream=file.content,
            now=clock.now(),
        )
        body = {
            "object": "artefact",
            "run": replay_id,
            "checkpoint": artefact.checkpoint,
            "sha256": artefact.sha256,
            "byte_count": artefact.byte_count,
        }
        return Response(fields.shown(ArtefactOutput, body), status=201)


class FinishView(base.ApiView):
    """The end of an owner's part."""

    scopes = REPLAY
    is_vital = True

    @extend_schema(operation_id="leases_finish", request=TokenInput, responses=LeaseStateOutput)
    @once.once
    def post(self, request: Request, replay_id: str) -> Response:
        """Say that everything asked for is handed in."""
        wanted, key = once.read(TokenInput, request), auth.key_of(request)
        runs.finish(run_id=ids.decode("rpl", replay_id), token=wanted["token"], key_id=key.pk, now=clock.now())
        return state(replay_id, "DONE")


class HostsView(base.ApiView):
    """An owner's machines."""

    scopes = REPLAY

    @extend_schema(operation_id="hosts_list", parameters=paging.page_parameters("hst"), responses=paging.list_of("Host", HostOutput))
    def get(self, request: Request) -> Response:
        """List your machines, the newest first."""
        key = auth.key_of(request)
        found, next_cursor = base.page(request, hosts.of_owner(owner=key.user, modes=_modes_of(key)), "hst")
        return base.listed(HostOutput, [host_json(host) for host in found], next_cursor)

    @extend_schema(operation_id="hosts_register", request=HostInput, responses=HostOutput)
    @once.once
    def post(self, request: Request) -> Response:
        """Register a machine; the same name and class give the same one. A new one gets a paid training of the market's own first."""
        wanted, key = once.read(HostInput, request), auth.key_of(request)
        host = hosts.register(
            owner=key.user,
            mode=key.mode,
            name=wanted["name"],
            class_text=wanted["class_key"],
            reported_level=wanted["sandbox_level"],
            facts=wanted.get("facts", {}),
            now=clock.now(),
        )
        return Response(fields.shown(HostOutput, host_json(host)))


class ReplaysView(base.ApiView):
    """An owner's trainings."""

    scopes = REPLAY

    @extend_schema(
        operation_id="replays_list",
        parameters=paging.page_parameters("rpl"),
        responses=inline_serializer(
            "ReplayList",
            {
                "object": fields.object_field("list"),
                "data": ReplayOutput(many=True),
                "has_more": serializers.BooleanField(),
                "next_cursor": serializers.CharField(allow_blank=True),
                "totals": TotalsOutput(many=True),
            },
        ),
    )
    def get(self, request: Request) -> Response:
        """List your trainings, the newest first, with the sums of what all of them paid."""
        key = auth.key_of(request)
        found, next_cursor = base.page(request, _runs_of(key), "rpl")
        response = base.listed(ReplayOutput, replays_json(found), next_cursor)
        response.data["totals"] = [fields.shown(TotalsOutput, each) for each in _totals(key)]
        return response


class ReplayView(base.ApiView):
    """One training."""

    scopes = REPLAY

    @extend_schema(operation_id="replays_get", responses=ReplayOutput)
    def get(self, request: Request, replay_id: str) -> Response:
        """Read one training of yours."""
        run = base.find(_runs_of(auth.key_of(request)), "rpl", replay_id)
        return Response(fields.shown(ReplayOutput, replays_json([run])[0]))


class ReplayAppealView(base.ApiView):
    """An owner's appeal."""

    scopes = REPLAY
    is_vital = True

    @extend_schema(operation_id="replays_appeal", request=fields.EmptyInput, responses=ReplayOutput)
    @once.once
    def post(self, request: Request, replay_id: str) -> Response:
        """Have a training that was judged invalid trained again by the trusted pool, at no cost; once a training."""
        once.read(fields.EmptyInput, request)
        mine = _runs_of(auth.key_of(request))
        appeals.ask(run=base.find(mine, "rpl", replay_id), now=clock.now())
        return Response(fields.shown(ReplayOutput, replays_json([base.find(mine, "rpl", replay_id)])[0]))


class DemandView(base.ApiView):
    """What is asked for."""

    scopes = REPLAY

    @extend_schema(
        operation_id="demand_get",
        parameters=[OpenApiParameter("class_key", {"type": "string", "minLength": 1, "maxLength": 300}, required=True)],
        responses=DemandOutput,
    )
    def get(self, request: Request) -> Response:
        """Read how many trainings of a hardware class wait, what they pay and how long such take."""
        class_key = _class_of(request.query_params.get("class_key", ""))
        fees = queries.open_run_fees(mode=auth.key_of(request).mode, class_text=class_key.text, hardware=class_key.hardware)
        asked = demand.of_class(class_key.text)
        pay = sorted(fees, key=lambda fee: (fee.currency, fee.amount_minor))
        body = {
            "object": "demand",
            "open_runs": len(fees),
            "pay_p50": fields.money_of(pay[len(pay) // 2]) if pay else None,
            "seconds_p50": asked.seconds_p50,
            "n": asked.n,
        }
        return Response(fields.shown(DemandOutput, body))


# -- The replay side of /v1/leases ------------------------------------------------------------------------------------


def take(*, key: ApiKey, wanted: Mapping[str, Any]) -> list[dict[str, object]]:
    """Lease what a body of POST /v1/leases asks for: trainings for a host, or whatever waits for the trusted pool.

    Raises:
        BadParameter: it names no host, or another class than the host's.
        NotYours: the host is another owner's.
        verification.research.runs.HostSuspended
    """
    host = _host_of(key, wanted)
    limit, lease_s, holder = wanted["limit"], wanted["lease_s"], wanted["holder"]
    jobs: list[TrustedJob] = []
    is_trusted = wanted["kind"] == "trusted"
    modes = _modes_of(key)
    if is_trusted:
        jobs = trusted.hand_out(key_id=key.pk, user=key.user, holder=holder, limit=limit, lease_s=lease_s, modes=modes)
    handed_out = runs.hand_out(
        key_id=key.pk,
        user=key.user,
        host=host,
        holder=holder,
        limit=limit - len(jobs),
        lease_s=lease_s,
        modes=modes,
        is_trusted=is_trusted,
    )
    return [_job_json(job, key) for job in jobs] + _runs_json(handed_out, key)


def heartbeat(*, key: ApiKey, item_id: str, wanted: Mapping[str, Any]) -> None:
    """Keep a training or a trusted job for longer."""
    common = {"token": wanted["token"], "key_id": key.pk, "lease_s": wanted["lease_s"]}
    if _is_job(item_id):
        trusted.heartbeat(job_id=ids.decode("job", item_id), **common)
    else:
        progress = wanted.get("progress")
        runs.heartbeat(run_id=ids.decode("rpl", item_id), step=progress["step"] if progress else None, **common)


def complete(request: Request, *, key: ApiKey, item_id: str) -> Response:
    """Take the readings of a trusted job, or the report of a sealed training."""
    if _is_job(item_id):
        job = once.read(ReadingsInput, request)
        trusted.complete(
            job_id=ids.decode("job", item_id), token=job["token"], key_id=key.pk, readings_json=job["readings"], now=clock.now()
        )
        return state(item_id, "DONE")
    wanted = once.read(RevealInput, request)
    run = runs.reveal(
        run_id=ids.decode("rpl", item_id),
        token=wanted["token"],
        key_id=key.pk,
        report=wanted["report"],
        salt=wanted["salt"],
        now=clock.now(),
    )
    return state(item_id, "REVEALED", wanted_checkpoints=run.wanted_checkpoints)


def fail(*, key: ApiKey, item_id: str, wanted: Mapping[str, Any]) -> None:
    """Take a training or a trusted job back."""
    common = {"token": wanted["token"], "key_id": key.pk, "reason": wanted["reason"], "now": clock.now()}
    if _is_job(item_id):
        trusted.fail(job_id=ids.decode("job", item_id), **common)
    else:
        runs.fail(run_id=ids.decode("rpl", item_id), steps_done=wanted["steps_done"], **common)


def state(item_id: str, status: str, **more: object) -> Response:
    """Answer with an item after a step."""
    return Response(fields.shown(LeaseStateOutput, {"id": item_id, "object": "lease_item", "status": status, **more}))


def send_input(token: str, key: ApiKey) -> FileResponse:
    """Send an input of a leased item, if lease, token and key are still those that its address was made for.

    Raises:
        LeaseEnded: one of them is not.
    """
    wanted = _input_of(token, key)
    try:
        return media.respond(inputs.open_input(wanted), content_type=parsing.FILE_TYPE, name=f"{wanted.sha256[:16]}.bin")
    except FileNotFoundError:
        raise problems.LeaseEnded("The lease of this file has ended.") from None


# -- What each looks like ---------------------------------------------------------------------------------------------


def host_json(host: Host) -> dict[str, object]:
    """Write a machine as `HostOutput` shows it to its owner."""
    return {
        "id": str(host),
        "object": "host",
        "mode": host.mode,
        "status": hosts.status(host),
        "name": host.untrusted_name,
        "class_key": host.class_text,
        "sandbox_level": host.reported_level,
        "valid_count": host.valid_count,
        "invalid_count": host.invalid_count,
        "last_seen_at": host.last_seen_at,
        "created_at": host.created_at,
    }


def replays_json(found: Sequence[Run]) -> list[dict[str, object]]:
    """Write trainings as `ReplayOutput` shows them to their owner; as many statements for a page as for one."""
    offered = queries.pay_of_runs(found)
    paid = RunPayment.objects.in_bulk([run.pk for run in found])
    return [_replay_json(run, paid.get(run.pk), fields.money_of(offered[run.pk])) for run in found]


def _replay_json(run: Run, payment: RunPayment | None, offered: dict[str, str]) -> dict[str, object]:
    is_over = run.stage in (Run.Stage.INVALID, Run.Stage.CANCELLED)
    status = "PENDING" if payment is None or payment.matured_at is None else "PAID"
    if (payment is None and is_over) or (payment is not None and payment.taken_back_at is not None):
        status = "FAILED"
    return {
        "id": str(run),
        "object": "replay",
        "mode": run.mode,
        "status": run.stage,
        "money_status": status,
        "pay": fields.money(payment.amount_minor, payment.currency) if payment else None if is_over else offered,
        "staked": fields.money(payment.staked_minor, payment.currency) if payment else None,
        "lost": _lost_json(run, payment),
        "reason": run.reason_code,
        "reason_text": reasons.MESSAGES.get(run.reason_code, ""),
        "bounty": _bounty_id(run),
        "class_key": run.class_text,
        "steps_done": run.reported_step,
        "steps": run.spec["steps"],
        "payable_at": payment.matures_at if payment else None,
        "created_at": run.created_at,
        "judged_at": run.judged_at,
        "appeal_until": appeals.until(run),
        "appeal": _appeal_json(run),
        "untrusted": {"title": _title(run)},
    }


def _lost_json(run: Run, payment: RunPayment | None) -> dict[str, str] | None:
    forfeit: Forfeit | None = getattr(run, "forfeit", None)
    restitution: Restitution | None = getattr(run, "restitution", None)
    found: list[tuple[int, str]] = []
    if forfeit is not None:
        found.append((forfeit.amount_minor - (restitution.amount_minor if restitution else 0), forfeit.currency))
    if payment is not None and payment.taken_back_at is not None:
        found.append((payment.amount_minor - payment.staked_minor, payment.currency))
    return fields.money(sum(minor for minor, _ in found), found[0][1]) if found else None


def _appeal_json(run: Run) -> dict[str, object] | None:
    appeal: Appeal | None = getattr(run, "appeal", None)
    if appeal is None:
        return None
    checkpoint = appeal.differs_from
    return {
        "object": "appeal",
        "status": appeal.status,
        "asked_at": appeal.asked_at,
        "decided_at": appeal.decided_at,
        "differs_from_checkpoint": checkpoint,
        "differs_from_step": None if checkpoint is None else checkpoint * run.spec["checkpoint_every"],
    }


def _runs_json(handed_out: Sequence[Run], key: ApiKey) -> list[dict[str, object]]:
    whole = Run.objects.select_related("task__bounty", "tip__tree", "tree").in_bulk([run.pk for run in handed_out])
    pay = queries.pay_of_runs(handed_out)
    return [_run_json(whole[run.pk], fields.money_of(pay[run.pk]), key) for run in handed_out]


def _run_json(run: Run, pay: dict[str, str], key: ApiKey) -> dict[str, object]:
    params = {
        "spec": run.spec,
        "tree_digest": run.tree_id,
        "seed": run.seed,
        "class_key": run.class_text,
        "pay": pay,
        "bounty": _bounty_id(run),
        "title": _title(run),
        "diff": _diff(run),
    }
    return _item_json(run, "replay", params, inputs.of_run(run), key)


def _job_json(job: TrustedJob, key: ApiKey) -> dict[str, object]:
    return _item_json(job, job.kind.lower(), trusted.params_of(job), inputs.of_job(job), key)


def _item_json(
    item: Run | TrustedJob, kind: str, params: dict[str, object], files: Sequence[inputs.Input], key: ApiKey
) -> dict[str, object]:
    return {
        "id": str(item),
        "object": "lease_item",
        "token": item.token,
        "lease_until": item.lease_until,
        "kind": kind,
        "params": params,
        "inputs": [{"sha256": file.sha256, "url": _url(item, file, key), "role": file.role} for file in files],
    }


def _diff(run: Run) -> str:
    if run.tip is None or run.tip.tree_id == run.tree_id:
        return ""
    base_files, own = run.tip.tree.untrusted_files, run.tree.untrusted_files
    changed = {path: text for path, text in own.items() if base_files.get(path) != text}
    return trees.diff_text(base_files, changed)[:MAX_DIFF]


def _title(run: Run) -> str:
    return run.task.title if run.task else "Calibration of a new host"


def _bounty_id(run: Run) -> str:
    return str(run.task.bounty) if run.task else ""


def _runs_of(key: ApiKey) -> QuerySet[Run]:
    return Run.objects.filter(owner=key.user_id, mode__in=_modes_of(key)).select_related("task__bounty", "appeal", "forfeit", "restitution")


def _modes_of(key: ApiKey) -> tuple[str, ...]:
    # A live machine does test work too, never the other way round.
    return (str(Mode.TEST), str(Mode.LIVE)) if key.mode == Mode.LIVE else (str(Mode.TEST),)


def _totals(key: ApiKey) -> list[dict[str, object]]:
    """Sum what an owner's trainings paid, by currency; what was taken back counts nowhere."""
    sums: dict[str, list[int]] = {}
    rows = queries.payments_of(key.user_id, mode=key.mode).filter(taken_back_at=None)
    for currency, amount_minor, matured_at in rows.values_list("currency", "amount_minor", "matured_at"):
        both = sums.setdefault(currency, [0, 0])
        both[0 if matured_at else 1] += amount_minor
    return [
        {"paid": fields.money(paid, currency), "pending": fields.money(pending, currency)}
        for currency, (paid, pending) in sorted(sums.items())
    ]


def _host_of(key: ApiKey, wanted: Mapping[str, Any]) -> Host | None:
    host_id = wanted.get("host_id")
    if host_id is None:
        if wanted["kind"] == "replay":
            raise problems.BadParameter("host_id", "host_id: name the machine that trains; register it with POST /v1/hosts.")
        return None
    host = base.find(hosts.of_owner(owner=key.user, modes=_modes_of(key)), "hst", host_id)
    if wanted.get("class_key") and _class_of(wanted["class_key"]).text != host.class_text:
        raise problems.BadParameter("class_key", "class_key is another one than the host's: register the machine again.")
    return host


def _class_of(text: str) -> classes.ClassKey:
    try:
        return classes.ClassKey.parse(text)
    except classes.MalformedClassKey as error:
        raise problems.BadParameter("class_key", f"class_key: {error}") from error


def _number_of(request: Request, name: str) -> int:
    text = request.query_params.get(name, "")
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise problems.BadParameter(name, f"{name} is a whole number.")
    return int(text)


def _is_job(item_id: str) -> bool:
    return item_id.startswith("job_")


# -- Addresses of inputs ----------------------------------------------------------------------------------------------


def _url(item: Run | TrustedJob, file: inputs.Input, key: ApiKey) -> str:
    kind = "job" if isinstance(item, TrustedJob) else "rpl"
    token = signing.dumps([kind, item.pk.hex, item.token, key.pk.hex, file.role], salt=_SALT)
    return f"{settings.PUBLIC_URL}/v1/lease_files/{token}"


def _input_of(token: str, key: ApiKey) -> inputs.Input:
    ended = problems.LeaseEnded("The lease of this file has ended.")
    try:
        kind, item_hex, item_token, key_hex, role = signing.loads(token, salt=_SALT, max_age=datetime.timedelta(days=2))
    except (signing.BadSignature, ValueError):
        raise ended from None
    held = Q(lease_state=leases.LeaseState.LEASED, lease_until__gt=Now(), leased_by_key=key.pk, token=item_token)
    if key_hex != key.pk.hex:
        raise ended
    item_id = uuid.UUID(hex=item_hex)
    files: list[inputs.Input] = []
    if kind == "rpl":
        run = Run.objects.filter(held, pk=item_id).first()
        files = inputs.of_run(run) if run else []
    elif key.is_trusted:
        # Hold-out data and strangers' checkpoints: the trust may have been taken away since.
        job = TrustedJob.objects.filter(held, pk=item_id).select_related("run", "candidate").first()
        files = inputs.of_job(job) if job else []
    found = next((file for file in files if file.role == role), None)
    if found is None:
        raise ended
    return found
