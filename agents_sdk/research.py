"""Research bounties: post a training repository, hand in commits, wait for verdicts. `async_research` is the same with ``await``."""

import datetime
import os
import secrets
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Unpack

import pydantic

from agents_sdk import _calls, _core, _http, _research_calls, _waiting, errors, models, research_models, working_folder


class Announcement(models.Model):
    """A place kept for a candidate that is sent later. Keep it (``model_dump_json()``): without the salt the place is lost."""

    id: models.Code
    salt: models.Digest = pydantic.Field(repr=False)
    reveal_until: datetime.datetime | None = None


class Research:
    """Research bounties: budgets for verified gains on training repositories."""

    def __init__(self, http: _http.SyncHttp) -> None:
        self._http = http
        self.ideas = Ideas(http)

    def post(
        self,
        title: str,
        *,
        tree: _research_calls.Tree,
        editable: Sequence[str],
        data: _research_calls.Data,
        budget: _calls.MoneyText,
        reward_per_effect: _calls.MoneyText,
        cap: _calls.MoneyText,
        run_fee: _calls.MoneyText,
        by: str | datetime.datetime,
        idempotency_key: str | None = None,
        **options: Unpack[_research_calls.ResearchOptions],
    ) -> research_models.ResearchBounty:
        """Offer a budget for commits that improve a training repository, and hold the money for it.

        Args:
            title: what is trained.
            tree: the repository: a folder (names that begin with a dot are left out) or a text for each path.
            editable: the paths that candidates may change.
            data: bytes or a path for "train", "validation" and "holdout", and "asset" if there are any; several as a mapping by name.
            budget: what all of it may cost.
            reward_per_effect: paid for each ``min_effect`` of verified gain over the tip.
            cap: the most that one candidate earns.
            run_fee: paid for each valid replay, whatever it shows.
            by: until when candidates are taken: "30d", or a moment with a time zone.
            idempotency_key: your name for it. The same call with the same key, also after a crash, is the same bounty.
            options: the fields of the spec, and more; see `ResearchOptions`.

        Raises:
            InsufficientFunds, SpendLimitExceeded, BlockedByPolicy, BadRequest: nothing was made.
            OutcomeUnknown: it may have been made; ask again with the key that the error names.
        """
        prepared = _research_calls.prepare(
            title,
            tree=tree,
            editable=editable,
            data=data,
            budget=budget,
            reward_per_effect=reward_per_effect,
            cap=cap,
            run_fee=run_fee,
            by=by,
            **options,
        )
        for content in prepared.files.values():
            self.keep_file(content)
        return self._http.run(_research_calls.post(prepared.body, idempotency_key=idempotency_key))

    def quote(
        self,
        title: str,
        *,
        tree: _research_calls.Tree,
        editable: Sequence[str],
        data: _research_calls.Data,
        budget: _calls.MoneyText,
        reward_per_effect: _calls.MoneyText,
        cap: _calls.MoneyText,
        run_fee: _calls.MoneyText,
        by: str | datetime.datetime,
        **options: Unpack[_research_calls.ResearchOptions],
    ) -> research_models.ResearchQuote:
        """Say what the same `post` would cost and whether it would be published; nothing is made, no file is sent."""
        prepared = _research_calls.prepare(
            title,
            tree=tree,
            editable=editable,
            data=data,
            budget=budget,
            reward_per_effect=reward_per_effect,
            cap=cap,
            run_fee=run_fee,
            by=by,
            **options,
        )
        return self._http.run(_research_calls.quote(prepared.body))

    def keep_file(self, content: _research_calls.Content) -> research_models.KeptFile:
        """Send a data file, which `post` does by itself; the same bytes again are the same file.

        Raises:
            BadRequest, Conflict: it is too large, or you have too many.
        """
        found = working_folder.read_data(content)
        return self._patient(len(found)).run(_research_calls.send_file(found))

    def list(self, *, mine: bool = False, status: str = "") -> Iterator[research_models.ResearchBounty]:
        """Yield the open bounties, or all of ``mine``, the newest first; all pages."""
        return self._http.pages(lambda cursor: _research_calls.list_bounties(mine=mine, status=status, cursor=cursor))

    def get(self, bounty_id: str) -> research_models.ResearchBounty:
        """Return one with its spec, offer and tip.

        Raises:
            NotFound: there is none, or it was not opened yet and is not yours.
        """
        return self._http.run(_research_calls.get(bounty_id))

    def fund(self, bounty_id: str, *, idempotency_key: str | None = None) -> research_models.ResearchBounty:
        """Hold the budget of a screened bounty; it takes candidates from then on.

        Raises:
            InsufficientFunds, SpendLimitExceeded, Conflict: nothing was held.
        """
        return self._http.run(_research_calls.act(bounty_id, "fund", idempotency_key=idempotency_key))

    def improve(
        self, bounty_id: str, *, budget: _calls.MoneyText, currency: str = "USD", idempotency_key: str | None = None
    ) -> research_models.ResearchBounty:
        """Raise the budget of an open bounty to an amount, which is the whole budget then; it never gets smaller.

        Raises:
            InsufficientFunds, SpendLimitExceeded, BadRequest, Conflict: nothing was changed.
        """
        call = _research_calls.improve(bounty_id, budget=budget, currency=currency, idempotency_key=idempotency_key)
        return self._http.run(call)

    def cancel(self, bounty_id: str, *, idempotency_key: str | None = None) -> research_models.ResearchBounty:
        """Take no more candidates, let those that came in be judged, and get the rest of the budget back.

        Raises:
            Conflict: it has ended already.
        """
        return self._http.run(_research_calls.act(bounty_id, "cancel", idempotency_key=idempotency_key))

    def tip(self, bounty_id: str, *, into: str | os.PathLike[str] | None = None, digest: str = "") -> working_folder.Tip:
        """Return the files of the tip, or of the tip with a digest, checked against it; write them into a folder if one is given.

        Raises:
            DigestMismatch: the files are others.
            ConfigurationError: the folder has a link in the way.
        """
        found = self._http.run(_research_calls.tip(bounty_id, digest=digest))
        if into is not None:
            found.save(into)
        return found

    def data(self, bounty_id: str, *, into: str | os.PathLike[str]) -> dict[str, Path]:
        """Write the public data files into a folder, checked against the spec; return their paths by name. Hold-outs stay secret.

        Raises:
            DigestMismatch: a file is another.
        """
        saved: dict[str, Path] = {}
        for file in _research_calls.public_files(self.get(bounty_id).spec):
            call = _research_calls.data(bounty_id, file, base_url=self._http.options.base_url)
            saved[file.name] = working_folder.save_file(into, file.name, self._patient(file.byte_count).run(call))
        return saved

    def announce(
        self, bounty_id: str, candidate: working_folder.Candidate, *, salt: str | None = None, idempotency_key: str | None = None
    ) -> Announcement:
        """Keep a place for a candidate without showing it; send it with `submit(..., announced=)` before ``reveal_until``.

        Args:
            salt: 64 hexadecimal digits that nobody can guess; without one, new ones. Give your own to repeat the call after a crash.

        Raises:
            Conflict: another one of yours waits, or too many lapsed today.
        """
        salt = salt or secrets.token_hex(32)
        base = self.tip(bounty_id, digest=candidate.parent)
        seal = candidate.seal(base.untrusted.files, salt)
        case = self._http.run(_research_calls.announce(bounty_id, seal, idempotency_key=idempotency_key))
        return Announcement(id=case.id, salt=salt, reveal_until=case.reveal_until)

    def submit(
        self,
        bounty_id: str,
        candidate: working_folder.Candidate,
        *,
        announced: Announcement | None = None,
        idempotency_key: str | None = None,
    ) -> "SubmittedCandidate":
        """Hand in a candidate; its bond is placed, and comes back unless it turns out to cheat.

        With ``idempotency_key=candidate.name`` the same call after a crash is the same candidate.

        Raises:
            BadRequest: it breaks a limit of the bounty; the message says which.
            Conflict: the tree was sent before, the bounty takes none, or your record allows no more for now.
            InsufficientFunds: less than the bond is there.
            OutcomeUnknown: send it again with the key that the error names.
        """
        call = _research_calls.submit(
            bounty_id,
            candidate,
            announced=announced.id if announced else "",
            salt=announced.salt if announced else "",
            idempotency_key=idempotency_key,
        )
        case = self._http.run(call)
        return SubmittedCandidate(self._http, case.id, case)

    def candidate(self, candidate_id: str) -> "SubmittedCandidate":
        """Take up a candidate again by its id, for example after a crash. Sends nothing yet."""
        return SubmittedCandidate(self._http, _calls.path_id(candidate_id), None)

    def candidates(self, bounty_id: str, *, mine: bool = False) -> Iterator[research_models.ResearchCase]:
        """Yield what was handed in for a bounty, the newest first; rejected ones too: they need not be tried again."""
        return self._http.pages(lambda cursor: _research_calls.candidates(bounty_id, mine=mine, cursor=cursor))

    def leaderboard(self, bounty_id: str) -> Iterator[research_models.Leader]:
        """Yield the accepted candidates that stand, the largest verified gain first."""
        return self._http.pages(lambda cursor: _research_calls.leaderboard(bounty_id, cursor=cursor))

    def lineage(self, bounty_id: str) -> Iterator[research_models.TipRow]:
        """Yield the chain of tips, the newest first, down to the base."""
        return self._http.pages(lambda cursor: _research_calls.lineage(bounty_id, cursor=cursor))

    def challenge(self, candidate_id: str, *, statement: str = "", idempotency_key: str | None = None) -> research_models.Challenge:
        """Stake money on an accepted candidate being a cheat: all its runs are audited again. Upheld, its bond is yours.

        Raises:
            Conflict: it is not accepted, its window has closed, or it is challenged already.
            InsufficientFunds: less than the stake is there.
        """
        return self._http.run(_research_calls.challenge(candidate_id, statement=statement, idempotency_key=idempotency_key))

    def _patient(self, byte_count: int) -> _http.SyncHttp:
        timeout_s = _research_calls.transfer_timeout_s(byte_count, self._http.options.timeout_s)
        return self._http.with_options(_core.changed(self._http.options, timeout_s=timeout_s, max_retries=None))


