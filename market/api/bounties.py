"""/v1/bounties: quote, post, fund, improve, cancel and read an agent's bounties."""

import datetime
from collections.abc import Mapping

from django.conf import settings
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from market.api import auth, base, fields, once, paging, problems, submissions
from market.bounties import cancellation, funding, improving, posting, pricing, queries
from market.bounties.models import Bounty
from tasks import clock
from tasks.kinds import photo

# Fields of the body that make the offer, and those that the API reads itself; all others are the terms'.
_OFFER_FIELDS = {"reward", "deadline", "slots", "negative_fee", "max_negative_outcomes"}
_PLACE_FIELDS = ("latitude", "longitude", "within_m")
MAX_DEADLINE_S = 366 * 24 * 3600


class PlaceInput(fields.Input):
    """Where, in degrees (WGS 84), and how far around it in metres."""

    latitude = fields.Number(min_value=-90, max_value=90)
    longitude = fields.Number(min_value=-180, max_value=180)
    within_m = fields.Whole(min_value=10, max_value=5000)


class BountyInput(fields.Input):
    """What is asked, where, until when and for how much."""

    kind = serializers.ChoiceField(choices=["photo"], default="photo")
    title = fields.Text(min_length=3, max_length=posting.TITLE_LENGTH, required=False)
    question = fields.Text(min_length=10, max_length=500)
    must_show = serializers.ListField(
        child=fields.Text(min_length=3, max_length=120),
        min_length=1,
        max_length=5,
        required=False,
        help_text="Made of the question by default.",
    )
    place = PlaceInput()
    reward = fields.MoneyInput(help_text="Per slot.")
    deadline = fields.Moment(required=False, help_text="Or send deadline_in_s.")
    deadline_in_s = fields.Whole(
        min_value=60,
        max_value=MAX_DEADLINE_S,
        required=False,
        help_text="The deadline in seconds from now, so that a repeated body is the same.",
    )
    slots = fields.Whole(min_value=1, max_value=100, required=False)
    negative_fee = fields.MoneyInput(required=False, help_text='Pay for a truthful "it can\'t be done".')
    max_negative_outcomes = fields.Whole(min_value=1, max_value=pricing.LIMIT_MAX_NEGATIVE_OUTCOMES, required=False)
    poster_review_window_s = fields.Whole(min_value=0, max_value=photo.MAX_POSTER_REVIEW_WINDOW_S, required=False)
    task_time_s = fields.Whole(min_value=60, max_value=7200, required=False)
    min_short_side_px = fields.Whole(min_value=120, max_value=4000, required=False)
    opens_at = fields.Moment(required=False)
    simulate = serializers.ChoiceField(
        choices=["late", "blurred", "wrong_place", "fraud", "no_taker"],
        required=False,
        help_text="Test keys only: what the simulated worker does.",
    )
    fund = fields.Truth(default=True, help_text="false leaves it SCREENED, to be funded later.")

    def validate(self, attrs: dict[str, object]) -> dict[str, object]:
        """Require one of the two ways to say the deadline."""
        if ("deadline" in attrs) == ("deadline_in_s" in attrs):
            raise serializers.ValidationError({"deadline": ["Send deadline or deadline_in_s, one of them."]})
        return attrs


class ImproveInput(fields.Input):
    """A better offer: a higher reward, a later deadline, or both."""

    reward = fields.MoneyInput(required=False)
    deadline = fields.Moment(required=False)


class PolicyOutput(serializers.Serializer[object]):
    """What screening decided, by which version of the rules; codes say what forbids publishing."""

    version = serializers.CharField(allow_blank=True)
    is_allowed = serializers.BooleanField()
    codes = serializers.ListField(child=serializers.CharField())


class HeldOutput(serializers.Serializer[object]):
    """Where the bounty's money is: funded = captured + returned + held."""

    funded = fields.MoneyOutput()
    captured = fields.MoneyOutput()
    returned = fields.MoneyOutput()
    held = fields.MoneyOutput()


