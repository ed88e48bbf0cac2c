"""Every call of the HTTP API, described once for the sync and the async client: arguments in, `_core.Call` out."""

import datetime
import decimal
import re
from collections.abc import Mapping, Sequence
from typing import Literal, TypedDict

from pydantic import JsonValue

from agents_sdk import _core, errors, models, receipts

Simulation = Literal["late", "blurred", "wrong_place", "fraud", "no_taker"]
MoneyText = str | decimal.Decimal | int

_DURATION = re.compile(r"(?:(\d{1,5})d)?(?:(\d{1,6})h)?(?:(\d{1,7})m)?(?:(\d{1,8})s)?")
_AMOUNT = re.compile(r"(0|[1-9][0-9]{0,15})(\.[0-9]{1,6})?")


class PhotoOptions(TypedDict, total=False):
    """What a photo bounty may say beyond its question, place, reward and deadline."""

    must_show: Sequence[str] | None
    currency: str
    slots: int
    title: str
    negative_fee: MoneyText
    max_negative_outcomes: int
    poster_review_window_s: int
    task_time_s: int
    min_short_side_px: int
    # Test keys only: what the simulated worker is to do.
    simulate: Simulation | None
    # False leaves it screened, to be funded later with `bounties.fund`.
    fund: bool


class Quote(models.Model):
    """What a bounty would cost and whether it would be published; nothing was made."""

    price: models.Money
    fee: models.Money
    reserve: models.Money
    total: models.Money
    policy: models.Policy
    is_certified: bool = False
    expected_time_to_claim_s: float | None = None


class AgentBalance(models.Model):
    """An agent's money, one amount a currency."""

    available: tuple[models.Money, ...] = ()
    held: tuple[models.Money, ...] = ()


class Keys(models.Model):
    """The market's public receipt keys."""

    data: tuple[receipts.ReceiptKey, ...]

    def by_id(self) -> dict[str, str]:
        """Return the public keys by key id."""
        return {key.key_id: key.public_key for key in self.data}


def seconds(text: float | str) -> float:
    """Read ``"2h"``, ``"30m"``, ``"1h30m"``, ``"90s"``, ``"1d"`` or a number of seconds.

    Raises:
        ConfigurationError: it is none of these, or not above zero.
    """
    if isinstance(text, str):
        match = _DURATION.fullmatch(text.strip().lower())
        parts = [int(part or 0) for part in match.groups()] if match else [0, 0, 0, 0]
        value: float = parts[0] * 86_400 + parts[1] * 3_600 + parts[2] * 60 + parts[3]
    else:
        value = text
    if not 0 < value < 10**9:
        raise errors.ConfigurationError(f"{str(text)[:40]!r} is not a length of time.", next_step='Write for example "30m" or "2h".')
    return value


def amount_text(amount: MoneyText) -> str:
    """Write an amount as the API wants it.

    Raises:
        ConfigurationError: a float, or not a plain decimal.
    """
    text = format(amount, "f") if isinstance(amount, decimal.Decimal) else str(amount)
    # A float is refused though it prints well: 0.1 + 0.2 does not.
    if isinstance(amount, float | bool) or not _AMOUNT.fullmatch(text):
        raise errors.ConfigurationError(f"{text[:40]!r} is not an amount.", next_step='Write amounts as text, for example "10.00".')
    return text


def money(amount: MoneyText, currency: str) -> dict[str, JsonValue]:
    """Write money as the API wants it."""
    return {"amount": amount_text(amount), "currency": currency}