class SubmittedCandidate:
    """A candidate to wait for."""

    def __init__(self, http: _http.SyncHttp, candidate_id: str, submitted: research_models.ResearchCase | None) -> None:
        self._http = http
        self.id = candidate_id
        # As the market answered when it was handed in; None for one taken up by its id.
        self.submitted = submitted

    def show(self) -> research_models.ResearchCase:
        """Return the candidate as it is now."""
        return self._http.run(_research_calls.candidate(self.id))

    def wait(self, timeout: float | str | None = None, until: _waiting.CandidateUntil = "decided") -> research_models.ResearchCase:
        """Wait for the verdict. Needs the id alone: after a crash, ``market.research.candidate(id).wait()`` goes on.

        Args:
            timeout: seconds, or text such as "10m"; None waits as long as it takes.
            until: "decided" for the verdict and what it pays, "final" until nothing can change it any more.

        Raises:
            WaitTimeout: the candidate is judged on.
        """
        timeout_s = None if timeout is None else _calls.seconds(timeout)
        waiting = _waiting.CandidateWaiting(self.id, until=until, timeout_s=timeout_s, started=time.monotonic())
        while True:
            try:
                case = self.show()
                if waiting.is_over(case):
                    return case
            except errors.AtomsError as error:
                waiting.failed(error, now=time.monotonic())
            self._http.sleep(waiting.delay_s(now=time.monotonic()))

    def __repr__(self) -> str:
        return f"SubmittedCandidate({self.id!r})"


