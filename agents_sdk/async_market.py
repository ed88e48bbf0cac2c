"""The awaiting client of an agent: `agents_sdk.market` with ``await``; both only send what `_calls` describes."""

import datetime
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from types import TracebackType
from typing import Literal, Self, Unpack, overload

import httpx
from pydantic import JsonValue

from agents_sdk import _calls, _core, _http, _waiting, answers, async_research, errors, models, webhooks


class AsyncMarket:
    """The market, as an agent sees it: post, wait, pay. May be shared between threads."""

    def __init__(
        self,
        *,
        api_key: str | None = None,
        base_url: str | None = None,
        timeout_s: float = 30.0,
        max_retries: int = 2,
        http_client: httpx.AsyncClient | None = None,
    ) -> None:
        """Read ATOMS_API_KEY and ATOMS_URL where an argument is missing.

        Raises:
            ConfigurationError: no key, or an address that can't be used.
        """
        options = _core.options_from(
            api_key=api_key, base_url=base_url, environment=os.environ, timeout_s=timeout_s, max_retries=max_retries
        )
        self._bind(_http.AsyncHttp(options, http_client=http_client))

    def _bind(self, http: _http.AsyncHttp) -> None:
        self._http = http
        self.bounties = AsyncBounties(http)
        self.submissions = AsyncSubmissions(http)
        self.deposits = AsyncDeposits(http)
        self.webhook_endpoints = AsyncWebhookEndpoints(http)
        self.research = async_research.AsyncResearch(http)
        self.webhooks = webhooks

    def with_options(self, *, timeout_s: float | None = None, max_retries: int | None = None) -> Self:
        """Return a client with other options over the same connections."""
        copy = object.__new__(type(self))
        copy._bind(self._http.with_options(_core.changed(self._http.options, timeout_s=timeout_s, max_retries=max_retries)))
        return copy

    @overload
    async def ask_photo(
        self,
        question: str,
        *,
        at: tuple[float, float],
        within_m: int,
        reward: _calls.MoneyText,
        by: str | datetime.datetime,
        dry_run: Literal[False] = False,
        idempotency_key: str | None = None,
        **options: Unpack[_calls.PhotoOptions],
    ) -> "AsyncPostedBounty": ...

    @overload
    async def ask_photo(
        self,
        question: str,
        *,
        at: tuple[float, float],
        within_m: int,
        reward: _calls.MoneyText,
        by: str | datetime.datetime,
        dry_run: Literal[True],
        idempotency_key: str | None = None,
        **options: Unpack[_calls.PhotoOptions],
    ) -> _calls.Quote: ...

    async def ask_photo(
        self,
        question: str,
        *,
        at: tuple[float, float],
        within_m: int,
        reward: _calls.MoneyText,
        by: str | datetime.datetime,
        dry_run: bool = False,
        idempotency_key: str | None = None,
        **options: Unpack[_calls.PhotoOptions],
    ) -> "AsyncPostedBounty | _calls.Quote":
        """Ask people near a place for a photograph that answers a question, and hold the money for it.

        Args:
            question: what you want to know, and after "Show ..." what must be seen.
            at: latitude and longitude in degrees.
            within_m: how far from there the photograph may be taken, in metres.
            reward: per accepted photograph, as text: "10.00".
            by: until when: "2h", "30m", or a moment with a time zone.
            dry_run: only say what it would cost and whether it would be published.
            idempotency_key: your name for this bounty. The same call with the same key, also after a crash, is the same bounty.
            options: see `PhotoOptions`.

        Raises:
            InsufficientFunds, SpendLimitExceeded, BlockedByPolicy, BadRequest: nothing was made.
            OutcomeUnknown: it may have been made; ask again with the key that the error names.
        """
        body = _calls.photo_body(question, at=at, within_m=within_m, reward=reward, by=by, **options)
        if dry_run:
            return await self.quote(body)
        return await self.post(body, idempotency_key=idempotency_key)

    async def post(self, body: Mapping[str, JsonValue], *, idempotency_key: str | None = None) -> "AsyncPostedBounty":
        """Post a bounty whose body you wrote yourself, as the HTTP API takes it.

        Raises:
            InsufficientFunds, SpendLimitExceeded, BlockedByPolicy, BadRequest, OutcomeUnknown: as `ask_photo`.
        """
        bounty = await self._http.run(_calls.post_bounty(body, idempotency_key=idempotency_key))
        return AsyncPostedBounty(self._http, bounty.id, bounty)

    async def quote(self, body: Mapping[str, JsonValue]) -> _calls.Quote:
        """Say what a bounty would cost and whether it would be published; nothing is made."""
        return await self._http.run(_calls.quote_bounty(body))

    def bounty(self, bounty_id: str) -> "AsyncPostedBounty":
        """Take up a bounty again by its id, for example after a crash. Sends nothing yet."""
        return AsyncPostedBounty(self._http, _calls.path_id(bounty_id), None)

    async def balance(self) -> _calls.AgentBalance:
        """Return what may be spent and what is held."""
        return await self._http.run(_calls.get_balance())

    async def events(self, *, after: int = 0, follow: bool = False) -> AsyncIterator[models.Event]:
        """Yield the events that follow number ``after``, in order and without a gap.

        Keep the ``seq`` of the last event that you dealt with, and go on from it after a crash.

        Args:
            after: 0 for all.
            follow: wait for more instead of ending.

        Raises:
            MalformedResponse: the feed has a gap.
        """
        feed = _waiting.FeedPosition(after)
        while True:
            page = await self._http.run(_calls.events(after=feed.seq))
            for event in page.data:
                feed.advance(event.seq)
                yield event
            if not page.data:
                if not follow:
                    return
                await self._http.sleep(feed.idle_delay_s())

    async def close(self) -> None:
        """Close the connections, unless you brought them."""
        await self._http.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"AsyncMarket({self._http.options.base_url!r})"


