"""How the calibration table is made: pairs of photograph and question, thresholds chosen on one half, proven on the other.

On the fitting half every photograph meets every caption that is false of it: thousands of pairs that are not independent, good for
choosing a threshold and for nothing else. On the held-out half each photograph meets one, drawn from all: independent pairs, which a
bound needs. A second draw, from the captions of its own category alone, is a harder case and is reported beside.
"""

import bisect
import datetime
import enum
import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from verification import calibration
from verification.calibration import Counts

CONFIDENCE = 0.95
# Of photographs that passed the cheap checks. The exact share is unknown before a market runs, so one in five is assumed, several
# times what field-task platforms plan for; were it one half, the bound of 1.70 % would read 6.48 % (see docs/decisions).
BAD_SHARE = 0.2
BAD_SHARE_BECAUSE = (
    "One bad photograph in five among those that pass the cheap checks is assumed until the random audits of automatic acceptances "
    "have measured the share; the bounds hold for any share up to it."
)
# Limits on P(bad | accepted) that thresholds are sought for. Market's prices lie on a line through 2 % at $1 and 0.2 % at $50.
LIMITS = (0.02, 0.0175, 0.015, 0.0125, 0.01, 0.0075, 0.005, 0.002)
# A threshold must keep its limit though the held-out half brought so many times the errors that the fitting half predicts: one that
# just keeps the limit would fail there every other time.
SAFETY = 2.0
FIT_GOOD_ASKED_AGAIN = 0.03
MOST_GOOD_ASKED_AGAIN = 0.05
MOST_GOOD_REJECTED = 0.01
_UNIMPORTANT = frozenset(
    {"a", "an", "the", "of", "on", "in", "with", "at", "to", "and", "from", "by", "its", "behind", "over", "above", "under"}
)


@dataclass(frozen=True)
class Photograph:
    """A labelled photograph. `kinds` are words true of it, the broadest first: photographs that share that word are one category."""

    file: Path
    package: str
    kinds: tuple[str, ...]
    caption: str

    @property
    def is_for_fit(self) -> bool:
        """Whether it belongs to the half that chooses thresholds: decided by its name's digest, once and for all."""
        return hashlib.sha256(self.file.name.encode()).digest()[0] % 2 == 0

    def is_false(self, other: "Photograph") -> bool:
        """Whether `other`'s caption is surely false of this photograph: it shares no word that is true of this one."""
        return not _words(other.caption) & (_words(self.caption) | _words(" ".join(self.kinds)))


class Truth(enum.Enum):
    """What a pair's caption is to its photograph."""

    TRUE = "its own caption"
    FALSE = "the caption of any other photograph"
    HARD = "the caption of another photograph of the same category"


@dataclass
class Pair:
    """A photograph and a question that it answers or does not; `score` is filled in by the model."""

    file: Path
    package: str
    question: str
    truth: Truth
    is_for_fit: bool
    score: float = float("nan")


class Half:
    """The scores of one half, sorted, so that counting beyond a threshold is a bisection."""

    def __init__(self, pairs: Iterable[Pair]) -> None:
        given = list(pairs)
        self.scores = {truth: sorted(pair.score for pair in given if pair.truth == truth) for truth in Truth}

    def at_or_above(self, threshold: float) -> Counts:
        """Count the pairs that score at least `threshold`."""
        return self._counts({truth: len(scores) - bisect.bisect_left(scores, threshold) for truth, scores in self.scores.items()})

    def below(self, threshold: float) -> Counts:
        """Count the pairs that score less than `threshold`."""
        return self._counts({truth: bisect.bisect_left(scores, threshold) for truth, scores in self.scores.items()})

    def _counts(self, beyond: dict[Truth, int]) -> Counts:
        return Counts(
            true_pairs=len(self.scores[Truth.TRUE]),
            true_pairs_beyond=beyond[Truth.TRUE],
            false_pairs=len(self.scores[Truth.FALSE]),
            false_pairs_beyond=beyond[Truth.FALSE],
            same_category_pairs=len(self.scores[Truth.HARD]),
            same_category_pairs_beyond=beyond[Truth.HARD],
        )

    def auc(self, against: Truth) -> float:
        """Area under the curve: how often a true pair scores above a pair of the other kind."""
        true, false = self.scores[Truth.TRUE], self.scores[against]
        return sum((bisect.bisect_left(false, score) + bisect.bisect_right(false, score)) / 2 for score in true) / (len(true) * len(false))