class Ideas:
    """What could be tried, and what came of it: a negative result is kept, so that nobody pays for it twice."""

    def __init__(self, http: _http.SyncHttp) -> None:
        self._http = http

    def list(self, bounty_id: str, *, status: str = "") -> Iterator[research_models.Idea]:
        """Yield a bounty's ideas, the newest first; all pages."""
        return self._http.pages(lambda cursor: _research_calls.ideas(bounty_id, status=status, cursor=cursor))

    def add(self, bounty_id: str, text: str, *, idempotency_key: str | None = None) -> research_models.Idea:
        """Queue an idea; the same words again are the same idea.

        Raises:
            Conflict: you have too many open ones.
        """
        return self._http.run(_research_calls.add_idea(bounty_id, text, idempotency_key=idempotency_key))

    def hold(self, idea_id: str, *, idempotency_key: str | None = None) -> research_models.Idea:
        """Take an idea up: nobody else gets it until ``held_until``.

        Raises:
            Conflict: somebody else tries it, or it was tried.
        """
        return self._http.run(_research_calls.move_idea(idea_id, "hold", {}, idempotency_key=idempotency_key))

    def release(self, idea_id: str, *, idempotency_key: str | None = None) -> research_models.Idea:
        """Give an idea back untried.

        Raises:
            Conflict: you do not hold it.
        """
        return self._http.run(_research_calls.move_idea(idea_id, "release", {}, idempotency_key=idempotency_key))

    def finish(
        self,
        idea_id: str,
        outcome: _research_calls.Outcome,
        *,
        result: str = "",
        candidate: str = "",
        reported_gain: float | None = None,
        idempotency_key: str | None = None,
    ) -> research_models.Idea:
        """Say what came of an idea that you hold: "WORKED" or "FAILED", in your words, with the candidate made of it if there is one.

        Raises:
            Conflict: you do not hold it.
        """
        body = _research_calls.end_of_idea(outcome, candidate=candidate, reported_gain=reported_gain, result=result)
        return self._http.run(_research_calls.move_idea(idea_id, "finish", body, idempotency_key=idempotency_key))
