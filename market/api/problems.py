"""From exception to answer: one table of every refusal the API gives, as RFC 9457 problem documents."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from django.conf import settings
from django.core import exceptions as django_exceptions
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.views import defaults
from rest_framework import exceptions, status
from rest_framework.request import Request
from rest_framework.response import Response

from market.accounts import idempotency, keys, media_links
from market.api import parsing
from market.bounties import cancellation, claiming, disputes, funding, improving, locks, posting, pricing, reviewing, spending, submitting
from market.bounties.research import challenging, entering, reserving, staking
from market.common import money
from market.escrow import holds, stakes
from market.events import delivery, egress
from market.payments import deposits, payouts
from market.payments.providers import base as providers
from market.payments.providers import registry
from market.policy import mandates
from tasks import claims, evidence, ids, leases, submissions
from verification import readings, verdicts, vision_runs
from verification.replay import fields as replay_fields
from verification.research import alpha, appeals, candidates, files, hosts, ideas, runs, trusted
from verification.research import posting as research_posting
from verification.research import readings as trusted_readings

CONTENT_TYPE = "application/problem+json"
PREFIX = "/v1/"


class NoSuchRoute(Exception):
    """There is nothing at this address."""


class WrongScope(Exception):
    """The key's scope does not cover this request."""


class NotAWorker(Exception):
    """The key's user has no worker's profile of its mode."""


class KeyNotTrusted(Exception):
    """The machine behind this lease key may not see sealed originals, hold-out data or audits."""


class BlockedByPolicy(Exception):
    """The market does not publish this bounty; ``codes`` say why."""

    def __init__(self, name: str, codes: list[str]) -> None:
        super().__init__(f"{name} was not published: {', '.join(codes)}.")
        self.codes = codes


class NotYours(Exception):
    """There is no such object among those the key may see."""


class NoReceiptYet(Exception):
    """The submission has no receipt: it is not settled, or nothing was accepted."""


class LeaseEnded(Exception):
    """The lease that this address was made for has ended, or the address is another key's."""


class Overloaded(Exception):
    """Every thread that is not kept for money is taken."""


class NoViewer(Exception):
    """Media was asked for by nobody: neither a key nor a session."""


class MissingIdempotencyKey(Exception):
    """A POST came without Idempotency-Key."""


class MalformedIdempotencyKey(Exception):
    """The Idempotency-Key is not 1 to 120 visible ASCII characters."""


class BadParameter(ValueError):
    """A parameter of the address or form can't be read; ``param`` names it."""

    def __init__(self, param: str, message: str) -> None:
        super().__init__(message)
        self.param = param


@dataclass(frozen=True, slots=True)
class Refusal:
    """How one exception is answered. ``next_step`` tells a program what to do."""

    status: int
    code: str
    next_step: str
    is_retryable: bool = False
    # Seconds, sent as Retry-After.
    retry_after_s: int | None = None


FIX = "Correct the named parameter and send the request again."
LOOK = "Get the object again and act on what it is now."

_NOT_FOUND = Refusal(404, "not_found", "Check the id; objects of other accounts are not shown.")
_INVALID = Refusal(422, "invalid_parameter", FIX)
_NO_KEY = Refusal(401, "api_key_missing", "Send your API key: Authorization: Bearer test_agent_...")
_BAD_KEY = Refusal(401, "api_key_refused", "Use a valid key; this one is unknown or revoked.")
_WRONG_SCOPE = Refusal(403, "wrong_scope", "Use a key whose scope covers this request.")
_NOTHING_HERE = Refusal(404, "no_such_route", "See the routes at /v1/schema.")

