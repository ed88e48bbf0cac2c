"""What the market answers about research bounties, as frozen typed objects. Words and files of strangers live in ``untrusted`` alone."""

import datetime
from typing import Annotated

import pydantic
from pydantic import JsonValue

from agents_sdk import models, untrusted

DECIDED = frozenset({"ACCEPTED", "REJECTED", "INCONCLUSIVE", "LAPSED"})
FINISHED = frozenset({"SETTLED", "CANCELLED", "EXPIRED", "BLOCKED"})

Whole = Annotated[int, pydantic.Field(ge=0, le=2**53)]
Finite = Annotated[float, pydantic.Field(allow_inf_nan=False)]
# As `verification.replay.trees` has it: no part begins with a dot, so nothing can be written outside a folder, nor into `.git`.
Path = Annotated[
    str,
    pydantic.StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}(/[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}){0,5}$", max_length=200),
]
# Names of hardware have spaces: "NVIDIA H100 80GB HBM3". A class key has several parts.
Hardware = Annotated[str, pydantic.StringConstraints(pattern=r"^[A-Za-z0-9 ._+()/-]{1,64}$")]
ClassKey = Annotated[str, pydantic.StringConstraints(pattern=r"^[A-Za-z0-9 ._+()/;=|,:-]{0,300}$")]


class ResearchWords(untrusted.Hidden):
    """What strangers wrote: title and description of a bounty, a note, an idea and what came of it, a statement."""

    title: untrusted.Cleaned = pydantic.Field(default="", repr=False)
    description: untrusted.LongCleaned = pydantic.Field(default="", repr=False)
    note: untrusted.Cleaned = pydantic.Field(default="", repr=False)
    text: untrusted.Cleaned = pydantic.Field(default="", repr=False)
    result: untrusted.Cleaned = pydantic.Field(default="", repr=False)
    statement: untrusted.Cleaned = pydantic.Field(default="", repr=False)


class DataFile(models.Model):
    """One file that runs or their evaluation read; of a "holdout" file only this row is known."""

    name: models.Code
    role: models.Code
    sha256: models.Digest
    byte_count: Whole

    @property
    def is_public(self) -> bool:
        """Whether `Research.data` gives it to you."""
        return self.role != "holdout"


class Spec(models.Model):
    """How candidates are trained and judged. Fields as in docs/api/research.md; unknown ones of a later version are dropped."""

    version: int = 1
    interface: Annotated[str, pydantic.StringConstraints(pattern=r"^[a-z]{1,20}/[0-9]{1,3}$")]
    base_tree: models.Digest
    editable: tuple[Path, ...]
    max_tree_bytes: Whole
    data: tuple[DataFile, ...]
    steps: Whole
    rows: Whole
    sequence: Whole
    checkpoint_every: Whole
    vocabulary: Whole
    wall_s: Whole
    max_parameters: Whole
    memory_mib: Whole
    eval_tokens: Whole
    metric: models.Code
    token_bytes: models.CodeOrEmpty = ""
    min_effect: Finite
    unpaired_sd: Finite
    paired_sd: Finite
    max_pairs: Whole
    hardware: tuple[Hardware, ...]
    precision: models.Code
    sandbox_level: models.Code
    is_confirmed_on_second_class: bool = False

    def files(self, role: str) -> tuple[DataFile, ...]:
        """Return the data files of one role."""
        return tuple(file for file in self.data if file.role == role)


class Offer(models.Model):
    """The money side: for each ``min_effect`` of verified gain ``reward_per_effect``, up to ``cap``; ``run_fee`` for each valid run."""

    budget: models.Money
    reward_per_effect: models.Money
    cap: models.Money
    run_fee: models.Money
    bond: models.Money
    challenge_stake: models.Money
    challenge_window_s: Whole
    max_runs: Whole = 0


class TipRow(models.Model):
    """One accepted commit of a bounty's chain, number 0 is the base. ``digest`` is what a candidate names as its parent."""

    number: Whole
    digest: models.Digest
    parent_number: Whole | None = None
    candidate: models.CodeOrEmpty = ""
    gain: Finite | None = None
    shrunk_gain: Finite | None = None
    created_at: datetime.datetime | None = None
    # Set if a later check found that it cheats: it is no tip any more.
    withdrawn_at: datetime.datetime | None = None


class ResearchBounty(models.Model):
    """A budget for verified gains on a training repository."""

    id: models.Code
    mode: models.CodeOrEmpty = ""
    status: models.Code
    closed_because: models.CodeOrEmpty = ""
    is_yours: bool = False
    spec: Spec
    spec_digest: models.Digest
    offer: Offer
    # What is neither spent nor reserved for candidates under way.
    free: models.Money | None = None
    tip: TipRow | None = None
    terms_hash: models.DigestOrEmpty = ""
    deadline: datetime.datetime | None = None
    # Its poster's alone to see.
    policy: models.Policy | None = None
    held: models.Held | None = None
    untrusted: ResearchWords = ResearchWords()
    created_at: datetime.datetime | None = None
    funded_at: datetime.datetime | None = None
    closed_at: datetime.datetime | None = None
    url: models.Address = ""

    @property
    def is_finished(self) -> bool:
        """Whether it takes no candidate any more and holds no money."""
        return self.status in FINISHED


