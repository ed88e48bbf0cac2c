"""/v1/claims: a worker's claims; extend, drop, and hand in under them."""

import functools
from typing import Any

from django.core.files.uploadedfile import UploadedFile
from django.http import HttpResponse
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import exceptions, serializers
from rest_framework.request import Request
from rest_framework.response import Response

from market.api import auth, base, fields, once, paging, parsing, problems
from market.api import submissions as shown
from market.bounties import claiming, submitting
from tasks import clock, evidence, ids, submissions
from tasks import queries as task_queries
from tasks.models import Claim, Submission


class ClaimOutput(serializers.Serializer[object]):
    """An exclusive right to one slot until ``expires_at``."""

    id = fields.id_field("clm")
    object = fields.object_field("claim")
    mode = serializers.CharField()
    task = fields.id_field("tsk")
    status = serializers.ChoiceField(choices=Claim.Status.values)
    expires_at = serializers.DateTimeField()
    is_extended = serializers.BooleanField()
    is_retake_used = serializers.BooleanField()
    terms_hash = serializers.CharField()
    submissions = serializers.ListField(child=fields.id_field("sub"))
    created_at = serializers.DateTimeField()
    ended_at = serializers.DateTimeField(allow_null=True)


class ExtendInput(fields.Input):
    """Where the worker is: more time is given inside the task's area only."""

    latitude = fields.Number(min_value=-90, max_value=90)
    longitude = fields.Number(min_value=-180, max_value=180)


class SubmissionForm(serializers.Serializer[object]):
    """Photos, where and when they were taken; or why it can't be done."""

    kind = serializers.ChoiceField(choices=Submission.Kind.values, default=Submission.Kind.EVIDENCE.value)
    negative_reason = serializers.ChoiceField(choices=Submission.NegativeReason.values, required=False, allow_blank=True)
    latitude = serializers.FloatField(min_value=-90, max_value=90, required=False)
    longitude = serializers.FloatField(min_value=-180, max_value=180, required=False)
    accuracy_m = serializers.FloatField(min_value=0, max_value=1e7, required=False)
    captured_at = fields.Moment(required=False)
    note = serializers.CharField(max_length=4 * submissions.NOTE_LENGTH, required=False, allow_blank=True, trim_whitespace=False)
    original_sha256 = serializers.ListField(
        child=serializers.RegexField(r"^([0-9a-f]{64})?$", allow_blank=True),
        required=False,
        max_length=submissions.MAX_FILES,
        help_text="SHA-256 of the files before the phone shrank them, in the order of the photos.",
    )
    photo = serializers.ListField(child=serializers.FileField(allow_empty_file=True), min_length=1, max_length=submissions.MAX_FILES)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse unknown fields, and ask a negative submission for its reason."""
        unknown = sorted(set(self.initial_data) - set(self.fields))
        if unknown:
            raise serializers.ValidationError({name[:60]: ["This field is unknown or not yours to set."] for name in unknown})
        is_negative = attrs["kind"] == Submission.Kind.NEGATIVE
        if is_negative != bool(attrs.get("negative_reason")):
            raise serializers.ValidationError({"negative_reason": ["A negative submission, and no other, names its reason."]})
        return attrs


def claim_json(claim: Claim) -> dict[str, object]:
    """Write a claim as `ClaimOutput` shows it to its worker."""
    return {
        "id": str(claim),
        "object": "claim",
        "mode": claim.task.mode,
        "task": ids.encode("tsk", claim.task_id),
        "status": claim.status,
        "expires_at": claim.expires_at,
        "is_extended": claim.is_extended,
        "is_retake_used": claim.is_retake_used,
        "terms_hash": claim.terms_hash,
        "submissions": [str(submission) for submission in sorted(claim.submissions.all(), key=lambda each: each.number)],
        "created_at": claim.created_at,
        "ended_at": claim.ended_at,
    }


def answer(claim: Claim, *, status: int = 200) -> Response:
    """Answer with a claim as it is now."""
    return Response(fields.shown(ClaimOutput, claim_json(claim)), status=status)


def _find(request: Request, claim_id: str) -> Claim:
    return base.find(Claim.objects.filter(worker=auth.worker_of(request)).select_related("task"), "clm", claim_id)


class ClaimsView(base.ApiView):
    """A worker's claims."""

    scopes = auth.WORKER

    @extend_schema(
        operation_id="claims_list",
        parameters=[*paging.page_parameters("clm"), OpenApiParameter("status", {"type": "string", "enum": Claim.Status.values})],
        responses=paging.list_of("Claim", ClaimOutput),
    )
    def get(self, request: Request) -> Response:
        """List your claims, the newest first."""
        rows = task_queries.claims_of(auth.worker_of(request))
        status = request.query_params.get("status")
        if status:
            if status not in Claim.Status.values:
                raise problems.BadParameter("status", f"status is one of {', '.join(Claim.Status.values)}.")
            rows = rows.filter(status=status)
        found, next_cursor = base.page(request, rows, "clm")
        return base.listed(ClaimOutput, [claim_json(claim) for claim in found], next_cursor)


