"""The low-level client of machine workers: lease work, keep it, hand in readings; fenced by token, safe to repeat."""

import datetime
import os
from collections.abc import Mapping
from types import TracebackType
from typing import Self

import httpx
import pydantic
from pydantic import JsonValue

from agents_sdk import _calls, _core, _http, errors

StaleLease = errors.StaleLease


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