class Warned(models.Model):
    """What may be done, and should be known first."""

    code: models.Code
    message: models.Words = ""


class ResearchQuote(models.Model):
    """What a research bounty would cost and whether it would be published; nothing was made."""

    total: models.Money
    # What one candidate may cost at most, and how many of such the budget surely pays.
    most_a_candidate: models.Money
    sure_candidates: Whole = 0
    offer: Offer
    policy: models.Policy
    warnings: tuple[Warned, ...] = ()


class Point(models.Model):
    """The sequential test after one pair: it ends ACCEPT above ``upper``, REJECT below ``lower``."""

    pairs: Whole
    llr: Finite
    upper: Finite
    lower: Finite


class Bond(models.Model):
    """What backs a candidate's word: PLACED, then RETURNED or LOST."""

    amount: models.Money
    status: models.Code


class ResearchCase(models.Model):
    """A commit that was handed in, and its way to a verdict. ``reason_code`` says why, ``reason`` in a sentence of the market's."""

    id: models.Code
    bounty: models.CodeOrEmpty = ""
    status: models.Code
    place: Whole = 0
    is_yours: bool = False
    # Nothing can change the verdict any more: the challenge window has closed.
    is_final: bool = False
    reason_code: models.CodeOrEmpty = ""
    reason: models.Words = ""
    parent: models.DigestOrEmpty = ""
    tree: models.DigestOrEmpty = ""
    rebase_count: Whole = 0
    # Its number in the chain, if it was accepted.
    tip_number: Whole | None = None
    reported_gain: Finite | None = None
    gain: Finite | None = None
    shrunk_gain: Finite | None = None
    pairs: Whole = 0
    path: tuple[Point, ...] = ()
    reward: models.Money | None = None
    bond: Bond | None = None
    receipt: dict[str, JsonValue] | None = pydantic.Field(default=None, repr=False)
    untrusted: ResearchWords = ResearchWords()
    reveal_until: datetime.datetime | None = None
    received_at: datetime.datetime | None = None
    decided_at: datetime.datetime | None = None
    final_at: datetime.datetime | None = None
    created_at: datetime.datetime | None = None

    @property
    def is_decided(self) -> bool:
        """Whether there is a verdict, or none will come."""
        return self.status in DECIDED

    @property
    def is_settled(self) -> bool:
        """Whether it is known what the verdict pays, a moment after it; or that there will be none."""
        return self.status == "LAPSED" or (self.is_decided and self.reward is not None)

    @property
    def is_accepted(self) -> bool:
        """Whether it is, or was, the tip."""
        return self.status == "ACCEPTED"


class Leader(models.Model):
    """One row of the leaderboard: an accepted commit that stands, the largest verified gain first."""

    rank: Whole
    candidate: models.Code
    tip_number: Whole
    gain: Finite
    shrunk_gain: Finite
    reward: models.Money | None = None
    is_yours: bool = False
    decided_at: datetime.datetime | None = None


class Idea(models.Model):
    """Something to try, and what came of it: OPEN, HELD by somebody until ``held_until``, WORKED or FAILED."""

    id: models.Code
    status: models.Code
    is_yours: bool = False
    is_held_by_you: bool = False
    held_until: datetime.datetime | None = None
    candidate: models.CodeOrEmpty = ""
    reported_gain: Finite | None = None
    untrusted: ResearchWords = ResearchWords()
    created_at: datetime.datetime | None = None
    ended_at: datetime.datetime | None = None


class Challenge(models.Model):
    """A stake against an accepted candidate: OPEN, then UPHELD or DISMISSED."""

    id: models.Code
    candidate: models.Code
    status: models.Code
    stake: models.Money | None = None
    created_at: datetime.datetime | None = None
    decided_at: datetime.datetime | None = None


class KeptFile(models.Model):
    """A data file that the market keeps for you."""

    sha256: models.Digest
    byte_count: Whole


class TreeWords(untrusted.Hidden):
    """The files of a tree, exactly as strangers wrote them: a text for each path."""

    files: dict[Path, str] = pydantic.Field(repr=False)

    def __repr__(self) -> str:
        return f"TreeWords(files=<{len(self.files)} files>)"

    __str__ = __repr__

    def to_llm(self) -> str:
        """Render the files between markers that their writers can't have known."""
        return untrusted.fenced(self.files, source="claimants")


class TreeAnswer(models.Model):
    """The files of one tip."""

    bounty: models.Code
    number: Whole
    digest: models.Digest
    editable: tuple[Path, ...]
    max_tree_bytes: Whole
    untrusted: TreeWords
