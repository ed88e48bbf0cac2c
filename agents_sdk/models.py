"""What the market answers, as frozen typed objects. Unknown fields are dropped; words of strangers live in ``untrusted`` alone."""

import datetime
import decimal
import re
from typing import Annotated, Generic, TypeVar

import pydantic
from pydantic import JsonValue

from agents_sdk import untrusted as untrusted_words


def _nothing_is_empty(value: object) -> object:
    return "" if value is None else value


# Enums, ids and names: nothing in which a sentence fits, so that no field but `untrusted` can carry one.
Code = Annotated[str, pydantic.StringConstraints(pattern=r"^[A-Za-z0-9_.:+-]{1,80}$")]
CodeOrEmpty = Annotated[str, pydantic.StringConstraints(pattern=r"^[A-Za-z0-9_.:+-]{0,80}$"), pydantic.BeforeValidator(_nothing_is_empty)]
Digest = Annotated[str, pydantic.StringConstraints(pattern=r"^[0-9a-f]{64}$")]
DigestOrEmpty = Annotated[str, pydantic.StringConstraints(pattern=r"^([0-9a-f]{64})?$"), pydantic.BeforeValidator(_nothing_is_empty)]
AmountText = Annotated[str, pydantic.StringConstraints(pattern=r"^-?[0-9]{1,17}(\.[0-9]{1,6})?$")]
Address = Annotated[str, pydantic.StringConstraints(pattern=r"^[!-~]{0,2000}$"), pydantic.BeforeValidator(_nothing_is_empty)]
# The poster's and the market's own words.
Words = Annotated[str, pydantic.BeforeValidator(_nothing_is_empty), pydantic.AfterValidator(untrusted_words.clean)]

M = TypeVar("M", bound=pydantic.BaseModel)

FINISHED = frozenset({"SETTLED", "CANCELLED", "EXPIRED", "BLOCKED"})
JUDGED = frozenset({"ACCEPTED", "REJECTED", "INCONCLUSIVE", "APPEALED"})


class Model(pydantic.BaseModel):
    """Base of all answers."""

    model_config = pydantic.ConfigDict(frozen=True, extra="ignore")


class Money(Model):
    """An amount of one currency, as exact decimal text."""

    amount: AmountText
    currency: Code

    @property
    def value(self) -> decimal.Decimal:
        """The amount as a decimal number."""
        return decimal.Decimal(self.amount)

    def __str__(self) -> str:
        return f"{self.amount} {self.currency}"


class Place(Model):
    """A point on Earth in degrees (WGS 84), and in metres how far around it counts or how exact it is."""

    latitude: float
    longitude: float
    within_m: int | None = None
    accuracy_m: float | None = None


class Criterion(Model):
    """One published criterion: a rejection names one of these and nothing else."""

    code: Code
    text: Words


class Policy(Model):
    """What screening decided, by which version of the rules and why."""

    version: Words = ""
    is_allowed: bool | None = None
    codes: tuple[Code, ...] = ()


class CriterionResult(Model):
    """What the verdict says of one criterion: PASS, FAIL, INCONCLUSIVE or NOT_APPLICABLE."""

    criterion: Code
    outcome: Code
    reason_code: CodeOrEmpty = ""


class Verdict(Model):
    """ACCEPTED, REJECTED or INCONCLUSIVE; by the machine, a reviewer, the poster, the poster's silence, an appeal or the clock."""

    outcome: Code
    decided_by: CodeOrEmpty = ""
    criteria: tuple[CriterionResult, ...] = ()

    def __str__(self) -> str:
        return self.outcome


class Check(Model):
    """One execution of one check."""

    name: Code = pydantic.Field(validation_alias=pydantic.AliasChoices("name", "check_name"))
    version: int = pydantic.Field(default=0, validation_alias=pydantic.AliasChoices("version", "check_version"))
    criterion: CodeOrEmpty = ""
    outcome: Code
    reason_code: CodeOrEmpty = ""
    score: float | None = None

    def __repr__(self) -> str:
        about = f" {self.criterion}" if self.criterion and self.criterion != self.name else ""
        return f"<{self.name}{about}: {self.outcome}>"


class Evidence(Model):
    """One file of a submission. Its address ends soon; download it through `Answer.photos`."""

    id: Code
    # Of the sealed original, and of the re-encoded copy that posters and people see.
    sha256: Digest
    display_sha256: DigestOrEmpty = ""
    width_px: int
    height_px: int
    url: Address = pydantic.Field(default="", repr=False)
    is_preview: bool = pydantic.Field(default=False, validation_alias=pydantic.AliasChoices("is_preview", "preview"))


class Times(Model):
    """When it happened; ``captured_at`` is what the worker's phone reported."""

    claimed_at: datetime.datetime | None = None
    captured_at: datetime.datetime | None = None
    received_at: datetime.datetime | None = None
    decided_at: datetime.datetime | None = None


class Appeal(Model):
    """Until when a rejection may be appealed, or how the appeal stands."""

    until: datetime.datetime | None = None
    created_at: datetime.datetime | None = None
    decided_at: datetime.datetime | None = None


