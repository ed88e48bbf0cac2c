"""Posting: read the terms and the offer, screen them, and write the bounty down. Nothing is held and nothing is listed yet."""

import datetime
import statistics
import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from market.accounts.models import Agent, ApiKey
from market.bounties import news, pricing, rules, spending
from market.bounties.models import Bounty, Offer
from market.common import retrying
from market.common.money import MalformedMoney, Money
from market.policy import countries, places, screening
from tasks import geo, text
from tasks.kinds import photo
from tasks.models import Claim, Mode, Slot, Task
from verification import calibration

TITLE_LENGTH = 80


@dataclass(frozen=True, slots=True)
class FieldError:
    """One thing wrong with what was sent: the field's name, and what to send instead."""

    param: str
    message: str


class BadTerms(ValueError):
    """The terms or the offer can't be read; ``errors`` names each field and what it may be."""

    def __init__(self, errors: list[FieldError]) -> None:
        super().__init__("; ".join(f"{error.param}: {error.message}" for error in errors))
        self.errors = errors


class AgentSuspended(Exception):
    """The agent may not post until an operator lifts the suspension."""


class ForeignKeyUsed(Exception):
    """The API key belongs to another agent or mode."""


class MoneyInput(BaseModel):
    """An amount as JSON writes it."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    amount: str
    currency: str


class OfferInput(BaseModel):
    """The money side of a bounty as an agent sends it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    reward: MoneyInput
    deadline: AwareDatetime
    slots: int = Field(default=1, strict=True, ge=1, le=rules.MAX_SLOTS)
    negative_fee: MoneyInput | None = None
    max_negative_outcomes: int = Field(
        default=pricing.DEFAULT_MAX_NEGATIVE_OUTCOMES, strict=True, ge=1, le=pricing.LIMIT_MAX_NEGATIVE_OUTCOMES
    )


@dataclass(frozen=True, slots=True)
class PolicyDecision:
    """Whether a bounty may be published, the codes that forbid it, and the version of the rules."""

    is_allowed: bool
    codes: tuple[str, ...]
    version: str
    country: str


@dataclass(frozen=True, slots=True)
class Quote:
    """What a dry run answers. Money in minor units, times in seconds."""

    terms: photo.PhotoTerms
    criteria: list[photo.Criterion]
    price: pricing.Price
    policy: PolicyDecision
    # Whether a machine may accept at this price, or a person looks at each submission.
    is_certified: bool
    # The median from listing to first claim near this place lately; None where nothing was claimed there.
    expected_time_to_claim_s: int | None


@dataclass(frozen=True, slots=True)
class _Draft:
    title: str
    terms: photo.PhotoTerms
    deadline: datetime.datetime
    price: pricing.Price
    policy: PolicyDecision


def quote(
    *, agent: Agent, key: ApiKey, terms_input: Mapping[str, object], offer_input: Mapping[str, object], now: datetime.datetime
) -> Quote:
    """Say what a bounty would cost and whether it may be published; nothing is written.

    Raises:
        BadTerms: a field is missing, unknown, malformed or out of its limits.
        AgentSuspended: the agent may not post.
        ForeignKeyUsed: the key is another agent's.
        market.policy.mandates.SpendLimitExceeded: over a limit of the key.
    """
    draft = _draft(agent=agent, key=key, terms_input=terms_input, offer_input=offer_input, now=now)
    spending.check(key=key, bounty=None, amount_minor=draft.price.total_minor, currency=draft.price.currency, now=now)
    return Quote(
        terms=draft.terms,
        criteria=photo.criteria(draft.terms),
        price=draft.price,
        policy=draft.policy,
        is_certified=calibration.thresholds_for(draft.terms.max_false_accept) is not None,
        expected_time_to_claim_s=_expected_time_to_claim_s(draft.terms, agent.mode, now),
    )


