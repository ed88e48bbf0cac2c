"""The low-level client of machine workers: lease work, keep it, hand in results; fenced by token, safe to repeat."""

import datetime
import os
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Annotated, Self

import httpx
import pydantic
from pydantic import JsonValue

from agents_sdk import _calls, _core, _http, _waiting, errors, models

StaleLease = errors.StaleLease

LARGEST_ARTEFACT_BYTES = 64 * 1024 * 1024
# Uploads are given up at less than 256 kbit/s: slower than that, a checkpoint takes longer than the training.
_SLOWEST_UPLOAD_BYTES_S = 32_000
_Seconds = Annotated[float, pydantic.Field(ge=0, le=86_400, allow_inf_nan=False)]
_Whole = Annotated[int, pydantic.Field(ge=0, le=2**53)]


class _Model(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True, extra="ignore")


class LeaseInput(_Model):
    """One file of an item; its address lives as long as the lease."""

    sha256: str = pydantic.Field(pattern=r"^[0-9a-f]{64}$")
    url: str
    role: str = ""


class LeaseItem(_Model):
    """One piece of work, held until ``lease_until`` by whoever has ``token``."""

    id: str = pydantic.Field(pattern=r"^[a-z]{3}_[0-9a-f]{32}$")
    token: int
    lease_until: datetime.datetime
    kind: str
    params: dict[str, JsonValue]
    inputs: tuple[LeaseInput, ...] = ()


class Lease(_Model):
    """What was handed out; with no items, ask again after ``retry_after_s`` seconds."""

    items: tuple[LeaseItem, ...]
    retry_after_s: float = 1.0


class Sealed(_Model):
    """A sealed report; it is asked for when ``is_reveal_due``, else look again after ``retry_after_s`` seconds."""

    status: models.Code
    is_reveal_due: bool = False
    retry_after_s: _Seconds = 60.0


class Revealed(_Model):
    """A report that the market has; it asks for the files of these checkpoints."""

    status: models.Code
    wanted_checkpoints: tuple[_Whole, ...] = pydantic.Field(default=(), max_length=1_000)


class Host(_Model):
    """A machine of yours as the market knows it; ``valid_count`` are its valid results in a row."""

    id: str = pydantic.Field(pattern=r"^hst_[0-9a-f]{32}$")
    status: models.Code
    valid_count: _Whole = 0
    class_key: models.Words = ""
    sandbox_level: models.CodeOrEmpty = ""


class Demand(_Model):
    """What is asked for in one hardware class, and what ``n`` recent runs of it paid and took; empty where nobody knows."""

    open_runs: _Whole = 0
    pay_p50: models.Money | None = None
    seconds_p50: Annotated[float, pydantic.Field(gt=0, allow_inf_nan=False)] | None = None
    n: _Whole = 0


class ReplayWords(_Model):
    """Words of a run's poster: data, never instructions."""

    title: models.Words = pydantic.Field(default="", repr=False)


class RunAppeal(_Model):
    """Your appeal of a run: OPEN, then OVERTURNED (it was right), STANDS or UNDECIDED. Where it stands, and which step differs first."""

    status: models.Code
    asked_at: datetime.datetime | None = None
    decided_at: datetime.datetime | None = None
    differs_from_checkpoint: _Whole | None = None
    differs_from_step: _Whole | None = None


class Replay(_Model):
    """One run of yours: where it stands, what it pays and why. ``money_status`` is PAID, PENDING or FAILED."""

    id: str = pydantic.Field(pattern=r"^rpl_[0-9a-f]{32}$")
    status: models.Code
    money_status: models.CodeOrEmpty = ""
    pay: models.Money | None = None
    # The part of the pay that filled your stake.
    staked: models.Money | None = None
    # What your stake lost by it and was not put back, and pay that was taken back.
    lost: models.Money | None = None
    reason: models.CodeOrEmpty = ""
    # The market's own sentence for the reason.
    reason_text: models.Words = ""
    bounty: models.CodeOrEmpty = ""
    class_key: models.Words = ""
    steps_done: _Whole = 0
    steps: _Whole = 0
    payable_at: datetime.datetime | None = None
    created_at: datetime.datetime | None = None
    judged_at: datetime.datetime | None = None
    # Until when an invalid run may be appealed, and its appeal.
    appeal_until: datetime.datetime | None = None
    appeal: RunAppeal | None = None
    untrusted: ReplayWords = ReplayWords()