TABLE: dict[type[Exception], Refusal] = {
    # Reading the request.
    exceptions.ParseError: Refusal(400, "malformed_body", "Send the body as the schema at /v1/schema describes it."),
    parsing.BodyTooLarge: Refusal(413, "body_too_large", "Send a smaller body."),
    exceptions.UnsupportedMediaType: Refusal(415, "unsupported_media_type", "Send application/json, or multipart/form-data with files."),
    exceptions.MethodNotAllowed: Refusal(405, "method_not_allowed", "Use a method that the Allow header names."),
    exceptions.NotAcceptable: Refusal(406, "not_acceptable", "Accept application/json."),
    exceptions.ValidationError: _INVALID,
    BadParameter: _INVALID,
    money.MalformedMoney: _INVALID,
    posting.BadTerms: _INVALID,
    pricing.BadOffer: _INVALID,
    submissions.BadSubmission: _INVALID,
    reviewing.UnknownCriterion: Refusal(422, "unknown_criterion", "Reject by one of the bounty's published criteria."),
    readings.MalformedReadings: Refusal(422, "malformed_readings", "Send readings of the published shape."),
    replay_fields.Malformed: _INVALID,
    research_posting.OtherBase: _INVALID,
    research_posting.MissingData: Refusal(422, "missing_data", "Hand these files in with POST /v1/research/files, then post again."),
    candidates.GateRefused: Refusal(422, "candidate_refused", "Mend what each of the errors names, and send the candidate again."),
    candidates.UnknownParent: Refusal(422, "unknown_parent", "Get the tip with GET /v1/research/{id}/tip and make the candidate on it."),
    candidates.MalformedSeal: _INVALID,
    files.TooLarge: Refusal(413, "body_too_large", "Send a smaller body."),
    files.EmptyFile: _INVALID,
    hosts.MalformedFacts: _INVALID,
    ideas.EmptyIdea: _INVALID,
    runs.MalformedSeal: _INVALID,
    runs.NotWanted: Refusal(422, "checkpoint_not_wanted", "Send the checkpoints that the answer to the report asked for."),
    trusted_readings.MalformedReadings: Refusal(422, "malformed_readings", "Send readings of the published shape."),
    evidence.Unreadable: Refusal(422, "unreadable_photo", "Do what the detail says and send the photo again."),
    evidence.IntakeBusy: Refusal(503, "intake_busy", "Send the same request again in some seconds.", True, 5),
    MissingIdempotencyKey: Refusal(400, "idempotency_key_missing", "Send an Idempotency-Key header: one new value per logical request."),
    MalformedIdempotencyKey: Refusal(400, "idempotency_key_malformed", "Send 1 to 120 visible ASCII characters, e.g. a UUID."),
    idempotency.KeyReused: Refusal(409, "idempotency_key_reused", "Use a new Idempotency-Key for a new request."),
    idempotency.StillRunning: Refusal(409, "idempotency_key_in_use", "Send the same request again in a second.", True, 1),
    # Who asks.
    exceptions.NotAuthenticated: _NO_KEY,
    NoViewer: _NO_KEY,
    exceptions.AuthenticationFailed: _BAD_KEY,
    keys.KeyRefused: _BAD_KEY,
    spending.KeyRevoked: _BAD_KEY,
    exceptions.PermissionDenied: _WRONG_SCOPE,
    WrongScope: _WRONG_SCOPE,
    posting.ForeignKeyUsed: _WRONG_SCOPE,
    NotAWorker: Refusal(403, "not_a_worker", "Open a worker's account on the pages first."),
    KeyNotTrusted: Refusal(403, "lease_key_not_trusted", "Ask the operator to trust this machine; strangers' machines see no photos."),
    entering.WorkerSuspended: Refusal(403, "worker_suspended", "Ask an operator to lift the suspension."),
    entering.NotYours: _WRONG_SCOPE,
    runs.HostSuspended: Refusal(403, "host_suspended", "Find out why its results were invalid (GET /v1/replays), then ask an operator."),
    posting.AgentSuspended: Refusal(403, "agent_suspended", "Ask an operator to lift the suspension."),
    claims.WorkerSuspended: Refusal(403, "worker_suspended", "Ask an operator to lift the suspension."),
    claiming.ResidenceNotServed: Refusal(403, "residence_not_served", "The market can't serve your country."),
    media_links.BadLink: Refusal(403, "link_ended", "Get the submission again: it has a fresh link for you."),
    exceptions.Throttled: Refusal(429, "rate_limited", "Wait as long as Retry-After says.", True),
    Overloaded: Refusal(503, "overloaded", "Send the same request again in a second.", True, 1),
    # What is not there.
    exceptions.NotFound: _NOT_FOUND,
    Http404: _NOT_FOUND,
    NotYours: _NOT_FOUND,
    ids.MalformedId: _NOT_FOUND,
    locks.NoBounty: _NOT_FOUND,
    claims.NoClaim: _NOT_FOUND,
    submissions.NoSubmission: _NOT_FOUND,
    vision_runs.NoRun: _NOT_FOUND,
    runs.NoRun: _NOT_FOUND,
    trusted.NoJob: _NOT_FOUND,
    hosts.NoHost: _NOT_FOUND,
    NoReceiptYet: Refusal(404, "no_receipt", "Wait until the submission is accepted and paid."),
    LeaseEnded: Refusal(404, "lease_ended", "Lease again: every lease brings its own addresses."),
    NoSuchRoute: _NOTHING_HERE,
    # Money and policy.
    holds.InsufficientFunds: Refusal(402, "insufficient_funds", "Add money with POST /v1/deposits, or post for less; then use a new key."),
    mandates.SpendLimitExceeded: Refusal(402, "spend_limit_exceeded", "Post for less, or ask the owner to raise this API key's limit."),
    BlockedByPolicy: Refusal(422, "blocked_by_policy", "Change what the policy codes name, and post a new bounty."),
    deposits.NotDepositable: _INVALID,
    deposits.RequestReused: Refusal(409, "idempotency_key_reused", "Use a new Idempotency-Key for a new request."),
    payouts.RequestReused: Refusal(409, "idempotency_key_reused", "Use a new Idempotency-Key for a new request."),
    payouts.NothingPayable: Refusal(409, "nothing_payable", "Read /v1/balance and ask for what is payable."),
    payouts.PayoutDenied: Refusal(403, "payout_denied", "Policy forbids it; see policy_codes."),
    providers.UnknownCounterpart: Refusal(422, "unknown_counterpart", FIX),
    registry.LiveMoneyUnavailable: Refusal(501, "live_money_unavailable", "Use a test key."),
    # The state of things.
    funding.NotFundable: Refusal(409, "not_fundable", LOOK),
    cancellation.NotCancellable: Refusal(409, "not_cancellable", LOOK),
    improving.NotImprovable: Refusal(409, "not_improvable", "Improve an open bounty only, and only upwards."),
    claims.AlreadyClaimed: Refusal(409, "claimed_before", "Take another task: one slot a person."),
    claims.AllTaken: Refusal(409, "already_claimed", "Every slot is taken; take another task, or look again later."),
    claims.NotListed: Refusal(409, "not_listed", "Take another task."),
    claims.OwnTask: Refusal(409, "own_task", "Take another task: nobody works for himself."),
    claims.TooManyOpenClaims: Refusal(409, "too_many_open_claims", "Finish or drop a claim first."),
    claims.TriedTooOften: Refusal(409, "tried_too_often", "Take another task."),
    claims.NotInside: Refusal(409, "not_inside", "Go to the place first."),
    claims.AlreadyExtended: Refusal(409, "already_extended", "Hand in before the claim expires."),
    claims.StaleClaim: Refusal(409, "stale_claim", LOOK),
    submitting.NoRetake: Refusal(409, "no_retake", LOOK),
    submissions.StaleSubmission: Refusal(409, "stale_submission", LOOK),
    reviewing.NotForPoster: Refusal(409, "not_for_poster", LOOK),
    disputes.NotAppealable: Refusal(409, "not_appealable", LOOK),
    verdicts.AlreadyDecided: Refusal(409, "already_decided", LOOK),
    leases.StaleLease: Refusal(409, "stale_lease", "Drop this result and lease again."),
    # Research bounties. What time or other people's candidates may change is not kept under its Idempotency-Key.
    entering.NotOpen: Refusal(409, "not_open", "Take another research bounty."),
    entering.OwnBounty: Refusal(409, "own_task", "Take another research bounty: nobody works for himself."),
    reserving.BudgetSpent: Refusal(409, "budget_reserved", "Send it again when a candidate under way is decided.", True, 300),
    candidates.NotListed: Refusal(409, "not_open", "Take another research bounty."),
    candidates.OwnTask: Refusal(409, "own_task", "Take another research bounty: nobody works for himself."),
    candidates.DuplicateTree: Refusal(409, "duplicate_tree", "Send another change: the first to send a tree is judged for it."),
    candidates.AnnouncedBefore: Refusal(409, "announced_before", "Send what you announced, or wait for its end.", True, 1800),
    candidates.NotAnnounced: Refusal(409, "not_announced", "Announce it again, or send it without an announcement."),
    appeals.NotAppealable: Refusal(409, "not_appealable", LOOK),
    appeals.AppealsSpent: Refusal(409, "appeals_spent", "Wait until your earlier appeals are decided, or older.", True, 3600),
    alpha.AlphaSpent: Refusal(409, "tries_spent", "Wait until a candidate of yours is accepted, or take another bounty.", True, 3600),
    challenging.NotChallengeable: Refusal(409, "not_challengeable", LOOK),
    challenging.OwnCandidate: Refusal(409, "own_candidate", "Challenge a candidate that you neither made, posted nor replayed."),
    files.TooManyFiles: Refusal(409, "too_many_files", "Use the files that you handed in before."),
    hosts.TooManyHosts: Refusal(409, "too_many_hosts", "Register it under the name of one of your machines."),
    ideas.TooManyIdeas: Refusal(409, "too_many_ideas", "Say what came of one of yours first, with POST /v1/ideas/{id}/finish.", True, 300),
    ideas.NotOpen: Refusal(409, "idea_not_open", "Take another idea."),
    ideas.NotHolder: Refusal(409, "idea_not_held", "Hold the idea first."),
    runs.OtherSeal: Refusal(409, "sealed_otherwise", "Reveal the report that was sealed first."),
    runs.NotSealed: Refusal(409, "not_sealed", LOOK),
    runs.RevealTooEarly: Refusal(409, "reveal_too_early", "Send the report again when the others have sealed theirs.", True),
    runs.OtherCheckpoint: Refusal(409, "other_checkpoint", "The first file that was handed in stands."),
    runs.CheckpointsMissing: Refusal(409, "checkpoints_missing", "Hand in the checkpoints that were asked for, then finish."),
    staking.StakeInUse: Refusal(409, "stake_in_use", "Ask again when your trainings are final.", True, 3600),
    stakes.NothingStaked: Refusal(409, "nothing_staked", "There is nothing to take out."),
    # Webhooks.
    egress.RefusedUrl: Refusal(422, "refused_url", "Register the https URL of a public host, on port 443 or 8443."),
    egress.RefusedAddress: Refusal(422, "refused_url", "Register the https URL of a public host, on port 443 or 8443."),
    delivery.TooManyEndpoints: Refusal(409, "too_many_endpoints", "Delete an endpoint first."),
    delivery.NotResendable: Refusal(409, "not_resendable", LOOK),
}