def time_text(moment: datetime.datetime) -> str:
    """Write a moment in UTC.

    Raises:
        ConfigurationError: it has no time zone.
    """
    if moment.tzinfo is None:
        raise errors.ConfigurationError("The time has no time zone.", next_step="Use datetime.now(tz=UTC) + timedelta(...).")
    return moment.astimezone(datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def photo_body(
    question: str,
    *,
    at: tuple[float, float],
    within_m: int,
    reward: MoneyText,
    by: str | datetime.datetime,
    must_show: Sequence[str] | None = None,
    currency: str = "USD",
    slots: int = 1,
    title: str = "",
    negative_fee: MoneyText | None = None,
    max_negative_outcomes: int | None = None,
    poster_review_window_s: int | None = None,
    task_time_s: int | None = None,
    min_short_side_px: int | None = None,
    simulate: Simulation | None = None,
    fund: bool = True,
) -> dict[str, JsonValue]:
    """Write the body of a photo bounty.

    A relative ``by`` stays relative, so that the same call made again after a crash is the same request.

    Raises:
        ConfigurationError: an amount, a time or a place that can't be meant.
    """
    latitude, longitude = at
    body: dict[str, JsonValue] = {
        "kind": "photo",
        "question": question,
        "place": {"latitude": float(latitude), "longitude": float(longitude), "within_m": within_m},
        "reward": money(reward, currency),
        "slots": slots,
        "fund": fund,
    }
    if isinstance(by, datetime.datetime):
        body["deadline"] = time_text(by)
    else:
        body["deadline_in_s"] = int(seconds(by))
    if must_show is not None:
        body["must_show"] = [must_show] if isinstance(must_show, str) else list(must_show)
    if negative_fee is not None:
        body["negative_fee"] = money(negative_fee, currency)
    optional: dict[str, JsonValue] = {
        "title": title or None,
        "max_negative_outcomes": max_negative_outcomes,
        "poster_review_window_s": poster_review_window_s,
        "task_time_s": task_time_s,
        "min_short_side_px": min_short_side_px,
        "simulate": simulate,
    }
    return body | {name: value for name, value in optional.items() if value is not None}


def post_bounty(body: Mapping[str, JsonValue], *, idempotency_key: str | None = None) -> _core.Call[models.Bounty]:
    """Post a bounty."""
    return _core.post("/v1/bounties", _core.as_model(models.Bounty), body=body, idempotency_key=idempotency_key)


def quote_bounty(body: Mapping[str, JsonValue]) -> _core.Call[Quote]:
    """Ask what a bounty would cost."""
    return _core.post("/v1/bounties", _core.as_model(Quote), body=body, params={"dry_run": "true"})


def list_bounties(*, status: str = "", cursor: str = "", limit: int = 50) -> _core.Call[models.Page[models.Bounty]]:
    """List one's own bounties, the newest first."""
    params = {"limit": str(limit)} | ({"status": status} if status else {}) | paged(cursor)
    return _core.Call("GET", "/v1/bounties", _core.as_model(models.Page[models.Bounty]), params=params)


def get_bounty(bounty_id: str) -> _core.Call[models.Bounty]:
    """Read one bounty."""
    return _core.get(f"/v1/bounties/{path_id(bounty_id)}", _core.as_model(models.Bounty))


def cancel_bounty(bounty_id: str, *, idempotency_key: str | None = None) -> _core.Call[models.Bounty]:
    """Cancel a bounty."""
    path = f"/v1/bounties/{path_id(bounty_id)}/cancel"
    return _core.post(path, _core.as_model(models.Bounty), idempotency_key=idempotency_key)


def fund_bounty(bounty_id: str, *, idempotency_key: str | None = None) -> _core.Call[models.Bounty]:
    """Fund a screened bounty."""
    path = f"/v1/bounties/{path_id(bounty_id)}/fund"
    return _core.post(path, _core.as_model(models.Bounty), idempotency_key=idempotency_key)


def improve_bounty(
    bounty_id: str,
    *,
    reward: MoneyText | None = None,
    currency: str = "USD",
    by: datetime.datetime | None = None,
    idempotency_key: str | None = None,
) -> _core.Call[models.Bounty]:
    """Raise the reward or move the deadline later."""
    body: dict[str, JsonValue] = {}
    if reward is not None:
        body["reward"] = money(reward, currency)
    if by is not None:
        body["deadline"] = time_text(by)
    path = f"/v1/bounties/{path_id(bounty_id)}/improve"
    return _core.post(path, _core.as_model(models.Bounty), body=body, idempotency_key=idempotency_key)


def list_submissions(bounty_id: str, *, cursor: str = "") -> _core.Call[models.Page[models.Submission]]:
    """List a bounty's submissions."""
    params = paged(cursor)
    path = f"/v1/bounties/{path_id(bounty_id)}/submissions"
    return _core.Call("GET", path, _core.as_model(models.Page[models.Submission]), params=params)


def get_submission(submission_id: str) -> _core.Call[models.Submission]:
    """Read one submission, with fresh addresses of its files."""
    return _core.get(f"/v1/submissions/{path_id(submission_id)}", _core.as_model(models.Submission))


def download_evidence(submission: models.Submission, evidence_id: str, *, base_url: str) -> _core.Call[bytes]:
    """Fetch a file of a submission that was just read: its address ends soon.

    Raises:
        MalformedResponse: the submission has no such file to show.
    """
    for evidence in submission.evidence:
        if evidence.id == evidence_id and evidence.url:
            digest = "" if evidence.is_preview else evidence.display_sha256
            return _core.download(evidence.url, base_url=base_url, sha256=digest)
    raise errors.MalformedResponse(f"The submission {submission.id} has no file {evidence_id} to show.")


def review_submission(
    submission_id: str, *, decision: str, criterion: str = "", idempotency_key: str | None = None
) -> _core.Call[models.Submission]:
    """Decide as the poster, where the terms ask for it."""
    body: dict[str, JsonValue] = {"decision": decision, "criterion": criterion}
    path = f"/v1/submissions/{path_id(submission_id)}/review"
    return _core.post(path, _core.as_model(models.Submission), body=body, idempotency_key=idempotency_key)


def get_keys() -> _core.Call[Keys]:
    """Read the market's public receipt keys."""
    return _core.get("/v1/keys", _core.as_model(Keys))


def events(*, after: int, limit: int = 100) -> _core.Call[models.Page[models.Event]]:
    """Read the events that follow number ``after``."""
    return _core.get("/v1/events", _core.as_model(models.Page[models.Event]), after=str(after), limit=str(limit))


def get_balance() -> _core.Call[AgentBalance]:
    """Read the agent's balance."""
    return _core.get("/v1/balance", _core.as_model(AgentBalance))


def make_deposit(amount: MoneyText, currency: str, *, idempotency_key: str | None = None) -> _core.Call[models.Deposit]:
    """Ask for a deposit."""
    body: dict[str, JsonValue] = {"amount": money(amount, currency)}
    return _core.post("/v1/deposits", _core.as_model(models.Deposit), body=body, idempotency_key=idempotency_key)


def list_deposits(*, cursor: str = "") -> _core.Call[models.Page[models.Deposit]]:
    """List deposits, the newest first."""
    params = paged(cursor)
    return _core.Call("GET", "/v1/deposits", _core.as_model(models.Page[models.Deposit]), params=params)


def make_webhook_endpoint(url: str, *, idempotency_key: str | None = None) -> _core.Call[models.WebhookEndpoint]:
    """Register an address for events."""
    read = _core.as_model(models.WebhookEndpoint)
    return _core.post("/v1/webhook_endpoints", read, body={"url": url}, idempotency_key=idempotency_key)


def list_webhook_endpoints(*, cursor: str = "") -> _core.Call[models.Page[models.WebhookEndpoint]]:
    """List the addresses for events."""
    params = paged(cursor)
    return _core.Call("GET", "/v1/webhook_endpoints", _core.as_model(models.Page[models.WebhookEndpoint]), params=params)


def delete_webhook_endpoint(endpoint_id: str) -> _core.Call[None]:
    """Remove an address for events."""
    return _core.Call("DELETE", f"/v1/webhook_endpoints/{path_id(endpoint_id)}", nothing)


def paged(cursor: str) -> dict[str, str]:
    """Return the parameter that asks for a page."""
    return {"cursor": cursor} if cursor else {}


def nothing(_: bytes) -> None:
    """Read an answer that says no more than its status."""


def path_id(text: str) -> str:
    """Return an id that is safe in a path.

    Raises:
        ConfigurationError: it is not an id.
    """
    if not re.fullmatch(r"[a-z]{3}_[0-9a-f]{32}", text):
        raise errors.ConfigurationError(f"{text[:48]!r} is not an id.", next_step="An id looks like bty_0190... (32 hexadecimal digits).")
    return text