def read_manifest(folder: Path) -> list[Photograph]:
    """Read `manifest.json` of a folder of photographs."""
    entries = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    return [Photograph(folder / entry["file"], entry["package"], tuple(entry["kinds"]), entry["caption"]) for entry in entries]


def pair(photographs: Sequence[Photograph]) -> list[Pair]:
    """Pair each photograph with its own caption and with false ones; captions are exchanged only inside a half."""
    pairs = [_pair(photograph, photograph, Truth.TRUE) for photograph in photographs]
    for photograph in photographs:
        half = [other for other in photographs if other.is_for_fit == photograph.is_for_fit]
        false = list({other.caption: other for other in half if photograph.is_false(other)}.values())
        same = [other for other in false if other.kinds[0] == photograph.kinds[0]]
        if photograph.is_for_fit:
            pairs += [_pair(photograph, other, Truth.FALSE) for other in false]
            pairs += [_pair(photograph, other, Truth.HARD) for other in same]
        else:
            pairs.append(_pair(photograph, _drawn("any", photograph, false), Truth.FALSE))
            pairs += [_pair(photograph, _drawn("same", photograph, same), Truth.HARD)] if same else []
    return pairs


def make_table(pairs: Sequence[Pair], *, model_hash: str, preprocessing: str, made_on: datetime.date) -> calibration.CalibrationTable:
    """Choose thresholds on the fitting half and bound their errors on the held-out half."""
    fit = Half(pair for pair in pairs if pair.is_for_fit)
    held_out = Half(pair for pair in pairs if not pair.is_for_fit)
    packages = Counter(pair.package for pair in pairs if pair.truth == Truth.TRUE)
    return calibration.CalibrationTable(
        version=1,
        made_on=made_on,
        model_hash=model_hash,
        preprocessing=preprocessing,
        sources=tuple(calibration.Source(package=package, photographs=count) for package, count in sorted(packages.items())),
        confidence=CONFIDENCE,
        assumed_bad_share=BAD_SHARE,
        assumed_bad_share_because=BAD_SHARE_BECAUSE,
        accept=_accept_classes(fit, held_out),
        retake=_retake_rule(fit, held_out),
        reject=_reject_rule(fit, held_out),
        auc_any_photograph=held_out.auc(Truth.FALSE),
        auc_same_category=held_out.auc(Truth.HARD),
    )


def report(table: calibration.CalibrationTable) -> str:
    """Say what the table certifies, a line each."""
    lines = [
        f"model {table.model_hash[:12]}, {sum(source.photographs for source in table.sources)} photographs, held-out AUC "
        f"{table.auc_any_photograph:.3f} (captions of any photograph), {table.auc_same_category:.3f} (of the same category)"
    ]
    lines += [
        f"P(bad | accepted) <= {row.max_false_accept:.2%}: accept at {row.accept_at:.3f}; held out {_beyond(row.held_out)}; bound "
        f"{row.bad_among_accepted_upper:.2%} {_word(row.is_certified)}; were all bad ones of the same category: "
        f"{row.bad_among_accepted_upper_same_category:.2%}"
        for row in table.accept
    ]
    retake, reject = table.retake, table.reject
    lines.append(
        f"ask again below {retake.retake_below:.3f}: held out {_beyond(retake.held_out)}; bound on P(asked again | good) "
        f"{retake.good_asked_again_upper:.2%} {_word(retake.is_certified)}"
    )
    lines.append(
        f"reject for good below {reject.reject_below:.3f}: held out {_beyond(reject.held_out)}; bound on P(good | rejected) "
        f"{reject.good_among_rejected_upper:.2%} {_word(reject.is_certified)}"
    )
    return "\n".join(lines)


def _beyond(counts: Counts) -> str:
    return (
        f"{counts.true_pairs_beyond}/{counts.true_pairs} true, {counts.false_pairs_beyond}/{counts.false_pairs} false, "
        f"{counts.same_category_pairs_beyond}/{counts.same_category_pairs} of the same category"
    )


def _word(is_certified: bool) -> str:
    return "certified" if is_certified else "NOT certified: a person decides"


def _bad_upper(counts: Counts) -> float:
    return calibration.bad_among_accepted_upper(counts, bad_share=BAD_SHARE, confidence=CONFIDENCE)


