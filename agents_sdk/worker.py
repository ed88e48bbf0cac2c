"""The client of one who earns: find tasks, claim, send photographs, appeal, get paid. It blocks."""

import datetime
import os
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Literal, Self

import httpx
from pydantic import JsonValue

from agents_sdk import _calls, _core, _http, models, research

NegativeReason = Literal["closed", "not_found", "unsafe", "no_access"]


class Task(models.Model):
    """What is to be done, how it is judged and what it pays."""

    id: models.Code
    kind: models.Code
    mode: models.CodeOrEmpty = ""
    title: models.Words = ""
    question: models.Words = ""
    must_show: tuple[models.Words, ...] = ()
    criteria: tuple[models.Criterion, ...] = ()
    place: models.Place
    reward: models.Money
    negative_fee: models.Money | None = None
    opens_at: datetime.datetime | None = None
    closes_at: datetime.datetime
    task_time_s: int = 600
    min_short_side_px: int = 480
    open_slots: int | None = None
    distance_m: float | None = None
    # Test mode only: how the simulated worker is asked to behave.
    simulate: models.CodeOrEmpty = ""


class Claim(models.Model):
    """An exclusive right to one slot until ``expires_at``."""

    id: models.Code
    task: models.Code
    status: models.Code
    expires_at: datetime.datetime
    is_extended: bool = False
    is_retake_used: bool = False
    submissions: tuple[models.Code, ...] = ()
    terms_hash: models.DigestOrEmpty = ""
    created_at: datetime.datetime | None = None
    # Set when nothing under it is open any more.
    ended_at: datetime.datetime | None = None


class Purse(models.Model):
    """A worker's money in one currency: earned (not payable yet), payable, on its way, and paid out."""

    currency: models.Code
    earned: models.Money
    payable: models.Money
    in_transit: models.Money
    paid_out: models.Money


class WorkerBalance(models.Model):
    """A worker's money, one purse a currency."""

    data: tuple[Purse, ...] = ()