def refusal_for(error: Exception) -> Refusal | None:
    """Return how an exception is answered, by the nearest class in `TABLE`; None for one that is a fault of ours."""
    for kind in type(error).__mro__:
        found = TABLE.get(kind)
        if found is not None:
            return found
    return None


def document(
    refusal: Refusal, *, detail: str, request_id: str, param: str = "", more: Mapping[str, object] | None = None
) -> dict[str, object]:
    """Write a problem document; every answer that is not a success looks like this."""
    docs_url = f"{settings.PUBLIC_URL}{PREFIX}errors#{refusal.code}"
    return {
        "type": docs_url,
        "title": refusal.code.replace("_", " ").capitalize(),
        "status": refusal.status,
        "code": refusal.code,
        "detail": detail,
        "param": param,
        "next_step": refusal.next_step,
        "retryable": refusal.is_retryable,
        "request_id": request_id,
        "docs_url": docs_url,
        **(more or {}),
    }


def respond(error: Exception, refusal: Refusal, request: Request | HttpRequest) -> Response:
    """Answer an exception with its problem document."""
    errors = _errors_of(error)
    detail = errors[0]["detail"] if errors else _sentence(str(error))
    more: dict[str, object] = {"errors": errors} if errors else {}
    codes = getattr(error, "codes", None)
    if codes is not None:
        more["policy_codes"] = list(codes)
    body = document(
        refusal,
        detail=detail,
        request_id=request_id_of(request),
        param=errors[0]["param"] if errors else str(getattr(error, "param", "")),
        more=more,
    )
    return Response(body, status=refusal.status, headers=_headers_of(error, refusal), content_type=CONTENT_TYPE)