def _good_upper(counts: Counts) -> float:
    return calibration.good_among_rejected_upper(counts, bad_share=BAD_SHARE, confidence=CONFIDENCE)


def _asked_again_upper(counts: Counts) -> float:
    return calibration.rate_upper(errors=counts.true_pairs_beyond, count=counts.true_pairs, confidence=CONFIDENCE)


def _accept_classes(fit: Half, held_out: Half) -> tuple[calibration.AcceptClass, ...]:
    """For each limit take the lowest threshold that should keep it on the held-out half; leave out limits that none should."""
    photographs = len(held_out.scores[Truth.TRUE])
    expected = [(at, _bad_upper(_expected(fit.at_or_above(at), photographs))) for at in fit.scores[Truth.TRUE]]
    lowest = [(limit, min((at for at, upper in expected if upper <= limit), default=None)) for limit in LIMITS]
    return tuple(_accept_class(limit, at, fit, held_out) for limit, at in lowest if at is not None)


def _accept_class(limit: float, lowest: float, fit: Half, held_out: Half) -> calibration.AcceptClass:
    accept_at = round(lowest + 0.0005, 3)
    proof = held_out.at_or_above(accept_at)
    as_if_hard = proof.model_copy(update={"false_pairs": proof.same_category_pairs, "false_pairs_beyond": proof.same_category_pairs_beyond})
    return calibration.AcceptClass(
        max_false_accept=limit,
        accept_at=accept_at,
        fit=fit.at_or_above(accept_at),
        held_out=proof,
        bad_among_accepted_upper=_bad_upper(proof),
        bad_among_accepted_upper_same_category=_bad_upper(as_if_hard),
        is_certified=_bad_upper(proof) <= limit,
    )


def _expected(fit: Counts, photographs: int) -> Counts:
    """Predict the counts of a held-out half of so many photographs with one false pair each, but `SAFETY` times as many errors."""
    errors = SAFETY * photographs * fit.false_pairs_beyond / fit.false_pairs
    return fit.model_copy(
        update={
            "true_pairs": photographs,
            "true_pairs_beyond": math.floor(photographs * fit.true_pairs_beyond / fit.true_pairs),
            "false_pairs": photographs,
            "false_pairs_beyond": min(photographs, math.ceil(errors)),
        }
    )


def _retake_rule(fit: Half, held_out: Half) -> calibration.RetakeRule:
    """Take the highest threshold under which few enough good ones of the fitting half lie, by bound."""
    good = fit.scores[Truth.TRUE]
    below = round(max((at for at in good if _asked_again_upper(fit.below(at)) <= FIT_GOOD_ASKED_AGAIN), default=good[0]), 3)
    proof = held_out.below(below)
    return calibration.RetakeRule(
        retake_below=below,
        fit=fit.below(below),
        held_out=proof,
        good_asked_again_upper=_asked_again_upper(proof),
        is_certified=_asked_again_upper(proof) <= MOST_GOOD_ASKED_AGAIN,
    )


def _reject_rule(fit: Half, held_out: Half) -> calibration.RejectRule:
    """Take the threshold with the smallest bound on P(good | rejected) on the fitting half, and say what it proves."""
    photographs = len(held_out.scores[Truth.TRUE])
    lowest = min(fit.scores[Truth.TRUE], key=lambda at: _good_upper(_expected(fit.below(at), photographs)))
    below = round(lowest, 3)
    proof = held_out.below(below)
    return calibration.RejectRule(
        reject_below=below,
        held_out=proof,
        good_among_rejected_upper=_good_upper(proof),
        is_certified=_good_upper(proof) <= MOST_GOOD_REJECTED,
    )


def _pair(photograph: Photograph, captioned: Photograph, truth: Truth) -> Pair:
    return Pair(
        file=photograph.file,
        package=photograph.package,
        question=f"Show {captioned.caption}.",
        truth=truth,
        is_for_fit=photograph.is_for_fit,
    )


def _drawn(draw: str, photograph: Photograph, candidates: Sequence[Photograph]) -> Photograph:
    """Draw by the digest of both names: random, and the same in every run."""
    return min(candidates, key=lambda other: hashlib.sha256(f"{draw}|{photograph.file.name}|{other.caption}".encode()).digest())


def _words(text: str) -> set[str]:
    return {word.rstrip("s") for word in re.findall(r"[a-z]+", text.lower()) if word not in _UNIMPORTANT}
