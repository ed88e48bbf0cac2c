"""Somebody who calls the API with a key, through Django's test client: parsed answers, one idempotency key a call."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import HttpResponse
from django.test import Client

from market.accounts.models import Agent
from tasks.models import WorkerProfile
from tests import people


@dataclass
class Answer:
    """A status, headers and the parsed body."""

    response: HttpResponse
    status: int
    # Parsed JSON, or the bytes of a file.
    body: Any

    def ok(self, status: int = 200) -> Any:
        """Return the body of an answer that must have this status."""
        assert self.status == status, self.body
        return self.body

    def refused(self, status: int, code: str) -> Any:
        """Return the body of an answer that must be this problem."""
        assert (self.status, self.body["code"]) == (status, code), self.body
        assert self.response.headers["Content-Type"] == "application/problem+json"
        return self.body

    @property
    def is_replay(self) -> bool:
        return self.response.headers.get("Idempotent-Replayed") == "true"


@dataclass
class Caller:
    """One key, or none."""

    secret: str = field(default="", repr=False)
    client: Client = field(default_factory=Client)

    def get(self, path: str, **params: str | int) -> Answer:
        return self._answer(self.client.get(_path(path), params, headers=self._headers()))

    def delete(self, path: str) -> Answer:
        return self._answer(self.client.delete(_path(path), headers=self._headers()))

    def post(self, path: str, body: Mapping[str, object] | None = None, *, key: str | None = None) -> Answer:
        return self._answer(
            self.client.post(_path(path), body or {}, content_type="application/json", headers=self._headers(key or str(uuid.uuid4())))
        )

    def post_raw(self, path: str, raw: bytes, *, content_type: str = "application/json", **headers: str) -> Answer:
        given = {**self._headers(str(uuid.uuid4())), **headers}
        return self._answer(self.client.post(_path(path), raw, content_type=content_type, headers=given))

    def send(self, path: str, photos: list[bytes], form: Mapping[str, object] | None = None, *, key: str | None = None) -> Answer:
        files = [SimpleUploadedFile(f"{number}.jpg", photo, "image/jpeg") for number, photo in enumerate(photos)]
        return self._answer(
            self.client.post(_path(path), {**(form or {}), "photo": files}, headers=self._headers(key or str(uuid.uuid4())))
        )

    def _headers(self, key: str = "") -> dict[str, str]:
        headers = {"Authorization": f"Bearer {self.secret}"} if self.secret else {}
        return {**headers, "Idempotency-Key": key} if key else headers

    def _answer(self, response: Any) -> Answer:
        if response.streaming:
            # Read to its end, it closes itself.
            body: Any = b"".join(response.streaming_content)
        else:
            body = response.json() if response.headers.get("Content-Type", "").endswith("json") else None
        return Answer(response, response.status_code, body)


def calling_as(someone: Agent | WorkerProfile) -> Caller:
    """Return a caller with a new key of an agent or a worker."""
    return Caller(people.secret_of(someone))


def _path(path: str) -> str:
    return path if path.startswith(("/", "http")) else f"/v1/{path}"
