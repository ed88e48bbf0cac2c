"""Asking a model in the sandbox for its scores of many rows, with the probes hidden among them; all numbers are made outside.

Rows of the text, rows whose later part is exchanged and rows asked again are mixed and sent in a shuffled order, so that the model can't
tell which answer will be scored. Rows sent alone and shortened rows differ in shape and come at any moment between. What is scored is the
first answer to a row; a row's next token beyond its context is never sent, and tokens within it stand after the positions that they
are the targets of: whether a model looks ahead at them is what "truncated" finds.

What this can't find: a look-ahead by one token so rare that it is in no probed place. Two of five rows are cut once each, every position as
often as any other; what looks ahead in a share q of places at random escapes n cuts with (1 - q) ** n.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from verification.replay import scoring
from verification.replay.scoring import Probe

Scores = NDArray[np.float32]
Rows = NDArray[np.int64]

# Two of five rows are asked about with another ending: research puts 99 % detection of a look-ahead at one in 2,000 positions at 0.45
# of a whole evaluation.
WATCHED_SHARE = 0.4
MOST_WATCHED = 1024
# Each other probe looks at every fourth of them.
EVERY_FOURTH = 4
# Positions before a cut, where a look-ahead shows; and as many anywhere in the row.
COMPARED = 8
MOST_LOGITS_BYTES = 64 << 20


@dataclass(frozen=True)
class Found:
    """What a model said of a file's rows: summed negative log-probabilities (nats) of each row's targets, and the probes."""

    nats_by_row: NDArray[np.float64]
    probes: tuple[Probe, ...]


@dataclass(frozen=True)
class _Request:
    """Rows to send together; `name` and `row` of each say what its answer is."""

    rows: Rows
    names: tuple[str, ...]
    of_row: tuple[int, ...]


class Inquiry:
    """All that is asked of a model about some rows, planned before the first question."""

    def __init__(self, rows: Rows, *, rows_at_once: int, generator: np.random.Generator) -> None:
        """Plan over rows x (context + 1) tokens."""
        self._rows = rows
        self._length = rows.shape[1] - 1
        self._at_once = rows_at_once
        self._generator = generator
        count = min(MOST_WATCHED, max(1, round(len(rows) * WATCHED_SHARE)))
        self._watched = generator.permutation(len(rows))[:count]
        # Every position in turn before one comes again: a look-ahead at one fixed position has no luck.
        cuts = np.concatenate(
            [generator.permutation(np.arange(1, max(2, self._length))) for _ in range(0, count, max(1, self._length - 1))]
        )
        self._cut = {int(row): int(cut) for row, cut in zip(self._watched, cuts, strict=False)}
        self._kept = {row: self._positions(cut) for row, cut in self._cut.items()}

    def run(self, ask: Callable[[Rows], Scores], weigh: Callable[[Scores, int], float], *, is_bf16: bool) -> Found:
        """Ask everything: `ask` gives logits (rows, length, vocabulary), `weigh` the nats of a row's answer by its index.

        Raises:
            scoring.NotScorable: an answer is not finite.
        """
        nats = np.full(len(self._rows), np.nan)
        first: dict[int, Scores] = {}
        first_name: dict[int, str] = {}
        later: dict[str, list[tuple[int, NDArray[np.intp], Scores]]] = {}
        for request in self._plan():
            answers = ask(request.rows)
            for name, row, answer in zip(request.names, request.of_row, answers, strict=True):
                if name in ("score", "state", "order") and row not in first_name:
                    # Whichever of a row's equal questions came first is scored.
                    nats[row], first_name[row] = weigh(answer, row), name
                    if row in self._kept:
                        first[row] = answer[self._kept[row]].copy()
                else:
                    # Of two answers to equal questions, the later one is the repetition, and is named by what differed.
                    what = name if name != "score" else "order" if first_name[row] == "order" else "state"
                    places = self._comparable(name, row, len(answer))
                    later.setdefault(what, []).append((row, places, answer[self._kept[row][places]].copy()))
        return Found(nats, self._probes(first, later, is_bf16))

    def _plan(self) -> list[_Request]:
        whole = [("score", row, self._rows[row, :-1]) for row in range(len(self._rows))]
        whole += [("truncated", int(row), self._with_another_ending(int(row))) for row in self._watched]
        some = self._watched[::EVERY_FOURTH]
        whole += [("state", int(row), self._rows[row, :-1]) for row in some]
        self._generator.shuffle(whole)
        requests = self._together(whole)
        requests += self._together([("order", int(row), self._rows[row, :-1]) for row in self._generator.permutation(some)])
        requests += [_Request(self._rows[row : row + 1, :-1], ("row_alone",), (int(row),)) for row in some]
        requests += [_Request(self._rows[row : row + 1, : self._cut[int(row)]], ("truncated",), (int(row),)) for row in some]
        return [requests[index] for index in self._generator.permutation(len(requests))]

    def _together(self, found: Sequence[tuple[str, int, Rows]]) -> list[_Request]:
        parts = [found[at : at + self._at_once] for at in range(0, len(found), self._at_once)]
        return [
            _Request(np.stack([one[2] for one in part]), tuple(one[0] for one in part), tuple(one[1] for one in part)) for part in parts
        ]

    def _with_another_ending(self, row: int) -> Rows:
        """Give a row whose tokens from its cut on are those of another row."""
        cut = self._cut[row]
        other = (row + int(self._generator.integers(1, max(2, len(self._rows))))) % len(self._rows)
        ending = self._rows[other, cut:-1].copy()
        # The token after the cut is the target there: it must differ, or a look at it would change nothing.
        if len(ending) and ending[0] == self._rows[row, cut]:
            ending[0] = (ending[0] + 1) % (int(self._rows.max()) + 1)
        return np.concatenate([self._rows[row, :cut], ending])

    def _positions(self, cut: int) -> NDArray[np.intp]:
        anywhere = self._generator.integers(0, self._length, COMPARED)
        return np.unique(np.concatenate([np.arange(max(0, cut - COMPARED), cut), anywhere, [self._length - 1]])).astype(np.intp)

    def _comparable(self, name: str, row: int, length: int) -> NDArray[np.intp]:
        most = self._cut[row] if name == "truncated" else length
        return np.flatnonzero(self._kept[row] < most)

    def _probes(
        self, first: dict[int, Scores], later: dict[str, list[tuple[int, NDArray[np.intp], Scores]]], is_bf16: bool
    ) -> tuple[Probe, ...]:
        functions = {
            "truncated": scoring.probe_truncated,
            "row_alone": scoring.probe_row_alone,
            "state": scoring.probe_state,
            "order": scoring.probe_order,
        }
        probes = []
        for name, function in functions.items():
            before = np.concatenate([first[row][places] for row, places, _ in later[name]])
            after = np.concatenate([answer for _, _, answer in later[name]])
            probes.append(function(before, after, is_bf16=is_bf16))
        probabilities = scoring.log_softmax(np.concatenate(list(first.values())))
        return (*probes, scoring.probe_normalised(probabilities))


def rows_at_once(*, rows: int, length: int, vocabulary: int) -> int:
    """Give how many rows to send together: as many as a training batch has, as far as their scores fit in `MOST_LOGITS_BYTES`."""
    return max(1, min(rows, MOST_LOGITS_BYTES // (length * vocabulary * 4)))


def worst(probes: Sequence[Probe]) -> tuple[Probe, ...]:
    """Merge probes of several files: of each name the largest difference, and positions added up."""
    merged: dict[str, Probe] = {}
    for probe in probes:
        known = merged.get(probe.name)
        merged[probe.name] = (
            probe
            if known is None
            else Probe(
                name=probe.name,
                largest=max(probe.largest, known.largest),
                tolerance=probe.tolerance,
                positions=probe.positions + known.positions,
                positions_beyond=probe.positions_beyond + known.positions_beyond,
            )
        )
    return tuple(merged.values())