class BountyOutput(serializers.Serializer[object]):
    """Task, reward, held funds and deadline."""

    id = fields.id_field("bty")
    object = fields.object_field("bounty")
    mode = serializers.CharField()
    status = serializers.ChoiceField(choices=Bounty.Status.values)
    closed_because = serializers.CharField(allow_blank=True)
    kind = serializers.CharField()
    task = fields.id_field("tsk")
    title = serializers.CharField()
    question = serializers.CharField()
    must_show = serializers.ListField(child=serializers.CharField())
    criteria = fields.CriterionOutput(many=True)
    place = fields.PlaceOutput()
    reward = fields.MoneyOutput(help_text="Per slot.")
    fee = fields.MoneyOutput(help_text="Per slot.")
    negative_fee = fields.MoneyOutput()
    reserve = fields.MoneyOutput(help_text="For truthful negative outcomes.")
    held = HeldOutput()
    slots = serializers.IntegerField()
    opens_at = serializers.DateTimeField()
    deadline = serializers.DateTimeField()
    offer_version = serializers.IntegerField()
    terms_hash = serializers.CharField(allow_blank=True)
    policy = PolicyOutput()
    submissions = submissions.SubmissionSummaryOutput(many=True)
    created_at = serializers.DateTimeField()
    funded_at = serializers.DateTimeField(allow_null=True)
    closed_at = serializers.DateTimeField(allow_null=True)
    url = serializers.CharField()


class QuoteOutput(serializers.Serializer[object]):
    """What a bounty would cost and whether it may be published; nothing was made. All amounts are for all slots."""

    object = fields.object_field("quote")
    price = fields.MoneyOutput(help_text="Rewards.")
    fee = fields.MoneyOutput()
    reserve = fields.MoneyOutput()
    total = fields.MoneyOutput(help_text="What would be held.")
    policy = PolicyOutput()
    criteria = fields.CriterionOutput(many=True)
    is_certified = serializers.BooleanField(help_text="Whether a machine may accept at this price; else a person looks.")
    expected_time_to_claim_s = serializers.IntegerField(allow_null=True)


def bounty_json(story: queries.BountyStory) -> dict[str, object]:
    """Write a bounty as `BountyOutput` shows it to its agent."""
    bounty, offer, totals, task = story.bounty, story.offer, story.totals, story.bounty.task

    def money(amount_minor: int) -> dict[str, str]:
        return fields.money(amount_minor, offer.currency)

    return {
        "id": str(bounty),
        "object": "bounty",
        "mode": bounty.mode,
        "status": bounty.status,
        "closed_because": bounty.closed_because,
        "kind": task.kind,
        "task": str(task),
        "title": task.title,
        "question": story.terms.question,
        "must_show": list(story.terms.must_show),
        "criteria": [criterion._asdict() for criterion in story.criteria],
        "place": {"latitude": task.latitude, "longitude": task.longitude, "within_m": task.within_m},
        "reward": money(offer.reward_minor),
        "fee": money(offer.fee_minor),
        "negative_fee": money(offer.negative_fee_minor),
        "reserve": money(offer.negative_fee_minor * offer.max_negative_outcomes),
        "held": {
            "funded": money(totals.funded_minor),
            "captured": money(totals.captured_minor),
            "returned": money(totals.returned_minor),
            "held": money(totals.held_minor),
        },
        "slots": bounty.slot_count,
        "opens_at": task.opens_at,
        "deadline": offer.deadline,
        "offer_version": offer.version,
        "terms_hash": bounty.terms_hash,
        "policy": {"version": bounty.policy_version, "is_allowed": not bounty.policy_codes, "codes": bounty.policy_codes},
        "submissions": [
            {
                "id": str(each.submission),
                "status": each.submission.status,
                "kind": each.submission.kind,
                "verdict": submissions.verdict_json(each.submission),
            }
            for each in story.submissions
        ],
        "created_at": bounty.created_at,
        "funded_at": bounty.funded_at,
        "closed_at": bounty.closed_at,
        "url": f"{settings.PUBLIC_URL}/v1/bounties/{bounty}",
    }


