"""What a vision score may decide: thresholds with their proven error bounds, read from the calibration table. No money here.

The table is made by `manage.py calibrate_checks` from labelled real photographs: half of them chose each threshold, the other half,
unseen until then, gave its bound. Market maps a price to the largest allowed P(bad | accepted); this module answers whether that is
certified and with which threshold. What is not certified, a person decides.
"""

import datetime
import functools
import math
from collections.abc import Callable
from pathlib import Path

import pydantic

TABLE = Path(__file__).with_name("calibration_table.json")


class ModelNotCalibrated(Exception):
    """Readings come from another model than the table was made for: their scores mean nothing here."""


class _Row(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class Counts(_Row):
    """How many photographs with their true caption, and with a false one, lay beyond a threshold."""

    true_pairs: int
    true_pairs_beyond: int
    false_pairs: int
    false_pairs_beyond: int
    # A harder draw of false pairs, not part of the above: the caption of another thing of the same category.
    same_category_pairs: int
    same_category_pairs_beyond: int


class AcceptClass(_Row):
    """One limit on P(bad | accepted) and the threshold meant for it."""

    max_false_accept: float
    accept_at: float
    fit: Counts
    held_out: Counts
    # Upper 95 % bound on P(bad | accepted), from the held-out half, at the assumed share of bad submissions.
    bad_among_accepted_upper: float
    # The same if every bad photograph showed another thing of the same category. Published, not certified.
    bad_among_accepted_upper_same_category: float
    is_certified: bool


class RetakeRule(_Row):
    """The score under which a worker is asked for another photograph: cheap for an honest one, and never final."""

    retake_below: float
    fit: Counts
    held_out: Counts
    # Upper 95 % bound on P(asked again | good), from the held-out half.
    good_asked_again_upper: float
    is_certified: bool


class RejectRule(_Row):
    """The score under which a submission could be refused for good; only with P(good | rejected) <= 1 % certified."""

    reject_below: float
    held_out: Counts
    good_among_rejected_upper: float
    is_certified: bool


class Source(_Row):
    package: str
    photographs: int


class CalibrationTable(_Row):
    """What `calibrate_checks` writes; see the fields' comments for what each number claims."""

    version: int
    made_on: datetime.date
    model_hash: str = pydantic.Field(pattern=r"^[0-9a-f]{64}$")
    preprocessing: str
    sources: tuple[Source, ...]
    confidence: float
    # The share of bad photographs among those that reach this check. An assumption; the random audits measure the truth.
    assumed_bad_share: float
    assumed_bad_share_because: str
    accept: tuple[AcceptClass, ...]
    retake: RetakeRule
    reject: RejectRule
    # Area under the curve, held-out half: true pairs against captions of any other photograph, and of the same category.
    auc_any_photograph: float
    auc_same_category: float


class Thresholds(_Row):
    """How to read a phrase score for one case: accept at or above `accept_at`, ask again below `retake_below`, else ask a person.

    `reject_below` is None while no threshold is certified to refuse for good.
    """

    accept_at: float
    retake_below: float | None
    reject_below: float | None
    bad_among_accepted_upper: float


class Certified(_Row):
    """What may be published of the table: the strictest limit it certifies, with the evidence for it."""

    max_false_accept: float | None
    bad_among_accepted_upper: float | None
    photographs: int
    held_out_false_pairs: int
    held_out_false_accepts: int
    share_of_good_accepted: float
    assumed_bad_share: float
    confidence: float
    model_hash: str
    made_on: datetime.date


@functools.cache
def table(path: Path = TABLE) -> CalibrationTable:
    """Read and validate the table, once a process."""
    return CalibrationTable.model_validate_json(path.read_text(encoding="utf-8"))


def require_model(model_hash: str, *, path: Path = TABLE) -> None:
    """Refuse readings of a model that this table was not made for.

    Raises:
        ModelNotCalibrated: the hashes differ.
    """
    if model_hash != table(path).model_hash:
        raise ModelNotCalibrated(f"Readings of model {model_hash[:12]}; the table is for {table(path).model_hash[:12]}.")


def thresholds_for(max_false_accept: float, *, path: Path = TABLE) -> Thresholds | None:
    """Give the thresholds that keep P(bad | accepted) at or under `max_false_accept` (0..1), or None: a person decides.

    Of the certified classes under the limit the loosest is taken: it accepts most good photographs.
    """
    known = table(path)
    fitting = [row for row in known.accept if row.is_certified and row.bad_among_accepted_upper <= max_false_accept]
    if not fitting:
        return None
    loosest = max(fitting, key=lambda row: row.max_false_accept)
    return Thresholds(
        accept_at=loosest.accept_at,
        retake_below=known.retake.retake_below if known.retake.is_certified else None,
        reject_below=known.reject.reject_below if known.reject.is_certified else None,
        bad_among_accepted_upper=loosest.bad_among_accepted_upper,
    )


def certified(*, path: Path = TABLE) -> Certified:
    """Give the strictest certified limit and its evidence; `max_false_accept` is None when nothing is certified."""
    known = table(path)
    rows = [row for row in known.accept if row.is_certified]
    strictest = min(rows, key=lambda row: row.bad_among_accepted_upper, default=None)
    counts = (strictest or known.accept[0]).held_out
    return Certified(
        max_false_accept=strictest.max_false_accept if strictest else None,
        bad_among_accepted_upper=strictest.bad_among_accepted_upper if strictest else None,
        photographs=sum(source.photographs for source in known.sources),
        held_out_false_pairs=counts.false_pairs,
        held_out_false_accepts=counts.false_pairs_beyond,
        share_of_good_accepted=counts.true_pairs_beyond / counts.true_pairs,
        assumed_bad_share=known.assumed_bad_share,
        confidence=known.confidence,
        model_hash=known.model_hash,
        made_on=known.made_on,
    )


def rate_upper(*, errors: int, count: int, confidence: float) -> float:
    """Give the one-sided Clopper-Pearson upper bound of a rate (Biometrika 26, 1934): exact, never too low."""
    return 1.0 if errors >= count else _solve(lambda rate: _at_most(errors, count, rate) - (1 - confidence))


def rate_lower(*, successes: int, count: int, confidence: float) -> float:
    """Give the one-sided Clopper-Pearson lower bound of a rate."""
    return 0.0 if successes <= 0 else _solve(lambda rate: (1 - confidence) - (1 - _at_most(successes - 1, count, rate)))


def bad_among_accepted_upper(counts: Counts, *, bad_share: float, confidence: float) -> float:
    """Bound P(bad | accepted) by Bayes from the upper bound of P(accepted | bad) and the lower one of P(accepted | good).

    Each bound gets half of the allowed error (Bonferroni), so that both hold at once with `confidence`.
    """
    each = 1 - (1 - confidence) / 2
    bad = bad_share * rate_upper(errors=counts.false_pairs_beyond, count=counts.false_pairs, confidence=each)
    good = (1 - bad_share) * rate_lower(successes=counts.true_pairs_beyond, count=counts.true_pairs, confidence=each)
    return bad / (bad + good)


def good_among_rejected_upper(counts: Counts, *, bad_share: float, confidence: float) -> float:
    """Bound P(good | rejected) in the same way; "beyond" counts the pairs below the threshold here."""
    each = 1 - (1 - confidence) / 2
    good = (1 - bad_share) * rate_upper(errors=counts.true_pairs_beyond, count=counts.true_pairs, confidence=each)
    bad = bad_share * rate_lower(successes=counts.false_pairs_beyond, count=counts.false_pairs, confidence=each)
    return good / (good + bad)


def _at_most(errors: int, count: int, rate: float) -> float:
    """P(X <= errors) of a binomial, in logarithms: safe for thousands of pairs."""
    if rate <= 0:
        return 1.0
    if rate >= 1:
        return float(errors >= count)
    log_terms = (
        math.lgamma(count + 1) - math.lgamma(k + 1) - math.lgamma(count - k + 1) + k * math.log(rate) + (count - k) * math.log1p(-rate)
        for k in range(errors + 1)
    )
    return math.fsum(math.exp(term) for term in log_terms)


def _solve(falling: Callable[[float], float]) -> float:
    """Find where a falling function of a rate crosses zero, from above, by bisection."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if falling(middle) > 0 else (low, middle)
    return high
