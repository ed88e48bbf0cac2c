"""Going through many rows: it ..."""

import pytest

from tasks import batches


def test_gives_every_row_its_turn_and_hides_no_error() -> None:
    done: list[int] = []

    def work(number: int) -> None:
        if number == 1:
            raise ValueError("bad row")
        done.append(number)

    with pytest.raises(ExceptionGroup, match="1 of 3 failed"):
        batches.for_each([0, 1, 2], work)
    assert done == [0, 2]