def quote_json(quote: posting.Quote) -> dict[str, object]:
    """Write a quote as `QuoteOutput` shows it."""
    price = quote.price
    amounts = {
        "price": price.reward_minor * price.slot_count,
        "fee": price.fee_minor * price.slot_count,
        "reserve": price.reserve_minor,
        "total": price.total_minor,
    }
    return {
        "object": "quote",
        **{name: fields.money(amount_minor, price.currency) for name, amount_minor in amounts.items()},
        "policy": {"version": quote.policy.version, "is_allowed": quote.policy.is_allowed, "codes": list(quote.policy.codes)},
        "criteria": [criterion._asdict() for criterion in quote.criteria],
        "is_certified": quote.is_certified,
        "expected_time_to_claim_s": quote.expected_time_to_claim_s,
    }


def split(body: Mapping[str, object], *, now: datetime.datetime) -> tuple[dict[str, object], dict[str, object]]:
    """Part a body that `BountyInput` accepted into the terms' fields and the offer's."""
    offer = {name: value for name, value in body.items() if name in _OFFER_FIELDS}
    seconds = body.get("deadline_in_s")
    if isinstance(seconds, int):
        offer["deadline"] = now + datetime.timedelta(seconds=seconds)
    elsewhere = {*_OFFER_FIELDS, "place", "deadline_in_s", "fund"}
    terms = {name: value for name, value in body.items() if name not in elsewhere}
    place = body["place"]
    assert isinstance(place, Mapping)
    return {**terms, **{name: place[name] for name in _PLACE_FIELDS}}, offer


class BountiesView(base.ApiView):
    """An agent's bounties."""

    scopes = auth.AGENT
    is_vital = True

    @extend_schema(
        operation_id="bounties_list",
        parameters=[
            *paging.page_parameters("bty"),
            OpenApiParameter("status", {"type": "string", "enum": Bounty.Status.values}),
        ],
        responses=paging.list_of("Bounty", BountyOutput),
    )
    def get(self, request: Request) -> Response:
        """List your bounties, the newest first."""
        rows = queries.bounties_of(auth.agent_of(request))
        status = request.query_params.get("status")
        if status:
            if status not in Bounty.Status.values:
                raise problems.BadParameter("status", f"status is one of {', '.join(Bounty.Status.values)}.")
            rows = rows.filter(status=status)
        found, next_cursor = base.page(request, rows, "bty")
        stories = queries.stories_of_bounties(found, now=clock.now())
        return base.listed(BountyOutput, [bounty_json(story) for story in stories], next_cursor)

    @extend_schema(
        operation_id="bounties_post",
        parameters=[OpenApiParameter("dry_run", {"type": "boolean", "default": False}, description="Only say what it would cost.")],
        request=BountyInput,
        responses={
            200: QuoteOutput,
            201: BountyOutput,
        },
    )
    @once.once
    def post(self, request: Request) -> Response:
        """Post a bounty, screen it and hold its money, all or nothing; or, with ``dry_run=true``, only quote it."""
        is_dry_run = truth(request, "dry_run")
        now = clock.now()
        is_funded = once.read(BountyInput, request)["fund"]
        terms, offer = split(once.data_of(request), now=now)
        agent, key = auth.agent_of(request), auth.key_of(request)
        if is_dry_run:
            quote = posting.quote(agent=agent, key=key, terms_input=terms, offer_input=offer, now=now)
            return Response(fields.shown(QuoteOutput, quote_json(quote)))
        bounty = posting.post(agent=agent, key=key, terms_input=terms, offer_input=offer, now=now)
        if bounty.status == Bounty.Status.BLOCKED:
            # Answered, not raised: the blocked bounty and its event stay on record.
            refused = problems.BlockedByPolicy(str(bounty), bounty.policy_codes)
            return problems.respond(refused, problems.TABLE[problems.BlockedByPolicy], request)
        if is_funded:
            bounty = funding.fund(bounty=bounty, key=key, now=now)
        return Response(fields.shown(BountyOutput, bounty_json(queries.story_of_new_bounty(bounty))), status=201)