def handle(error: Exception, context: Mapping[str, object]) -> Response | None:
    """Answer what a view raised (DRF's EXCEPTION_HANDLER); a fault of ours goes on to `handler500`."""
    if isinstance(error, django_exceptions.PermissionDenied):
        error = exceptions.PermissionDenied()
    refusal = refusal_for(error)
    request = context["request"]
    assert isinstance(request, Request)
    return None if refusal is None else respond(error, refusal, request)


def request_id_of(request: Request | HttpRequest) -> str:
    """Return the id that the middleware gave the request; it is also in X-Request-Id."""
    return str(getattr(request, "request_id", ""))


def _sentence(text: str) -> str:
    return text or "The request was refused."


def _errors_of(error: Exception) -> list[dict[str, str]]:
    """List every wrong parameter, as ``{"param", "detail"}``, for exceptions that know more than one."""
    if isinstance(error, exceptions.ValidationError):
        return _flatten(error.detail)
    if isinstance(error, candidates.GateRefused):
        return [{"param": f"files.{each.path}", "detail": f"{each.code}: {each.detail}"} for each in error.refusals]
    found = getattr(error, "errors", None)
    if not isinstance(found, list):
        return []
    return [{"param": each.param, "detail": f"{each.param}: {each.message}"} for each in found]


