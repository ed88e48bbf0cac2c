"""How the calibration table is made: pairs of photograph and question, thresholds chosen on one half, proven on the other."""

import datetime
import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from verification import calibration
from verification.calibration import Counts

CONFIDENCE = 0.95
# Of photographs that passed the cheap checks. The exact share is unknown before a market runs, so one in five is assumed, several
# times what field-task platforms plan for; were it one half, the certified 2 % would read 7.5 % (see docs/decisions).
BAD_SHARE = 0.2
BAD_SHARE_BECAUSE = (
    "One bad photograph in five among those that pass the cheap checks is assumed until the random audits of automatic acceptances "
    "have measured the share; the bounds hold for any share up to it."
)
# Limits on P(bad | accepted) that thresholds are sought for. Market's prices lie on a line through 2 % at $1 and 0.2 % at $50.
LIMITS = (0.02, 0.0175, 0.015, 0.0125, 0.01, 0.0075, 0.005, 0.002)
MOST_GOOD_ASKED_AGAIN = 0.03
MOST_GOOD_REJECTED = 0.01
_UNIMPORTANT = frozenset("a an the of on in with at to and from by its behind over above under".split())


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


@dataclass
class Pair:
    """A photograph and a question that it answers or does not; `score` is filled in by the model."""

    file: Path
    package: str
    question: str
    is_true: bool
    is_same_category: bool
    is_for_fit: bool
    score: float = float("nan")


def read_manifest(folder: Path) -> list[Photograph]:
    """Read `manifest.json` of a folder of photographs."""
    entries = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    return [Photograph(folder / entry["file"], entry["package"], tuple(entry["kinds"]), entry["caption"]) for entry in entries]


def pair(photographs: Sequence[Photograph]) -> list[Pair]:
    """Pair each photograph with its own caption and with one false one, so that all pairs of a kind are independent.

    Every other false caption is of another thing of the same category, a harder case than chance would bring. Captions are
    exchanged only inside a half, so that nothing of the held-out half is seen while thresholds are chosen.
    """
    pairs = []
    for is_for_fit in (True, False):
        half = [photograph for photograph in photographs if photograph.is_for_fit == is_for_fit]
        for number, photograph in enumerate(half):
            pairs.append(_pair(photograph, photograph, is_true=True))
            false = [other for other in half if photograph.is_false(other)]
            same = [other for other in false if other.kinds[0] == photograph.kinds[0]]
            different = [other for other in false if other.kinds[0] != photograph.kinds[0]]
            chosen = _chosen(photograph, (same if number % 2 else different) or false)
            pairs.append(_pair(photograph, chosen, is_true=False))
    return pairs


def make_table(pairs: Sequence[Pair], *, model_hash: str, preprocessing: str, made_on: datetime.date) -> calibration.CalibrationTable:
    """Choose thresholds on the fitting half and bound their errors on the held-out half."""
    fit = [pair for pair in pairs if pair.is_for_fit]
    held_out = [pair for pair in pairs if not pair.is_for_fit]
    packages = Counter(pair.package for pair in pairs if pair.is_true)
    return calibration.CalibrationTable(
        version=1,
        made_on=made_on,
        model_hash=model_hash,
        preprocessing=preprocessing,
        sources=tuple(calibration.Source(package=package, photographs=count) for package, count in sorted(packages.items())),
        confidence=CONFIDENCE,
        assumed_bad_share=BAD_SHARE,
        assumed_bad_share_because=BAD_SHARE_BECAUSE,
        accept=tuple(row for limit in LIMITS if (row := _accept_class(limit, fit, held_out)) is not None),
        retake=_retake_rule(fit, held_out),
        reject=_reject_rule(fit, held_out),
        auc_other_category=_auc(held_out, is_same_category=False),
        auc_same_category=_auc(held_out, is_same_category=True),
    )


def report(table: calibration.CalibrationTable) -> str:
    """Say what the table certifies, a line each."""
    lines = [
        f"model {table.model_hash[:12]}, {sum(source.photographs for source in table.sources)} photographs, "
        f"AUC {table.auc_other_category:.3f} (other categories), {table.auc_same_category:.3f} (same category)"
    ]
    for row in table.accept:
        lines.append(
            f"P(bad | accepted) <= {row.max_false_accept:.2%}: accept at {row.accept_at:.3f}; held out "
            f"{row.held_out.true_pairs_beyond}/{row.held_out.true_pairs} true, {row.held_out.false_pairs_beyond}/"
            f"{row.held_out.false_pairs} false; bound {row.bad_among_accepted_upper:.2%} {'certified' if row.is_certified else 'NOT certified'}"
        )
    retake, reject = table.retake, table.reject
    lines.append(
        f"ask again below {retake.retake_below:.3f}: held out {retake.held_out.true_pairs_beyond}/{retake.held_out.true_pairs} true, "
        f"{retake.held_out.false_pairs_beyond}/{retake.held_out.false_pairs} false; bound {retake.good_asked_again_upper:.2%} "
        f"{'certified' if retake.is_certified else 'NOT certified'}"
    )
    lines.append(
        f"reject for good below {reject.reject_below:.3f}: bound {reject.good_among_rejected_upper:.2%} "
        f"{'certified' if reject.is_certified else 'NOT certified: a person decides'}"
    )
    return "\n".join(lines)


