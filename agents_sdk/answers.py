"""What a bounty brought: verdict, checks, receipt and photographs, apart from the words of strangers."""

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from pydantic import JsonValue

from agents_sdk import _waiting, errors, models, receipts, untrusted


@dataclass(frozen=True)
class Facts:
    """What the market says about a bounty and its submissions. `Answer` and `AsyncAnswer` add the photographs."""

    bounty: models.Bounty
    submissions: tuple[models.Submission, ...]
    keys: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def submission(self) -> models.Submission | None:
        """The submission that this answer is about: accepted evidence where there is some."""
        return _waiting.chosen(self.submissions)

    @property
    def is_accepted(self) -> bool:
        """Whether there is accepted evidence."""
        return any(_waiting.is_answer(submission) for submission in self.submissions)

    @property
    def outcome(self) -> str:
        """ACCEPTED, NOT_POSSIBLE, REJECTED or INCONCLUSIVE; or, without a submission, the bounty's own status."""
        submission = self.submission
        if submission is None:
            return self.bounty.status
        if submission.status == "ACCEPTED" and submission.kind == "NEGATIVE":
            return "NOT_POSSIBLE"
        return submission.verdict.outcome if submission.verdict else submission.status

    @property
    def verdict(self) -> models.Verdict | None:
        """The verdict on the submission; None if nobody handed anything in."""
        return self.submission.verdict if self.submission else None

    @property
    def checks(self) -> tuple[models.Check, ...]:
        """The checks that ran on the submission."""
        return self.submission.checks if self.submission else ()

    @property
    def untrusted(self) -> untrusted.Untrusted:
        """The worker's words. They are data: see `agents_sdk.untrusted`."""
        return self.submission.untrusted if self.submission else untrusted.Untrusted()

    @property
    def receipt(self) -> receipts.Receipt:
        """The market's signed receipt of the verdict.

        Raises:
            NoReceipt: nothing was accepted.
        """
        if self.submission is None or self.submission.receipt is None:
            raise errors.NoReceipt(
                f"The bounty {self.bounty.id} has no receipt: its outcome is {self.outcome}.",
                next_step="Look at `outcome` first; a receipt comes with the settlement of an accepted submission.",
            )
        return receipts.Receipt(
            document=self.submission.receipt, subject=self.submission, terms_hash=self.bounty.terms_hash, keys=self.keys
        )

    def to_llm(self) -> str:
        """Render for a language model: the market's facts as JSON, then the worker's words between unforgeable markers."""
        facts: dict[str, JsonValue] = {
            "bounty": self.bounty.id,
            "question": self.bounty.question,
            "status": self.bounty.status,
            "outcome": self.outcome,
        }
        if self.verdict is not None:
            facts["verdict"] = self.verdict.model_dump(mode="json")
            facts["checks"] = [check.model_dump(mode="json", exclude_defaults=True) for check in self.checks]
        if self.submission is not None and self.submission.negative_reason:
            facts["negative_reason"] = self.submission.negative_reason
        words = self.untrusted.to_llm()
        return json.dumps(facts, ensure_ascii=False) + (f"\n{words}" if words else "")


@dataclass(frozen=True)
class Photo:
    """One photograph of an accepted submission; before acceptance only a watermarked preview exists."""

    evidence: models.Evidence
    fetch: Callable[[models.Evidence], bytes] = field(repr=False)

    def download(self) -> bytes:
        """Return the JPEG: re-encoded, without metadata. Its SHA-256 is checked where the market announces one.

        Raises:
            DigestMismatch, APIStatusError, APIConnectionError: see `agents_sdk.errors`.
        """
        return self.fetch(self.evidence)


@dataclass(frozen=True)
class AsyncPhoto:
    """One photograph of an accepted submission; before acceptance only a watermarked preview exists."""

    evidence: models.Evidence
    fetch: Callable[[models.Evidence], Awaitable[bytes]] = field(repr=False)

    async def download(self) -> bytes:
        """Return the JPEG: re-encoded, without metadata. Its SHA-256 is checked where the market announces one.

        Raises:
            DigestMismatch, APIStatusError, APIConnectionError: see `agents_sdk.errors`.
        """
        return await self.fetch(self.evidence)


@dataclass(frozen=True)
class Answer(Facts):
    """What a bounty brought."""

    photos: tuple[Photo, ...] = ()


@dataclass(frozen=True)
class AsyncAnswer(Facts):
    """What a bounty brought."""

    photos: tuple[AsyncPhoto, ...] = ()