def _flatten(detail: object, path: str = "") -> list[dict[str, str]]:
    if isinstance(detail, dict):
        return [each for name, part in detail.items() for each in _flatten(part, f"{path}.{name}" if path else str(name))]
    if isinstance(detail, list):
        if all(isinstance(part, str) for part in detail):
            name = path.removesuffix(".non_field_errors").removeprefix("non_field_errors")
            return [{"param": name, "detail": f"{name}: {part}" if name else str(part)} for part in detail]
        return [each for place, part in enumerate(detail) if part for each in _flatten(part, f"{path}.{place}")]
    return [{"param": path, "detail": str(detail)}]


def _headers_of(error: Exception, refusal: Refusal) -> dict[str, str]:
    headers = {}
    wait = getattr(error, "wait", None) or getattr(error, "retry_after_s", None)
    retry_after_s = math.ceil(wait) if isinstance(wait, int | float) else refusal.retry_after_s
    if retry_after_s is not None:
        headers["Retry-After"] = str(max(1, retry_after_s))
    if refusal.status == status.HTTP_401_UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    return headers


def refuse(request: HttpRequest, error: Exception) -> HttpResponse:
    """Answer a request that is refused before any view sees it; a page's visitor reads one plain line."""
    refusal = refusal_for(error)
    assert refusal is not None
    is_api = request.path.startswith(PREFIX)
    response = (
        _plain(request, refusal, str(error)) if is_api else HttpResponse(str(error), status=refusal.status, content_type="text/plain")
    )
    for header, value in _headers_of(error, refusal).items():
        response.headers[header] = value
    # Whoever sets it otherwise is further inside.
    response.headers["Content-Length"] = str(len(response.content))
    return response


# -- What Django answers before or beside a view --------------------------------------------------------------------

_BAD_REQUEST = Refusal(400, "malformed_request", "Send a well-formed HTTP request.")
_FORBIDDEN = Refusal(403, "forbidden", "Use a key whose scope covers this request.")
_FAULT = Refusal(
    500, "internal_error", "Send the same request with the same Idempotency-Key again; if it persists, report the request id.", True
)


def every_refusal() -> list[Refusal]:
    """Return every refusal there is, for the description of the API."""
    return [*TABLE.values(), _BAD_REQUEST, _FORBIDDEN, _FAULT]


def every_meaning() -> list[tuple[Refusal, str]]:
    """Return each code once, by status, with what it means in words."""
    found: dict[str, tuple[Refusal, str]] = {}
    for kind, refusal in TABLE.items():
        found.setdefault(refusal.code, (refusal, (kind.__doc__ or refusal.code).strip().splitlines()[0]))
    found["malformed_request"] = (_BAD_REQUEST, "The request is not well-formed HTTP.")
    found["forbidden"] = (_FORBIDDEN, "The request was refused.")
    found["internal_error"] = (_FAULT, "The market failed to handle the request.")
    return sorted(found.values(), key=lambda row: (row[0].status, row[0].code))


def _plain(request: HttpRequest, refusal: Refusal, detail: str) -> JsonResponse:
    body = document(refusal, detail=detail, request_id=request_id_of(request))
    return JsonResponse(body, status=refusal.status, content_type=CONTENT_TYPE)


def handle_400(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer a request that Django could not read."""
    if not request.path.startswith(PREFIX):
        return defaults.bad_request(request, exception)
    return _plain(request, _BAD_REQUEST, "The request is malformed.")


def handle_403(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer a request that Django refused."""
    if not request.path.startswith(PREFIX):
        return defaults.permission_denied(request, exception)
    return _plain(request, _FORBIDDEN, "The request was refused.")


def handle_404(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer an address that leads nowhere."""
    if not request.path.startswith(PREFIX):
        return defaults.page_not_found(request, exception)
    return _plain(request, _NOTHING_HERE, "There is nothing at this address.")


def handle_500(request: HttpRequest) -> HttpResponse:
    """Answer a fault of ours; what it was stands in the log under the request id."""
    if not request.path.startswith(PREFIX):
        return defaults.server_error(request)
    return _plain(request, _FAULT, "The market failed to handle this request.")