class BountyView(base.ApiView):
    """One bounty."""

    scopes = auth.AGENT

    @extend_schema(operation_id="bounties_get", responses=BountyOutput)
    def get(self, request: Request, bounty_id: str) -> Response:
        """Read a bounty with its money and submissions."""
        return _answer(_find(request, bounty_id))


class FundView(base.ApiView):
    """Funding of a screened bounty."""

    scopes = auth.AGENT
    is_vital = True

    @extend_schema(operation_id="bounties_fund", request=fields.EmptyInput, responses=BountyOutput)
    @once.once
    def post(self, request: Request, bounty_id: str) -> Response:
        """Hold the money and open the bounty."""
        once.read(fields.EmptyInput, request)
        return _answer(funding.fund(bounty=_find(request, bounty_id), key=auth.key_of(request), now=clock.now()))


class CancelView(base.ApiView):
    """Cancellation."""

    scopes = auth.AGENT
    is_vital = True

    @extend_schema(operation_id="bounties_cancel", request=fields.EmptyInput, responses=BountyOutput)
    @once.once
    def post(self, request: Request, bounty_id: str) -> Response:
        """Stop new claims and refund what is free; live claims and received work are honoured first."""
        once.read(fields.EmptyInput, request)
        return _answer(cancellation.cancel(bounty=_find(request, bounty_id), agent=auth.agent_of(request), now=clock.now()))


class ImproveView(base.ApiView):
    """Better offers."""

    scopes = auth.AGENT
    is_vital = True

    @extend_schema(operation_id="bounties_improve", request=ImproveInput, responses=BountyOutput)
    @once.once
    def post(self, request: Request, bounty_id: str) -> Response:
        """Raise the reward or move the deadline later; an offer never gets worse."""
        wanted = once.read(ImproveInput, request)
        improving.improve(
            bounty=_find(request, bounty_id),
            agent=auth.agent_of(request),
            key=auth.key_of(request),
            reward=wanted.get("reward"),
            deadline=wanted.get("deadline"),
            now=clock.now(),
        )
        return _answer(_find(request, bounty_id))


class BountySubmissionsView(base.ApiView):
    """The submissions to one bounty."""

    scopes = auth.AGENT

    @extend_schema(
        operation_id="bounties_submissions",
        parameters=paging.page_parameters("sub"),
        responses=paging.list_of("Submission", submissions.SubmissionOutput),
    )
    def get(self, request: Request, bounty_id: str) -> Response:
        """List what was handed in, the newest first."""
        bounty = _find(request, bounty_id)
        found, next_cursor = base.page(request, submissions.visible(request).filter(task_id=bounty.task_id), "sub")
        key, now = auth.key_of(request), clock.now()
        rows = [submissions.submission_json(submission, key=key, now=now) for submission in found]
        return base.listed(submissions.SubmissionOutput, rows, next_cursor)


def _find(request: Request, bounty_id: str) -> Bounty:
    return base.find(queries.bounties_of(auth.agent_of(request)), "bty", bounty_id)


def _answer(bounty: Bounty) -> Response:
    return Response(fields.shown(BountyOutput, bounty_json(queries.story_of_bounty(bounty, now=clock.now()))))


def truth(request: Request, name: str) -> bool:
    """Read a parameter that is true or false, and false if it is not sent.

    Raises:
        BadParameter: it is something else.
    """
    text = request.query_params.get(name, "false")
    if text not in ("true", "false"):
        raise problems.BadParameter(name, f"{name} is true or false.")
    return text == "true"
