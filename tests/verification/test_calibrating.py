"""Making a calibration table: halves that never mix, thresholds from one, bounds from the other."""

import datetime
from pathlib import Path

import numpy as np

from verification import calibrating, calibration
from verification.calibrating import Pair, Photograph, Truth


def photographs(count: int) -> list[Photograph]:
    """Photographs of two categories, each of a thing of its own."""
    kinds = [("animal", "plant")[number % 2] for number in range(count)]
    return [
        Photograph(Path(f"{number}.jpg"), "box", (kind,), f"a {kind[:2]}{chr(97 + number // 26)}{chr(97 + number % 26)}x")
        for number, kind in enumerate(kinds)
    ]


def scored(count: int, *, gap: float) -> list[Pair]:
    """Pairs whose true captions score `gap` standard deviations above false ones."""
    random = np.random.default_rng(1)
    pairs = calibrating.pair(photographs(count))
    for pair in pairs:
        pair.score = float(random.normal(gap if pair.truth == Truth.TRUE else 0.0))
    return pairs


def table(pairs: list[Pair]) -> calibration.CalibrationTable:
    return calibrating.make_table(pairs, model_hash="0" * 64, preprocessing="none", made_on=datetime.date(2026, 1, 2))


def test_held_out_pairs_are_one_true_one_false_and_one_hard_each() -> None:
    pairs = [pair for pair in calibrating.pair(photographs(80)) if not pair.is_for_fit]
    for truth in Truth:
        files = [pair.file for pair in pairs if pair.truth == truth]
        assert len(files) == len(set(files))


def test_halves_share_neither_photographs_nor_captions() -> None:
    pairs = calibrating.pair(photographs(80))
    fit, held_out = ([pair for pair in pairs if pair.is_for_fit == half] for half in (True, False))
    assert not {pair.file for pair in fit} & {pair.file for pair in held_out}
    assert not {pair.question for pair in fit} & {pair.question for pair in held_out}


def test_the_same_photographs_give_the_same_pairs() -> None:
    assert calibrating.pair(photographs(60)) == calibrating.pair(photographs(60))


def test_a_caption_that_shares_a_true_word_is_not_false() -> None:
    goldfish = Photograph(Path("a"), "box", ("animal", "fish"), "a goldfish")
    fish = Photograph(Path("b"), "box", ("animal",), "two fish")
    dog = Photograph(Path("c"), "box", ("animal",), "a dog")
    assert not goldfish.is_false(fish)
    assert goldfish.is_false(dog)


def test_a_sharp_model_is_certified_and_a_blind_one_is_not() -> None:
    sharp, blind = table(scored(200, gap=6.0)), table(scored(200, gap=0.0))
    assert sharp.accept[0].is_certified
    assert sharp.accept[0].held_out.false_pairs_beyond <= 2
    assert not any(row.is_certified for row in blind.accept)


def test_bounds_hold_on_fresh_data_as_often_as_they_say() -> None:
    """One hundred markets whose true rate of bad among accepted is known: the bound is under it at most one time in twenty."""
    random = np.random.default_rng(2)
    misses = 0
    for _ in range(100):
        accepted_bad, accepted_good = random.binomial(250, 0.02), random.binomial(250, 0.5)
        counts = calibration.Counts(
            true_pairs=250,
            true_pairs_beyond=int(accepted_good),
            false_pairs=250,
            false_pairs_beyond=int(accepted_bad),
            same_category_pairs=0,
            same_category_pairs_beyond=0,
        )
        bound = calibration.bad_among_accepted_upper(counts, bad_share=0.2, confidence=0.95)
        misses += bound < 0.2 * 0.02 / (0.2 * 0.02 + 0.8 * 0.5)
    assert misses <= 5