class ClaimView(base.ApiView):
    """One claim."""

    scopes = auth.WORKER

    @extend_schema(operation_id="claims_get", responses=ClaimOutput)
    def get(self, request: Request, claim_id: str) -> Response:
        """Read a claim."""
        return answer(_find(request, claim_id))


class ExtendView(base.ApiView):
    """More time for a claim."""

    scopes = auth.WORKER
    is_vital = True

    @extend_schema(operation_id="claims_extend", request=ExtendInput, responses=ClaimOutput)
    @once.once
    def post(self, request: Request, claim_id: str) -> Response:
        """Get the task's time once more, once, from inside its area."""
        wanted = once.read(ExtendInput, request)
        claim = claiming.extend(
            claim=_find(request, claim_id),
            worker=auth.worker_of(request),
            latitude=wanted["latitude"],
            longitude=wanted["longitude"],
            now=clock.now(),
        )
        return answer(claim)


class DropView(base.ApiView):
    """Giving a claim up."""

    scopes = auth.WORKER
    is_vital = True

    @extend_schema(operation_id="claims_drop", request=fields.EmptyInput, responses=ClaimOutput)
    @once.once
    def post(self, request: Request, claim_id: str) -> Response:
        """Give a claim up, without penalty."""
        once.read(fields.EmptyInput, request)
        return answer(claiming.drop(claim=_find(request, claim_id), worker=auth.worker_of(request), now=clock.now()))


class ClaimSubmissionsView(base.ApiView):
    """Handing in."""

    scopes = auth.WORKER
    parser_classes = (parsing.FormBody,)

    @extend_schema(operation_id="claims_submit", request={"multipart/form-data": SubmissionForm}, responses={201: shown.SubmissionOutput})
    def post(self, request: Request, claim_id: str) -> HttpResponse:
        """Hand in photos, or a truthful "it can't be done"; after a rejection, the one retake."""
        kept = once.recall(request)
        if kept is not None:
            return kept
        _find(request, claim_id)
        form = _read_form(request)
        # Decoding takes seconds and happens in a child process: before the transaction, and stored by digest, so harmless to repeat.
        files = [evidence.take_in(_bytes_of(file)) for file in form["photo"]]
        return once.answer(request, functools.partial(_hand_in, request, claim_id, form, files))


def _hand_in(request: Request, claim_id: str, form: dict[str, Any], files: list[evidence.TakenIn]) -> Response:
    claim, worker, now = _find(request, claim_id), auth.worker_of(request), clock.now()
    capture = submissions.ReportedCapture(
        latitude=form.get("latitude"),
        longitude=form.get("longitude"),
        accuracy_m=form.get("accuracy_m"),
        captured_at=form.get("captured_at"),
    )
    note = form.get("note", "")
    if form["kind"] == Submission.Kind.NEGATIVE:
        submission = submitting.submit_negative(
            claim=claim, worker=worker, reason=form["negative_reason"], files=files, capture=capture, note=note, now=now
        )
    else:
        submission = submitting.submit(
            claim=claim,
            worker=worker,
            files=files,
            capture=capture,
            note=note,
            reported_original_sha256s=form.get("original_sha256", []),
            now=now,
        )
    response = shown.answer(request, str(submission))
    response.status_code = 201
    return response


def _read_form(request: Request) -> dict[str, Any]:
    form = SubmissionForm(data=request.data)
    form.is_valid(raise_exception=True)
    return dict(form.validated_data)


def _bytes_of(file: "UploadedFile[bytes]") -> bytes:
    if (file.size or 0) > evidence.MAX_BYTES:
        raise evidence.Unreadable("too_many_bytes")
    content = file.read()
    if not isinstance(content, bytes):
        raise exceptions.ParseError("A photo is sent as a file.")
    return content
