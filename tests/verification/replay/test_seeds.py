"""Seeds are the same whenever they are asked for, and nobody foresees them."""

import collections

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verification.replay import seeds

SECRET = bytes(range(32))
_NAMES = st.text(max_size=6)


def drawn(
    count: int = 12, *, secret: bytes = SECRET, candidate: str = "c", tip: str = "t", key: str = "k", pool: int = 64
) -> tuple[int, ...]:
    return seeds.case_seeds(secret, candidate, tip, key, count, pool)


def test_a_case_gets_the_same_seeds_again() -> None:
    assert drawn() == drawn()
    # Published once, so that a change of the scheme does not go unseen: seeds of open cases must not move.
    assert drawn(5) == (7, 3, 43, 22, 10)
    assert seeds.pool_seed(SECRET, "t", "k", 3) == 3793312630549531055


def test_first_seeds_do_not_depend_on_how_many_are_asked() -> None:
    assert all(drawn(count) == drawn(64)[:count] for count in range(65))


@pytest.mark.parametrize("changed", [{"secret": SECRET[::-1]}, {"candidate": "d"}, {"tip": "u"}, {"key": "l"}])
def test_another_candidate_tip_class_or_secret_gets_others(changed: dict[str, object]) -> None:
    assert drawn(**changed) != drawn()  # type: ignore[arg-type]


@given(st.binary(min_size=32, max_size=40), _NAMES, st.integers(1, 100), st.data())
def test_seeds_of_a_case_are_distinct_and_of_the_pool(secret: bytes, candidate: str, pool: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(0, pool))
    picked = drawn(count, secret=secret, candidate=candidate, pool=pool)
    assert len(set(picked)) == count == len(picked)
    assert all(0 <= one < pool for one in picked)


def test_every_seed_is_picked_about_as_often() -> None:
    counts = collections.Counter(index for number in range(4000) for index in drawn(4, candidate=str(number)))
    # 16,000 picks of 64: 250 each, standard deviation 15.2; six of them are seen once in ten million.
    assert all(abs(counts[index] - 250) < 92 for index in range(64))


def test_every_acceptance_has_a_fresh_one_among_its_first_two() -> None:
    assert [place for place in range(12) if seeds.is_fresh(place)] == [1, 4, 7, 10]


def test_pool_seeds_have_63_bits_and_differ() -> None:
    pool = {seeds.pool_seed(SECRET, "t", "k", index) for index in range(1000)}
    assert len(pool) == 1000
    assert all(0 <= one < 1 << 63 for one in pool)
    assert max(pool) > 1 << 62


def test_names_do_not_run_together() -> None:
    assert seeds.draw(SECRET, "ab", "c") != seeds.draw(SECRET, "a", "bc")


@given(st.lists(_NAMES, max_size=3))
def test_a_draw_is_a_chance(names: list[str]) -> None:
    assert 0 <= seeds.draw(SECRET, *names) < 1


def test_refuses_a_short_secret_and_a_small_pool() -> None:
    with pytest.raises(seeds.WeakSecret):
        seeds.pool_seed(b"short", "t", "k", 0)
    with pytest.raises(seeds.PoolTooSmall):
        drawn(65)