def post(
    *, agent: Agent, key: ApiKey, terms_input: Mapping[str, object], offer_input: Mapping[str, object], now: datetime.datetime
) -> Bounty:
    """Write a bounty down and screen it: it comes back SCREENED, to be funded, or BLOCKED with the policy's codes.

    ``terms_input`` holds the fields of `tasks.kinds.photo.PhotoTerms` that a poster may set, and ``title``;
    ``offer_input`` those of `OfferInput`. The window closes at the offer's deadline.

    Raises:
        BadTerms: a field is missing, unknown, malformed or out of its limits.
        AgentSuspended: the agent may not post.
        ForeignKeyUsed: the key is another agent's.
    """
    draft = _draft(agent=agent, key=key, terms_input=terms_input, offer_input=offer_input, now=now)
    with retrying.part():
        bounty = _write(agent, key, draft, now)
        status = Bounty.Status.SCREENED if draft.policy.is_allowed else Bounty.Status.BLOCKED
        Bounty.objects.filter(pk=bounty.pk, status=Bounty.Status.DRAFT).update(status=status)
        bounty.status = status
        word = "screened" if draft.policy.is_allowed else "blocked"
        news.tell_of_bounty(bounty, type=f"bounty.{word}", actor="agent", policy_codes=list(draft.policy.codes))
    return bounty


def _draft(
    *, agent: Agent, key: ApiKey, terms_input: Mapping[str, object], offer_input: Mapping[str, object], now: datetime.datetime
) -> _Draft:
    if agent.is_suspended:
        raise AgentSuspended(f"{agent} is suspended: it can't post until an operator lifts it.")
    if key.agent_id != agent.pk or key.mode != agent.mode:
        raise ForeignKeyUsed(f"{key} is not a key of {agent}.")
    offer = _read_offer(offer_input, now)
    price = _price(offer)
    title, terms = _read_terms(terms_input, offer, agent.mode, now)
    policy = screen(title, terms)
    return _Draft(title, terms, offer.deadline, price, policy)


def _read_offer(offer_input: Mapping[str, object], now: datetime.datetime) -> OfferInput:
    try:
        offer = OfferInput.model_validate(dict(offer_input))
    except ValidationError as error:
        raise BadTerms(_field_errors(error)) from error
    if not now + datetime.timedelta(seconds=60) <= offer.deadline <= now + rules.MAX_LIFE:
        raise BadTerms([FieldError("deadline", f"must be from 1 minute to {rules.MAX_LIFE.days} days from now")])
    return offer


def _price(offer: OfferInput) -> pricing.Price:
    try:
        reward = _money("reward", offer.reward)
        negative_fee = _money("negative_fee", offer.negative_fee) if offer.negative_fee else None
        return pricing.price(
            reward=reward, slot_count=offer.slots, negative_fee=negative_fee, max_negative_outcomes=offer.max_negative_outcomes
        )
    except pricing.BadOffer as error:
        raise BadTerms([FieldError(error.param, str(error))]) from error


def _money(param: str, given: MoneyInput) -> Money:
    try:
        return Money.parse(given.amount, given.currency)
    except MalformedMoney as error:
        raise BadTerms([FieldError(param, str(error))]) from error


def _read_terms(terms_input: Mapping[str, object], offer: OfferInput, mode: str, now: datetime.datetime) -> tuple[str, photo.PhotoTerms]:
    refused = sorted({"max_false_accept", "closes_at", "version"} & set(terms_input))
    if refused:
        raise BadTerms([FieldError(name, "is set by the market; leave it out") for name in refused])
    given = {
        "opens_at": now,
        **{name: value for name, value in terms_input.items() if name != "title"},
        "closes_at": offer.deadline,
        "max_false_accept": pricing.max_false_accept(_money("reward", offer.reward)),
    }
    try:
        terms = photo.PhotoTerms.model_validate(given)
        title = _read_title(terms_input.get("title"), terms)
    except ValidationError as error:
        raise BadTerms(_field_errors(error)) from error
    except text.ForbiddenCharacter as error:
        raise BadTerms([FieldError("title", str(error))]) from error
    if terms.simulate is not None and mode != Mode.TEST:
        raise BadTerms([FieldError("simulate", "works in test mode only")])
    if terms.opens_at < now - datetime.timedelta(minutes=5):
        raise BadTerms([FieldError("opens_at", "lies in the past")])
    return title, terms