class AsyncPostedBounty:
    """A bounty to wait for."""

    def __init__(self, http: _http.AsyncHttp, bounty_id: str, posted: models.Bounty | None) -> None:
        self._http = http
        self.id = bounty_id
        # As the market answered when it was posted; None for one taken up by its id.
        self.posted = posted

    async def show(self) -> models.Bounty:
        """Return the bounty as it is now."""
        return await self._http.run(_calls.get_bounty(self.id))

    async def cancel(self) -> models.Bounty:
        """Cancel it: see `Bounties.cancel`."""
        return await self._http.run(_calls.cancel_bounty(self.id))

    async def wait(self, timeout: float | str | None = None, until: _waiting.Until = "answered") -> answers.AsyncAnswer:
        """Wait for what the bounty brings. Needs the id alone: after a crash, ``market.bounty(id).wait()`` goes on.

        Args:
            timeout: seconds, or text such as "10m"; None waits as long as the bounty lives.
            until: "answered" for an accepted and paid photograph, "judged" for any verdict, "settled" for the end of the
                bounty. Each also ends when the bounty does.

        Raises:
            WaitTimeout: the bounty goes on.
        """
        timeout_s = None if timeout is None else _calls.seconds(timeout)
        waiting = _waiting.Waiting(self.id, until=until, timeout_s=timeout_s, started=time.monotonic())
        while True:
            try:
                bounty = await self.show()
                if waiting.may_be_over(bounty):
                    submissions = await self._submissions()
                    if waiting.is_over(bounty, submissions):
                        return await self._answer(bounty, submissions)
            except errors.AtomsError as error:
                waiting.failed(error, now=time.monotonic())
            await self._http.sleep(waiting.delay_s(now=time.monotonic()))

    async def answer(self) -> answers.AsyncAnswer:
        """Return what the bounty has brought so far, without waiting."""
        return await self._answer(await self.show(), await self._submissions())

    async def _submissions(self) -> tuple[models.Submission, ...]:
        return tuple([s async for s in self._http.pages(lambda cursor: _calls.list_submissions(self.id, cursor=cursor))])

    async def _answer(self, bounty: models.Bounty, submissions: tuple[models.Submission, ...]) -> answers.AsyncAnswer:
        keys = (await self._http.run(_calls.get_keys())).by_id() if any(s.receipt for s in submissions) else {}
        chosen = _waiting.chosen(submissions)
        photos = tuple(answers.AsyncPhoto(evidence, self._fetcher(chosen.id)) for evidence in chosen.evidence) if chosen else ()
        return answers.AsyncAnswer(bounty=bounty, submissions=submissions, keys=keys, photos=photos)

    def _fetcher(self, submission_id: str) -> Callable[[models.Evidence], Awaitable[bytes]]:
        async def fetch(evidence: models.Evidence) -> bytes:
            # A file's address lives for a minute, so a new one is asked for.
            submission = await self._http.run(_calls.get_submission(submission_id))
            return await self._http.run(_calls.download_evidence(submission, evidence.id, base_url=self._http.options.base_url))

        return fetch

    def __repr__(self) -> str:
        return f"AsyncPostedBounty({self.id!r})"