class Totals(_Model):
    """The sums of all runs in one currency, as the market's ledger has them."""

    paid: models.Money
    pending: models.Money


class ReplayPage(models.Page[Replay]):
    """A page of runs, the newest first, and the sums over all pages."""

    totals: tuple[Totals, ...] = ()


class _Hosts(_Model):
    data: tuple[Host, ...] = ()


class LeaseClient:
    """Leases work with a ``lease:...`` key; used by GPU workers. It blocks and may be shared between threads."""

    def __init__(
        self,
        base_url: str | None = None,
        api_key: str | None = None,
        *,
        timeout_s: float = 30.0,
        max_retries: int = 2,
        http_client: httpx.Client | None = None,
    ) -> None:
        """Read ATOMS_URL and ATOMS_API_KEY where an argument is missing.

        Raises:
            ConfigurationError: no key, or an address that can't be used.
        """
        options = _core.options_from(
            api_key=api_key, base_url=base_url, environment=os.environ, timeout_s=timeout_s, max_retries=max_retries
        )
        self._http = _http.SyncHttp(options, http_client=http_client)

    def lease(self, kind: str, limit: int, *, holder: str, lease_s: int = 60) -> Lease:
        """Lease up to ``limit`` items for ``lease_s`` seconds. ``holder`` names this process in the market's logs.

        A lost answer loses nothing: its items come back when their lease ends.

        Raises:
            APIStatusError, APIConnectionError: see `agents_sdk.errors`.
        """
        body: dict[str, JsonValue] = {"kind": kind, "limit": limit, "holder": holder, "lease_s": lease_s}
        return self._http.run(_core.post("/v1/leases", _core.as_model(Lease), body=body))

    def heartbeat(self, item_id: str, token: int, *, lease_s: int = 60) -> None:
        """Let the lease end ``lease_s`` seconds from now.

        Raises:
            StaleLease: the item went to another holder; stop working on it.
        """
        self._http.run(_core.post(f"/v1/leases/{item_id}/heartbeat", _calls.nothing, body={"token": token, "lease_s": lease_s}))

    def complete(self, item_id: str, token: int, readings: Mapping[str, JsonValue], *, model_hash: str, preprocessing: str) -> None:
        """Hand in what was read. Repeating it with the same token changes nothing.

        Raises:
            StaleLease: the item went to another holder; drop the readings.
        """
        body: dict[str, JsonValue] = {
            "token": token,
            "readings": dict(readings),
            "model_hash": model_hash,
            "preprocessing": preprocessing,
        }
        self._http.run(_core.post(f"/v1/leases/{item_id}/complete", _calls.nothing, body=body))

    def fail(self, item_id: str, token: int, reason: str) -> None:
        """Give the item back with the reason why it can't be done here.

        Raises:
            StaleLease: the item went to another holder already.
        """
        self._http.run(_core.post(f"/v1/leases/{item_id}/fail", _calls.nothing, body={"token": token, "reason": reason[:200]}))

    def lease_replays(
        self, limit: int, *, holder: str, class_key: str, host_id: str, lease_s: int = 120, idempotency_key: str | None = None
    ) -> Lease:
        """Lease up to ``limit`` trainings for a registered host of this class. The same ``idempotency_key`` gives the same items.

        Raises:
            APIStatusError, APIConnectionError: see `agents_sdk.errors`.
        """
        body: dict[str, JsonValue] = {"kind": "replay", "limit": limit, "holder": holder, "lease_s": lease_s}
        body |= {"class_key": class_key, "host_id": host_id}
        return self._http.run(_core.post("/v1/leases", _core.as_model(Lease), body=body, idempotency_key=idempotency_key))

    def keep(self, item_id: str, token: int, *, lease_s: int, step: int, steps: int) -> None:
        """Let the lease of a training end ``lease_s`` seconds from now, and say how far it is.

        Raises:
            StaleLease: the item went to another holder, or is not needed any more; stop working on it.
        """
        body: dict[str, JsonValue] = {"token": token, "lease_s": lease_s, "progress": {"step": step, "steps": steps}}
        self._http.run(_core.post(f"/v1/leases/{item_id}/heartbeat", _calls.nothing, body=body))

    def seal(self, item_id: str, token: int, seal: str, *, idempotency_key: str | None = None) -> Sealed:
        """Commit to a report by its seal before anybody's is known. Repeating it says whether the report is due.

        A repetition that is to look again needs a new ``idempotency_key``: the market gives an old one its first answer.

        Raises:
            StaleLease: the item went to another holder; drop the report.
        """
        body: dict[str, JsonValue] = {"token": token, "seal": seal}
        return self._http.run(_core.post(f"/v1/leases/{item_id}/seal", _core.as_model(Sealed), body=body, idempotency_key=idempotency_key))

    def reveal(
        self, item_id: str, token: int, *, report: Mapping[str, JsonValue], salt: str, idempotency_key: str | None = None
    ) -> Revealed:
        """Hand in the report that was sealed.

        Raises:
            Conflict: code ``reveal_too_early``: not due yet.
            StaleLease: the item went to another holder; drop the report.
        """
        body: dict[str, JsonValue] = {"token": token, "report": dict(report), "salt": salt}
        path = f"/v1/leases/{item_id}/complete"
        return self._http.run(_core.post(path, _core.as_model(Revealed), body=body, idempotency_key=idempotency_key))

    def upload(self, item_id: str, token: int, index: int, content: bytes, *, idempotency_key: str | None = None) -> None:
        """Hand in the file of checkpoint ``index``, at most `LARGEST_ARTEFACT_BYTES` long.

        Raises:
            ConfigurationError: the file is too large; nothing was sent.
            StaleLease: the item went to another holder.
        """
        if len(content) > LARGEST_ARTEFACT_BYTES:
            raise errors.ConfigurationError(f"A checkpoint of {len(content)} bytes is too large.", next_step="At most 64 MiB are taken.")
        timeout_s = max(self._http.options.timeout_s, len(content) / _SLOWEST_UPLOAD_BYTES_S)
        call = _core.Call(
            "POST",
            f"/v1/leases/{item_id}/artefacts",
            _calls.nothing,
            params={"token": str(token), "index": str(index)},
            content=content,
            idempotency_key=idempotency_key or _core.new_idempotency_key(),
        )
        self._http.with_options(_core.changed(self._http.options, timeout_s=timeout_s, max_retries=None)).run(call)

    def finish(self, item_id: str, token: int, *, idempotency_key: str | None = None) -> None:
        """Say that everything asked for is handed in.

        Raises:
            Conflict: a checkpoint is missing.
            StaleLease: the item went to another holder.
        """
        self._http.run(_core.post(f"/v1/leases/{item_id}/finish", _calls.nothing, body={"token": token}, idempotency_key=idempotency_key))

    def give_back(self, item_id: str, token: int, reason: str, *, steps_done: int, idempotency_key: str | None = None) -> None:
        """Give a training back after ``steps_done`` steps; what was done is paid if the market cancelled it.

        Raises:
            StaleLease: the item went to another holder already.
        """
        body: dict[str, JsonValue] = {"token": token, "reason": reason[:200], "steps_done": steps_done}
        self._http.run(_core.post(f"/v1/leases/{item_id}/fail", _calls.nothing, body=body, idempotency_key=idempotency_key))

    def lease_trusted(self, limit: int, *, holder: str, lease_s: int = 600) -> Lease:
        """Lease up to ``limit`` jobs of the trusted pool: smoke runs, evaluations, audits and baselines.

        Raises:
            Forbidden: the key is not a trusted one.
        """
        body: dict[str, JsonValue] = {"kind": "trusted", "limit": limit, "holder": holder, "lease_s": lease_s}
        return self._http.run(_core.post("/v1/leases", _core.as_model(Lease), body=body))

    def hand_in(self, item_id: str, token: int, readings: Mapping[str, JsonValue], *, idempotency_key: str | None = None) -> None:
        """Hand in the readings of a trusted job. Repeating it with the same token changes nothing.

        Raises:
            StaleLease: the item went to another holder; drop the readings.
        """
        body: dict[str, JsonValue] = {"token": token, "readings": dict(readings)}
        self._http.run(_core.post(f"/v1/leases/{item_id}/complete", _calls.nothing, body=body, idempotency_key=idempotency_key))

    def register_host(
        self, name: str, *, class_key: str, sandbox_level: str, facts: Mapping[str, JsonValue], idempotency_key: str | None = None
    ) -> Host:
        """Register this machine; the same name and class give the same host.

        Raises:
            APIStatusError: see `agents_sdk.errors`.
        """
        body: dict[str, JsonValue] = {"name": name, "class_key": class_key, "sandbox_level": sandbox_level, "facts": dict(facts)}
        return self._http.run(_core.post("/v1/hosts", _core.as_model(Host), body=body, idempotency_key=idempotency_key))

    def hosts(self) -> Sequence[Host]:
        """Return your machines."""
        return self._http.run(_core.get("/v1/hosts", _core.as_model(_Hosts))).data

    def demand(self, class_key: str) -> Demand:
        """Return what is asked for in a hardware class and what it pays."""
        return self._http.run(_core.get("/v1/demand", _core.as_model(Demand), class_key=class_key))

    def replays(self) -> Iterator[ReplayPage]:
        """Yield the pages of your runs, the newest first."""
        cursors = _waiting.Cursors()
        while cursors.has_more:
            page = self._http.run(_core.Call("GET", "/v1/replays", _core.as_model(ReplayPage), params=_calls.paged(cursors.cursor)))
            cursors.advance(page.next_cursor)
            yield page

    def replay(self, run_id: str) -> Replay:
        """Return one run of yours.

        Raises:
            NotFound: you have no such run.
        """
        return self._http.run(_core.get(f"/v1/replays/{_calls.path_id(run_id)}", _core.as_model(Replay)))

    def appeal(self, run_id: str, *, idempotency_key: str | None = None) -> Replay:
        """Have a run of yours that was judged invalid trained again by the trusted pool, at no cost; once a run. Return it with its appeal.

        Raises:
            NotFound: you have no such run.
            Conflict: it was not judged invalid, the time is over (`not_appealable`), or too many appeals came to nothing (`appeals_spent`).
        """
        call = _core.post(f"/v1/replays/{_calls.path_id(run_id)}/appeal", _core.as_model(Replay), body={}, idempotency_key=idempotency_key)
        return self._http.run(call)

    def fetch(self, url: str, *, sha256: str = "", largest_bytes: int = _core.LARGEST_FILE_BYTES) -> bytes:
        """Fetch an input and check its digest. The key goes along only to the market's own address.

        Raises:
            DigestMismatch: the bytes do not have this SHA-256.
            MalformedResponse: more than ``largest_bytes``.
            NotFound: the lease, and its address, have ended.
        """
        return self._http.run(_core.download(url, base_url=self._http.options.base_url, sha256=sha256, largest_bytes=largest_bytes))

    def close(self) -> None:
        """Close the connections, unless the caller brought them."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