class WorkerMarket:
    """The market, as a worker sees it, with a ``..._worker_...`` key."""

    def __init__(
        self,
        *,
        api_key: str | None = None,
        base_url: str | None = None,
        timeout_s: float = 30.0,
        max_retries: int = 2,
        http_client: httpx.Client | None = None,
    ) -> None:
        """Read ATOMS_API_KEY and ATOMS_URL where an argument is missing.

        Raises:
            ConfigurationError: no key, or an address that can't be used.
        """
        options = _core.options_from(
            api_key=api_key, base_url=base_url, environment=os.environ, timeout_s=timeout_s, max_retries=max_retries
        )
        self._http = _http.SyncHttp(options, http_client=http_client)
        self.research = research.Research(self._http)

    def tasks(self, *, near: tuple[float, float] | None = None) -> Iterator[Task]:
        """Yield open tasks near a place (latitude, longitude), the nearest first; a test key may leave the place out."""
        place = {"limit": "100"} | ({"near": f"{near[0]:.6f},{near[1]:.6f}"} if near else {})
        return self._http.pages(
            lambda cursor: _core.Call("GET", "/v1/tasks", _core.as_model(models.Page[Task]), params=place | _calls.paged(cursor))
        )

    def task(self, task_id: str) -> Task:
        """Return one task.

        Raises:
            NotFound: there is none that you may see.
        """
        return self._http.run(_core.get(f"/v1/tasks/{_calls.path_id(task_id)}", _core.as_model(Task)))

    def claim(self, task_id: str, *, at: tuple[float, float] | None = None, idempotency_key: str | None = None) -> Claim:
        """Claim one slot of a task.

        Args:
            at: where you are now, for the travel time; kept only as a coarse cell.

        Raises:
            AlreadyClaimed: every slot is taken.
        """
        body: dict[str, JsonValue] = {"latitude": at[0], "longitude": at[1]} if at else {}
        path = f"/v1/tasks/{_calls.path_id(task_id)}/claims"
        return self._http.run(_core.post(path, _core.as_model(Claim), body=body, idempotency_key=idempotency_key))

    def claims(self, *, status: str = "") -> Iterator[Claim]:
        """Yield your claims, the newest first."""
        chosen = {"status": status} if status else {}
        return self._http.pages(
            lambda cursor: _core.Call("GET", "/v1/claims", _core.as_model(models.Page[Claim]), params=chosen | _calls.paged(cursor))
        )

    def extend(self, claim_id: str, *, at: tuple[float, float]) -> Claim:
        """Get more time, once, from inside the fence.

        Raises:
            Conflict: it was extended before, has ended, or you are not there.
        """
        body: dict[str, JsonValue] = {"latitude": at[0], "longitude": at[1]}
        return self._http.run(_core.post(f"/v1/claims/{_calls.path_id(claim_id)}/extend", _core.as_model(Claim), body=body))

    def drop(self, claim_id: str) -> Claim:
        """Give a claim back, free of charge.

        Raises:
            Conflict: it has ended.
        """
        return self._http.run(_core.post(f"/v1/claims/{_calls.path_id(claim_id)}/drop", _core.as_model(Claim)))

    def submit(
        self,
        claim_id: str,
        *,
        photos: Sequence[bytes],
        at: tuple[float, float],
        accuracy_m: float,
        captured_at: datetime.datetime,
        note: str = "",
        idempotency_key: str | None = None,
    ) -> models.Submission:
        """Send photographs (JPEG, PNG, WebP or HEIF bytes) with where and when they were taken.

        Raises:
            Conflict: the claim has ended.
            BadRequest: a file that can't be read, and why.
            OutcomeUnknown: send again with the key that the error names.
        """
        form = {
            "kind": "EVIDENCE",
            "latitude": repr(float(at[0])),
            "longitude": repr(float(at[1])),
            "accuracy_m": repr(float(accuracy_m)),
            "captured_at": _calls.time_text(captured_at),
            "note": note,
        }
        return self._send(claim_id, form, photos, idempotency_key)

    def submit_negative(
        self,
        claim_id: str,
        *,
        reason: NegativeReason,
        photos: Sequence[bytes],
        at: tuple[float, float],
        accuracy_m: float,
        captured_at: datetime.datetime,
        note: str = "",
        idempotency_key: str | None = None,
    ) -> models.Submission:
        """Report truthfully that it can't be done, with a photograph that shows why. It is paid if it holds.

        Raises:
            Conflict, BadRequest, OutcomeUnknown: as `submit`.
        """
        form = {
            "kind": "NEGATIVE",
            "negative_reason": reason,
            "latitude": repr(float(at[0])),
            "longitude": repr(float(at[1])),
            "accuracy_m": repr(float(accuracy_m)),
            "captured_at": _calls.time_text(captured_at),
            "note": note,
        }
        return self._send(claim_id, form, photos, idempotency_key)

    def _send(self, claim_id: str, form: dict[str, str], photos: Sequence[bytes], idempotency_key: str | None) -> models.Submission:
        files = tuple(
            _core.FilePart("photo", f"photo-{number}.jpg", "application/octet-stream", content) for number, content in enumerate(photos)
        )
        call = _core.Call(
            "POST",
            f"/v1/claims/{_calls.path_id(claim_id)}/submissions",
            _core.as_model(models.Submission),
            form=form,
            files=files,
            idempotency_key=idempotency_key or _core.new_idempotency_key(),
        )
        return self._http.run(call)

    def submission(self, submission_id: str) -> models.Submission:
        """Return one of your submissions: status, verdict criterion by criterion, and whether a retake is offered.

        Raises:
            NotFound: there is none, or it is not yours.
        """
        return self._http.run(_calls.get_submission(submission_id))

    def appeal(self, submission_id: str, *, statement: str = "", idempotency_key: str | None = None) -> models.Submission:
        """Ask that a person who has not seen the case looks at a rejection.

        Raises:
            Conflict: it is not rejected, was appealed before, or the time for it is over.
        """
        path = f"/v1/submissions/{_calls.path_id(submission_id)}/appeal"
        body: dict[str, JsonValue] = {"statement": statement}
        return self._http.run(_core.post(path, _core.as_model(models.Submission), body=body, idempotency_key=idempotency_key))

    def waive(self, submission_id: str, *, idempotency_key: str | None = None) -> models.Submission:
        """Give up retake and appeal of a rejection: it is final at once, and you are free for other tasks.

        Raises:
            Conflict: it is not rejected, or its retake is under way.
        """
        path = f"/v1/submissions/{_calls.path_id(submission_id)}/waive"
        return self._http.run(_core.post(path, _core.as_model(models.Submission), idempotency_key=idempotency_key))

    def balance(self) -> WorkerBalance:
        """Return what is earned, payable, on its way and paid out."""
        return self._http.run(_core.get("/v1/balance", _core.as_model(WorkerBalance)))

    def payout(
        self, amount: _calls.MoneyText, currency: str = "USD", *, destination: str, idempotency_key: str | None = None
    ) -> models.Payout:
        """Ask for payable money at your bank.

        Args:
            destination: the payment provider's name for where the money goes; never a card or account number.

        Raises:
            APIStatusError: less is payable.
            OutcomeUnknown: ask again with the key that the error names.
        """
        body: dict[str, JsonValue] = {"amount": _calls.money(amount, currency), "destination": destination}
        return self._http.run(_core.post("/v1/payouts", _core.as_model(models.Payout), body=body, idempotency_key=idempotency_key))

    def payouts(self) -> Iterator[models.Payout]:
        """Yield your payouts, the newest first."""
        return self._http.pages(
            lambda cursor: _core.Call("GET", "/v1/payouts", _core.as_model(models.Page[models.Payout]), params=_calls.paged(cursor))
        )

    def close(self) -> None:
        """Close the connections, unless you brought them."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
