"""What the page of a candidate shows of its replays: runs by anonymous owners, curves, gains, the test's path, its diff. Changes nothing.

Of a round that waits to be trained or revealed nothing is shown; seeds, hold-out scores and the digests of checkpoints never are.
"""

import collections
import dataclasses
import datetime
import unicodedata
import uuid
from collections.abc import Iterable, Sequence

from django.db.models import F, Q
from django.http import Http404

from market.bounties.research.models import ResearchSettlement
from market.web import axes, plots, research_reads
from verification.replay import trees
from verification.replay.classes import ClassKey
from verification.replay.sequential import Sequential
from verification.replay.spec import Spec
from verification.research import agreement, reasons
from verification.research.models import Candidate, Finding, Run

# As much of a diff as a lease shows its owner.
MAX_DIFF = 20_000
_Kind, _Stage = Run.Kind, Run.Stage
_HIDDEN = (_Stage.OPEN, _Stage.SEALED)
_JUDGED = (_Stage.VALID, _Stage.INVALID)


@dataclasses.dataclass(frozen=True, slots=True)
class Line:
    """One run as everybody may see it; ``pair`` counts the test's pairs from 1, ``score`` is the public one."""

    run: Run
    owner: str
    pair: int
    is_candidates: bool
    score: float | None
    why: str
    audit: str


@dataclasses.dataclass(frozen=True, slots=True)
class Replays:
    """The runs of a candidate's test with what was measured."""

    lines: list[Line]
    curves: plots.Plot
    gains: plots.Plot


def candidate_of(candidate_id: uuid.UUID, *, mode: str) -> Candidate:
    """Return a candidate to a funded bounty; any other is not found."""
    found = Candidate.objects.filter(pk=candidate_id, task__mode=mode, task__bounty__funded_at__isnull=False)
    candidate = found.select_related("task", "parent", "tree", "parent__tree").first()
    if candidate is None:
        raise Http404("There is no such candidate.")
    return candidate


def replays_of(candidate: Candidate) -> Replays:
    """Return the runs of a candidate's pairs, those of the tip among them, in the order of the pairs."""
    spec = Spec.from_json(candidate.task.spec)
    runs = _runs_of(candidate)
    hidden = _hidden_rounds(runs)
    shown = [run for run in runs if _round(run) not in hidden and run.stage not in _HIDDEN]
    pairs = _pair_numbers(candidate, runs)
    owners = _owner_names(runs)
    lines = [_line(run, candidate, owners, pairs, is_shown=run in shown) for run in runs]
    return Replays(
        lines=sorted(lines, key=lambda line: (line.pair, not line.is_candidates)),
        curves=plots.curves([_curve(run, candidate, pairs) for run in shown], key="curves"),
        gains=plots.gains(
            _gains(shown, candidate, pairs),
            reported=candidate.reported_gain,
            wanted=spec.min_effect,
            pair_sd=spec.paired_sd,
            unit=research_reads.UNIT,
            key="gains",
        ),
    )


def test_of(candidate: Candidate) -> Sequential | None:
    """Return the candidate's sequential test after its last judged pair; None before the first."""
    return Sequential.from_json(candidate.test) if candidate.test else None


def path_of(candidate: Candidate) -> plots.Plot:
    """Draw the path of the candidate's test."""
    test = test_of(candidate)
    points = test.path if test else ()
    # Where one pair alone can accept nothing, the bound is as far away as floats go.
    path = [
        plots.Standing(one.pairs, *(min(max(each, -axes.MOST), axes.MOST) for each in (one.llr, one.upper, one.lower))) for one in points
    ]
    return plots.path_of_test(path, key="test")


def diff_of(candidate: Candidate) -> str:
    """Return what a decided candidate changes on its tip; before the verdict, and for one that was never revealed, nothing."""
    if candidate.status not in Candidate.DECIDED or candidate.tree is None or candidate.parent is None:
        return ""
    text = trees.diff_text(candidate.parent.tree.untrusted_files, candidate.tree.untrusted_files)
    cut = "" if len(text) <= MAX_DIFF else "\n… the rest is left out here"
    return "".join(_visible(sign) for sign in text[:MAX_DIFF]) + cut


def is_withdrawn(candidate: Candidate) -> bool:
    """Tell whether an accepted candidate is no tip any more."""
    tip = getattr(candidate, "tip", None)
    return tip is not None and tip.withdrawn_at is not None


def window_ends_at(candidate: Candidate, settlement: ResearchSettlement | None, *, now: datetime.datetime) -> datetime.datetime | None:
    """Return until when an accepted candidate that stands may be challenged; None for any other, and once the window has closed."""
    if settlement is None or candidate.status != Candidate.Status.ACCEPTED or is_withdrawn(candidate) or settlement.final_at <= now:
        return None
    return settlement.final_at


def findings_of(candidate: Candidate) -> list[tuple[Finding, str]]:
    """Return what later audits, challenges and checks said, each with its reason in words."""
    return [(found, sentence(found.reason_code)) for found in candidate.findings.order_by("created_at", "pk")]


