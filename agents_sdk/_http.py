"""The two thin shells that send what `_core` describes: one blocks, one awaits."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Self, TypeVar

import httpx
import pydantic

from agents_sdk import _core, _waiting, errors, models

T = TypeVar("T")
M = TypeVar("M", bound=pydantic.BaseModel)

# A server that drips bytes may keep an answer open for this many times the timeout between two bytes.
_DRIP_FACTOR = 4


class SyncHttp:
    """Sends calls and blocks. Safe to share between threads, as `httpx.Client` is."""

    def __init__(self, options: _core.Options, *, http_client: httpx.Client | None, sleep: Callable[[float], None] | None = None) -> None:
        self.options = options
        self.sleep = sleep or time.sleep
        self._owns_client = http_client is None
        self._client = http_client or httpx.Client()

    def with_options(self, options: _core.Options) -> Self:
        """Return a shell with other options over the same connections."""
        return type(self)(options, http_client=self._client, sleep=self.sleep)

    def run(self, call: _core.Call[T]) -> T:
        """Send ``call``, with retries as `_core.Attempts` says.

        Raises:
            AtomsError: see `agents_sdk.errors`.
        """
        attempts = _core.Attempts(call, self.options)
        while True:
            try:
                step = attempts.answered(self._exchange(attempts.request))
            except httpx.TransportError as error:
                step = attempts.lost(error)
            if isinstance(step, _core.Done):
                return step.value
            self.sleep(step.delay_s)

    def pages(self, call_for: Callable[[str], _core.Call[models.Page[M]]]) -> Iterator[M]:
        """Yield the objects of all pages; ``call_for`` makes the call for a cursor, "" for the first page."""
        cursors = _waiting.Cursors()
        while cursors.has_more:
            page = self.run(call_for(cursors.cursor))
            cursors.advance(page.next_cursor)
            yield from page.data

    def _exchange(self, request: _core.HttpRequest) -> _core.HttpReply:
        reading = _Reading(request)
        response = self._client.send(reading.built_by(self._client), stream=True, auth=None, follow_redirects=False)
        try:
            for chunk in _plain(response).iter_bytes():
                if not reading.wants_more_after(chunk):
                    break
        finally:
            response.close()
        return reading.reply(response)

    def close(self) -> None:
        """Close the connections, unless the caller brought them."""
        if self._owns_client:
            self._client.close()


class AsyncHttp:
    """Sends calls and awaits."""

    def __init__(
        self, options: _core.Options, *, http_client: httpx.AsyncClient | None, sleep: Callable[[float], Awaitable[None]] | None = None
    ) -> None:
        self.options = options
        self.sleep = sleep or asyncio.sleep
        self._owns_client = http_client is None
        self._client = http_client or httpx.AsyncClient()

    def with_options(self, options: _core.Options) -> Self:
        """Return a shell with other options over the same connections."""
        return type(self)(options, http_client=self._client, sleep=self.sleep)

    async def run(self, call: _core.Call[T]) -> T:
        """Send ``call``, with retries as `_core.Attempts` says.

        Raises:
            AtomsError: see `agents_sdk.errors`.
        """
        attempts = _core.Attempts(call, self.options)
        while True:
            try:
                step = attempts.answered(await self._exchange(attempts.request))
            except httpx.TransportError as error:
                step = attempts.lost(error)
            if isinstance(step, _core.Done):
                return step.value
            await self.sleep(step.delay_s)

    async def pages(self, call_for: Callable[[str], _core.Call[models.Page[M]]]) -> AsyncIterator[M]:
        """Yield the objects of all pages; ``call_for`` makes the call for a cursor, "" for the first page."""
        cursors = _waiting.Cursors()
        while cursors.has_more:
            page = await self.run(call_for(cursors.cursor))
            cursors.advance(page.next_cursor)
            for item in page.data:
                yield item

    async def _exchange(self, request: _core.HttpRequest) -> _core.HttpReply:
        reading = _Reading(request)
        response = await self._client.send(reading.built_by(self._client), stream=True, auth=None, follow_redirects=False)
        try:
            async for chunk in _plain(response).aiter_bytes():
                if not reading.wants_more_after(chunk):
                    break
        finally:
            await response.aclose()
        return reading.reply(response)

    async def close(self) -> None:
        """Close the connections, unless the caller brought them."""
        if self._owns_client:
            await self._client.aclose()


class _Reading:
    """One answer on its way in: kept within its size and its time."""

    def __init__(self, request: _core.HttpRequest) -> None:
        self._request = request
        self._content = bytearray()
        self._ends_at = time.monotonic() + _DRIP_FACTOR * request.timeout_s

    def built_by(self, client: httpx.Client | httpx.AsyncClient) -> httpx.Request:
        request = self._request
        timeout = httpx.Timeout(request.timeout_s, connect=min(request.timeout_s, 5.0))
        return client.build_request(request.method, request.url, headers=request.headers, content=request.content or None, timeout=timeout)

    def wants_more_after(self, chunk: bytes) -> bool:
        self._content += chunk
        if time.monotonic() > self._ends_at:
            raise httpx.ReadTimeout("The answer drips.")
        return len(self._content) <= self._request.largest_reply_bytes

    def reply(self, response: httpx.Response) -> _core.HttpReply:
        is_cut_off = len(self._content) > self._request.largest_reply_bytes
        return _core.HttpReply(response.status_code, response.headers, bytes(self._content), is_cut_off)


def _plain(response: httpx.Response) -> httpx.Response:
    """Return the response, unless reading it would unpack it: a compressed answer could be a thousand times its size."""
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise errors.MalformedResponse("The answer is compressed, though plain bytes were asked for.")
    return response