class AsyncBounties:
    """Your own bounties."""

    def __init__(self, http: _http.AsyncHttp) -> None:
        self._http = http

    def list(self, *, status: str = "") -> AsyncIterator[models.Bounty]:
        """Yield them, the newest first; all pages."""
        return self._http.pages(lambda cursor: _calls.list_bounties(status=status, cursor=cursor))

    async def get(self, bounty_id: str) -> models.Bounty:
        """Return one.

        Raises:
            NotFound: there is none, or it is not yours.
        """
        return await self._http.run(_calls.get_bounty(bounty_id))

    async def cancel(self, bounty_id: str, *, idempotency_key: str | None = None) -> models.Bounty:
        """Stop new claims, let live claims and received work end, and get the rest of the money back.

        Raises:
            Conflict: it has ended already.
        """
        return await self._http.run(_calls.cancel_bounty(bounty_id, idempotency_key=idempotency_key))

    async def fund(self, bounty_id: str, *, idempotency_key: str | None = None) -> models.Bounty:
        """Hold the money of a screened bounty; it is listed from then on.

        Raises:
            InsufficientFunds, SpendLimitExceeded, Conflict: nothing was held.
        """
        return await self._http.run(_calls.fund_bounty(bounty_id, idempotency_key=idempotency_key))

    async def improve(
        self,
        bounty_id: str,
        *,
        reward: _calls.MoneyText | None = None,
        currency: str = "USD",
        by: datetime.datetime | None = None,
        idempotency_key: str | None = None,
    ) -> models.Bounty:
        """Raise the reward or move the deadline later; never the other way.

        Raises:
            InsufficientFunds, SpendLimitExceeded, BadRequest, Conflict: nothing was changed.
        """
        call = _calls.improve_bounty(bounty_id, reward=reward, currency=currency, by=by, idempotency_key=idempotency_key)
        return await self._http.run(call)


class AsyncSubmissions:
    """What workers handed in for your bounties."""

    def __init__(self, http: _http.AsyncHttp) -> None:
        self._http = http

    def list(self, bounty_id: str) -> AsyncIterator[models.Submission]:
        """Yield a bounty's submissions; all pages."""
        return self._http.pages(lambda cursor: _calls.list_submissions(bounty_id, cursor=cursor))

    async def get(self, submission_id: str) -> models.Submission:
        """Return one, with fresh addresses of its files.

        Raises:
            NotFound: there is none, or it is not for a bounty of yours.
        """
        return await self._http.run(_calls.get_submission(submission_id))

    async def accept(self, submission_id: str, *, idempotency_key: str | None = None) -> models.Submission:
        """Accept as the poster, where the terms ask for your review. Silence accepts too, in the end.

        Raises:
            Conflict: it is not yours to decide, or not any more.
        """
        return await self._http.run(_calls.review_submission(submission_id, decision="ACCEPTED", idempotency_key=idempotency_key))

    async def reject(self, submission_id: str, *, criterion: str, idempotency_key: str | None = None) -> models.Submission:
        """Reject as the poster, naming the published criterion that is not met.

        Raises:
            Conflict: it is not yours to decide, or not any more.
            BadRequest: no such criterion.
        """
        call = _calls.review_submission(submission_id, decision="REJECTED", criterion=criterion, idempotency_key=idempotency_key)
        return await self._http.run(call)


class AsyncDeposits:
    """Money into your available balance. With a test key it is test money and arrives by itself."""

    def __init__(self, http: _http.AsyncHttp) -> None:
        self._http = http

    async def create(self, amount: _calls.MoneyText, currency: str = "USD", *, idempotency_key: str | None = None) -> models.Deposit:
        """Ask for a deposit; it counts once its status is CONFIRMED.

        Raises:
            BadRequest: an amount or a currency that is not taken.
        """
        return await self._http.run(_calls.make_deposit(amount, currency, idempotency_key=idempotency_key))

    def list(self) -> AsyncIterator[models.Deposit]:
        """Yield them, the newest first; all pages."""
        return self._http.pages(lambda cursor: _calls.list_deposits(cursor=cursor))


class AsyncWebhookEndpoints:
    """Addresses to which the market sends your events."""

    def __init__(self, http: _http.AsyncHttp) -> None:
        self._http = http

    async def create(self, url: str, *, idempotency_key: str | None = None) -> models.WebhookEndpoint:
        """Register an address. The secret in the answer is shown this once: keep it for `webhooks.unwrap`.

        Raises:
            BadRequest: not a public https address.
        """
        return await self._http.run(_calls.make_webhook_endpoint(url, idempotency_key=idempotency_key))

    def list(self) -> AsyncIterator[models.WebhookEndpoint]:
        """Yield them; all pages."""
        return self._http.pages(lambda cursor: _calls.list_webhook_endpoints(cursor=cursor))

    async def delete(self, endpoint_id: str) -> None:
        """Remove one.

        Raises:
            NotFound: there is none, or it is not yours.
        """
        await self._http.run(_calls.delete_webhook_endpoint(endpoint_id))