def _read_title(given: object, terms: photo.PhotoTerms) -> str:
    if given is None:
        return terms.question if len(terms.question) <= TITLE_LENGTH else terms.question[: TITLE_LENGTH - 1].rstrip() + "…"
    if not isinstance(given, str) or not 3 <= len(given.strip()) <= TITLE_LENGTH:
        raise BadTerms([FieldError("title", f"must be text of 3 to {TITLE_LENGTH} characters")])
    return text.require_plain(given)


def _field_errors(error: ValidationError) -> list[FieldError]:
    # Neither what was sent nor pydantic's links come back: an answer repeats no foreign bytes.
    found = error.errors(include_url=False, include_input=False, include_context=False)
    return [FieldError(".".join(map(str, each["loc"])) or "terms", each["msg"].removeprefix("Value error, ")) for each in found]


def screen(title: str, terms: photo.PhotoTerms) -> PolicyDecision:
    """Ask every rule set in force whether a bounty with these words at this place may be published."""
    words = screening.screen(text_fields=[title, terms.question, *terms.must_show])
    country = places.country_at(terms.latitude, terms.longitude)
    land = countries.decide(country, "task")
    restricted = places.restricted_near(terms.latitude, terms.longitude, terms.within_m)
    codes = sorted({*words.codes, *land.codes, *([restricted] if restricted else [])})
    return PolicyDecision(is_allowed=not codes, codes=tuple(codes), version=policy_version(), country=country or "")


def policy_version() -> str:
    """Return the versions of the rule sets in force."""
    return f"screening {screening.version()}, countries {countries.VERSION}, places {places.restricted_version()}"


def _write(agent: Agent, key: ApiKey, draft: _Draft, now: datetime.datetime) -> Bounty:
    terms, price = draft.terms, draft.price
    task = Task.objects.create(
        mode=agent.mode,
        kind=terms.kind,
        owner_id=agent.owner_id,
        title=draft.title,
        terms=terms.model_dump(mode="json"),
        latitude=terms.latitude,
        longitude=terms.longitude,
        within_m=terms.within_m,
        country=draft.policy.country,
        h3_cell=geo.listing_cell(terms.latitude, terms.longitude),
        opens_at=terms.opens_at,
        closes_at=terms.closes_at,
        task_time_s=terms.task_time_s,
        created_at=now,
    )
    Slot.objects.bulk_create([Slot(task=task, number=number) for number in range(1, price.slot_count + 1)])
    bounty = Bounty.objects.create(
        agent=agent,
        posted_with=key,
        mode=agent.mode,
        task=task,
        slot_count=price.slot_count,
        policy_version=draft.policy.version,
        policy_codes=list(draft.policy.codes),
        created_at=now,
    )
    Offer.objects.create(
        bounty=bounty,
        version=1,
        currency=price.currency,
        reward_minor=price.reward_minor,
        fee_minor=price.fee_minor,
        negative_fee_minor=price.negative_fee_minor,
        max_negative_outcomes=price.max_negative_outcomes,
        deadline=draft.deadline,
        created_at=now,
    )
    return bounty


def _expected_time_to_claim_s(terms: photo.PhotoTerms, mode: str, now: datetime.datetime) -> int | None:
    cells = geo.cells_near(terms.latitude, terms.longitude, rules.QUOTE_RADIUS_M)
    near = Bounty.objects.filter(mode=mode, task__h3_cell__in=cells, funded_at__gt=now - rules.QUOTE_PAST)
    recent = near.order_by("-funded_at").values_list("task_id", "funded_at")[:200]
    listed = {task_id: funded_at for task_id, funded_at in recent if funded_at is not None}
    first: dict[uuid.UUID, datetime.datetime] = {}
    for task_id, claimed_at in Claim.objects.filter(task_id__in=listed).order_by("created_at").values_list("task_id", "created_at"):
        first.setdefault(task_id, claimed_at)
    waits = [(claimed_at - listed[task_id]).total_seconds() for task_id, claimed_at in first.items()]
    return max(0, round(statistics.median(waits))) if waits else None