def class_words(class_text: str) -> str:
    """Return a hardware class as people say it."""
    if not class_text:
        return ""
    key = ClassKey.parse(class_text)
    driver = "" if key.driver == "none" else f", driver {key.driver}"
    threads = f", {key.threads} thread{'s' if key.threads != 1 else ''}" if key.hardware == "cpu" else ""
    return f"{key.hardware}, {key.isa}{threads}, {key.precision}{', compiled' if key.is_compiled else ''}, torch {key.torch}{driver}"


def sentence(reason_code: str) -> str:
    """Return a reason in words; an unknown code as it is."""
    return reasons.MESSAGES.get(reason_code, reason_code.replace("_", " "))


def _runs_of(candidate: Candidate) -> list[Run]:
    own = Q(kind=_Kind.CANDIDATE, candidate=candidate, tree=candidate.tree_id)
    of_tip = agreement.of_tip(candidate.parent) & Q(seed_index__in=candidate.seed_indexes) if candidate.parent else Q(pk=None)
    found = Run.objects.filter(own | of_tip, task=candidate.task_id).exclude(stage=_Stage.CANCELLED)
    runs = list(found.defer("report", "spec").annotate(curve=F("report__curve")).order_by("created_at", "pk"))
    asked = {(run.seed_index, run.class_text) for run in runs if _is_own(run, candidate)}
    return [run for run in runs if (run.seed_index, run.class_text) in asked]


def _is_own(run: Run, candidate: Candidate) -> bool:
    """Tell a candidate's run from one of its tip, which may be one that the tip was accepted by."""
    return run.tree_id == candidate.tree_id


def _round(run: Run) -> tuple[uuid.UUID | None, int, str]:
    return run.candidate_id, run.seed_index, run.class_text


def _hidden_rounds(runs: Iterable[Run]) -> set[tuple[uuid.UUID | None, int, str]]:
    """Return the rounds of which a run waits to be trained or revealed (see `verification.research.rounds.is_public`)."""
    candidates = {run.candidate_id for run in runs}
    waiting = Run.objects.filter(candidate__in=candidates, stage__in=_HIDDEN)
    return set(waiting.values_list("candidate_id", "seed_index", "class_text"))


def _pair_numbers(candidate: Candidate, runs: Sequence[Run]) -> dict[tuple[int, str], int]:
    """Number the pairs in the order in which their seeds were drawn; a second class's come after the first's."""
    place = {index: number for number, index in enumerate(candidate.seed_indexes)}
    keys = {(run.seed_index, run.class_text) for run in runs}
    ordered = sorted(keys, key=lambda key: (key[1] != candidate.class_text, key[1], place.get(key[0], len(place)), key[0]))
    return {key: number for number, key in enumerate(ordered, 1)}


def _owner_names(runs: Iterable[Run]) -> dict[uuid.UUID, str]:
    """Number the owners in the order of their first run; who they are is nobody's business."""
    names: dict[uuid.UUID, str] = {}
    for run in runs:
        if run.owner_id is not None and run.owner_id not in names:
            names[run.owner_id] = f"owner {len(names) + 1}"
    return names


def _line(run: Run, candidate: Candidate, owners: dict[uuid.UUID, str], pairs: dict[tuple[int, str], int], *, is_shown: bool) -> Line:
    is_judged = is_shown and run.stage in _JUDGED
    owner = "the trusted pool" if run.is_trusted_only else owners.get(run.owner_id, "nobody yet") if run.owner_id else "nobody yet"
    audited = len(run.audited_segments)
    return Line(
        run=run,
        owner=owner,
        pair=pairs[run.seed_index, run.class_text],
        is_candidates=_is_own(run, candidate),
        score=run.public_score if is_judged else None,
        why=sentence(run.reason_code) if is_judged and run.reason_code != reasons.VALID and run.reason_code else "",
        audit=f"{audited} segment{'s' if audited != 1 else ''} trained again" if is_judged and audited else "",
    )


def _curve(run: Run, candidate: Candidate, pairs: dict[tuple[int, str], int]) -> plots.Curve:
    points: list[tuple[int, float]] = [(step, loss) for step, loss in getattr(run, "curve", None) or ()]
    name = f"pair {pairs[run.seed_index, run.class_text]}"
    return plots.Curve(name, "CANDIDATE" if _is_own(run, candidate) else "TIP", tuple(points))


def _gains(runs: Iterable[Run], candidate: Candidate, pairs: dict[tuple[int, str], int]) -> list[float]:
    """Return the tip's public score less the candidate's for each pair of which both are known; lower scores are better."""
    scores: dict[int, dict[bool, float]] = collections.defaultdict(dict)
    for run in runs:
        if run.stage == _Stage.VALID and run.public_score is not None:
            scores[pairs[run.seed_index, run.class_text]].setdefault(_is_own(run, candidate), run.public_score)
    whole = [scores[pair] for pair in sorted(scores) if len(scores[pair]) == 2]
    return [pair[False] - pair[True] for pair in whole]


def _visible(sign: str) -> str:
    # Signs that turn the direction of a line or can't be seen would let code read as other code.
    return sign if sign in "\n\t" or unicodedata.category(sign)[0] != "C" else f"<U+{ord(sign):04X}>"