def _accept_class(limit: float, fit: Sequence[Pair], held_out: Sequence[Pair]) -> calibration.AcceptClass | None:
    """Take the lowest threshold whose bound on the fitting half keeps the limit; None where no threshold does."""

    def upper(counts: Counts) -> float:
        return calibration.bad_among_accepted_upper(counts, bad_share=BAD_SHARE, confidence=CONFIDENCE)

    keeping = [score for score in _scores(fit) if upper(_count(fit, lambda pair, at=score: pair.score >= at)) <= limit]
    if not keeping:
        return None
    accept_at = _rounded_up(min(keeping))
    proof = _count(held_out, lambda pair: pair.score >= accept_at)
    bound = upper(proof)
    return calibration.AcceptClass(
        max_false_accept=limit,
        accept_at=accept_at,
        fit=_count(fit, lambda pair: pair.score >= accept_at),
        held_out=proof,
        bad_among_accepted_upper=bound,
        is_certified=bound <= limit,
    )


def _retake_rule(fit: Sequence[Pair], held_out: Sequence[Pair]) -> calibration.RetakeRule:
    """Take the highest threshold under which at most `MOST_GOOD_ASKED_AGAIN` of the good ones of the fitting half lie, by bound."""

    def upper(counts: Counts) -> float:
        return calibration.rate_upper(errors=counts.true_pairs_beyond, count=counts.true_pairs, confidence=CONFIDENCE)

    keeping = [score for score in _scores(fit) if upper(_count(fit, lambda pair, at=score: pair.score < at)) <= MOST_GOOD_ASKED_AGAIN]
    below = max(keeping, default=min(_scores(fit)))
    proof = _count(held_out, lambda pair: pair.score < below)
    return calibration.RetakeRule(
        retake_below=below,
        fit=_count(fit, lambda pair: pair.score < below),
        held_out=proof,
        good_asked_again_upper=upper(proof),
        is_certified=upper(proof) <= MOST_GOOD_ASKED_AGAIN,
    )


def _reject_rule(fit: Sequence[Pair], held_out: Sequence[Pair]) -> calibration.RejectRule:
    """Take the threshold with the smallest bound on P(good | rejected) on the fitting half, and say what it proves."""

    def upper(counts: Counts) -> float:
        return calibration.good_among_rejected_upper(counts, bad_share=BAD_SHARE, confidence=CONFIDENCE)

    below = min(_scores(fit), key=lambda score: upper(_count(fit, lambda pair: pair.score < score)))
    proof = _count(held_out, lambda pair: pair.score < below)
    return calibration.RejectRule(
        reject_below=below,
        held_out=proof,
        good_among_rejected_upper=upper(proof),
        is_certified=upper(proof) <= MOST_GOOD_REJECTED,
    )


def _count(pairs: Iterable[Pair], is_beyond: Callable[[Pair], bool]) -> Counts:
    pairs = list(pairs)
    true = [pair for pair in pairs if pair.is_true]
    false = [pair for pair in pairs if not pair.is_true]
    same = [pair for pair in false if pair.is_same_category]
    return Counts(
        true_pairs=len(true),
        true_pairs_beyond=sum(map(is_beyond, true)),
        false_pairs=len(false),
        false_pairs_beyond=sum(map(is_beyond, false)),
        same_category_pairs=len(same),
        same_category_pairs_beyond=sum(map(is_beyond, same)),
    )


def _auc(pairs: Sequence[Pair], *, is_same_category: bool) -> float:
    true = [pair.score for pair in pairs if pair.is_true]
    false = [pair.score for pair in pairs if not pair.is_true and pair.is_same_category == is_same_category]
    return sum((good > bad) + (good == bad) / 2 for good in true for bad in false) / (len(true) * len(false))


def _pair(photograph: Photograph, captioned: Photograph, *, is_true: bool) -> Pair:
    return Pair(
        file=photograph.file,
        package=photograph.package,
        question=f"Show {captioned.caption}.",
        is_true=is_true,
        is_same_category=captioned.kinds[0] == photograph.kinds[0],
        is_for_fit=photograph.is_for_fit,
    )


def _chosen(photograph: Photograph, candidates: Sequence[Photograph]) -> Photograph:
    """Choose by the digest of both names: random, and the same in every run."""
    return min(candidates, key=lambda other: hashlib.sha256(f"{photograph.file.name}|{other.file.name}".encode()).digest())


def _scores(pairs: Iterable[Pair]) -> list[float]:
    return sorted({pair.score for pair in pairs})


def _rounded_up(score: float) -> float:
    return round(score + 0.0005, 3)


def _words(text: str) -> set[str]:
    return {word.rstrip("s") for word in re.findall(r"[a-z]+", text.lower()) if word not in _UNIMPORTANT}