class Submission(Model):
    """What a worker handed in: evidence, or a truthful "can't be done" (``kind`` NEGATIVE)."""

    id: Code
    bounty: CodeOrEmpty = ""
    claim: CodeOrEmpty = ""
    status: Code
    number: int = 1
    kind: Code = "EVIDENCE"
    negative_reason: CodeOrEmpty = ""
    verdict: Verdict | None = None
    checks: tuple[Check, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    place: Place | None = None
    times: Times = Times()
    receipt: dict[str, JsonValue] | None = pydantic.Field(default=None, repr=False)
    untrusted: untrusted_words.Untrusted = untrusted_words.Untrusted()
    is_final: bool = False
    is_retake_offered: bool = False
    retake_until: datetime.datetime | None = None
    poster_review_until: datetime.datetime | None = None
    appeal: Appeal | None = None

    @property
    def is_judged(self) -> bool:
        """Whether a verdict has been applied."""
        return self.status in JUDGED


class SubmissionSummary(Model):
    """A submission as its bounty lists it."""

    id: Code
    status: Code
    kind: Code = "EVIDENCE"
    verdict: Verdict | None = None

    @pydantic.field_validator("verdict", mode="before")
    @classmethod
    def _from_word(cls, value: object) -> object:
        return {"outcome": value} if isinstance(value, str) and value else value or None


class Held(Model):
    """Where the bounty's money is: funded = captured + returned + held at every instant."""

    funded: Money
    captured: Money
    returned: Money
    held: Money


class Bounty(Model):
    """Task, reward, held funds and deadline."""

    id: Code
    # What workers claim: the same work, seen from their side.
    task: CodeOrEmpty = ""
    mode: CodeOrEmpty = ""
    status: Code
    closed_because: CodeOrEmpty = ""
    kind: Code = "photo"
    title: Words = ""
    question: Words = ""
    must_show: tuple[Words, ...] = ()
    criteria: tuple[Criterion, ...] = ()
    place: Place | None = None
    reward: Money
    fee: Money | None = None
    negative_fee: Money | None = None
    reserve: Money | None = None
    held: Held | None = None
    slots: int = 1
    deadline: datetime.datetime | None = None
    terms_hash: DigestOrEmpty = ""
    policy: Policy = Policy()
    submissions: tuple[SubmissionSummary, ...] = ()
    created_at: datetime.datetime | None = None
    funded_at: datetime.datetime | None = None
    closed_at: datetime.datetime | None = None
    url: Address = ""

    @property
    def is_finished(self) -> bool:
        """Whether nothing can happen to it any more."""
        return self.status in FINISHED


class Event(Model):
    """One change. ``seq`` counts 1, 2, 3 ... in the agent's feed without a gap."""

    id: Code
    seq: int | None = None
    type: Code
    subject: Code
    actor: CodeOrEmpty = ""
    timestamp: datetime.datetime
    data: dict[str, JsonValue] = pydantic.Field(default_factory=dict, repr=False)
    untrusted: untrusted_words.Untrusted = untrusted_words.Untrusted()

    @pydantic.model_validator(mode="before")
    @classmethod
    def _part(cls, value: object) -> object:
        """Move a stranger's words out of ``data``, and drop whatever in it could be a sentence."""
        if not isinstance(value, dict) or not isinstance(value.get("data"), dict):
            return value
        data = value["data"]
        words = data.get("untrusted")
        return {**value, "data": _facts(data), "untrusted": words if isinstance(words, dict) else {}}


class Deposit(Model):
    """Money on its way into the available balance."""

    id: Code
    status: Code
    amount: Money
    created_at: datetime.datetime | None = None
    confirmed_at: datetime.datetime | None = None


class Payout(Model):
    """Money on its way to a worker's bank."""

    id: Code
    status: Code
    amount: Money
    destination: CodeOrEmpty = ""
    failure: CodeOrEmpty = ""
    created_at: datetime.datetime | None = None


class WebhookEndpoint(Model):
    """Where events are sent. The secret is shown once, by the call that made it."""

    id: Code
    url: Address
    is_enabled: bool = True
    secret: CodeOrEmpty = pydantic.Field(default="", repr=False)
    created_at: datetime.datetime | None = None


class Page(Model, Generic[M]):
    """One page of a list; ``next_cursor`` is empty on the last one."""

    data: tuple[M, ...]
    next_cursor: Address = ""


# Deeper than this, and longer than this, is no fact of an event.
_DEEPEST = 6
_FACT = re.compile(r"[A-Za-z0-9_.:+-]{0,80}")


def _facts(value: JsonValue, depth: int = 0) -> JsonValue:
    """Return numbers, truth values, codes and times; whatever else stands there becomes null."""
    if isinstance(value, dict) and depth < _DEEPEST:
        return {name: _facts(part, depth + 1) for name, part in value.items() if name != "untrusted" and _FACT.fullmatch(name)}
    if isinstance(value, list) and depth < _DEEPEST:
        return [_facts(part, depth + 1) for part in value]
    is_fact = value is None or isinstance(value, bool | int | float) or (isinstance(value, str) and _FACT.fullmatch(value) is not None)
    return value if is_fact else None
