"""The attacks A1 to A25, each a real candidate, report or host, and the check that must catch it."""

import dataclasses
import functools
import itertools
import os
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from gpu_workers.runner import broker, checkpoints, conversation
from tests.attacks import cheating, edits, scene
from tests.attacks.scene import Scene
from verification.replay import digests, reports
from verification.replay.digests import Tensor
from verification.replay.policy import AlphaBudget
from verification.replay.reports import Report

CANARY = "canary-5d0f2c9be1a7"


@dataclass(frozen=True)
class Attack:
    """One attack. ``run`` carries it out and returns the name of what caught it, or says in other words how it got through."""

    code: str
    name: str
    check: str
    run: Callable[[Scene], str]


def _refused(text_name: str) -> Callable[[Scene], str]:
    return lambda at: at.judge(cheating.CANDIDATES[text_name]).refused_by


def is_caught(attack: Attack, said: str) -> bool:
    """Tell whether the check that is named for an attack is what caught it; others may have caught it too."""
    return said == attack.check or attack.check in said.split()


def _wins_nothing(text_name: str) -> Callable[[Scene], str]:
    """The attack may run to its end: what counts is that its score is no better than honest work's."""

    def run(at: Scene) -> str:
        judged = at.judge(cheating.CANDIDATES[text_name])
        if judged.score is None:
            return judged.refused_by
        gain = at.base_score.holdout - judged.score.holdout
        return "score from outside" if gain < scene.WORTH_PAYING else f"it won {gain:.2f} bits per byte"

    return run


def _finds_nothing(text: str) -> Callable[[Scene], str]:
    """What it looks for is not there: where it found it, it would raise."""

    def run(at: Scene) -> str:
        # Looking through thousands of files takes its time.
        judged = at.judge(text.replace(cheating.MARK, _mark(at).hex()), spec=dataclasses.replace(at.spec, wall_s=600))
        return "nothing to be found" if judged.score is not None else f"stopped by {judged.refused_by}"

    return run


def _mark(at: Scene) -> bytes:
    return at.paths["validation.bin"].read_bytes()[2_000:2_048]


def _secrets(at: Scene) -> str:
    os.environ["ATOMS_CANARY"] = CANARY
    try:
        return _finds_nothing(cheating.CANDIDATES["steals secrets"].replace("@@CANARY@@", CANARY))(at)
    finally:
        del os.environ["ATOMS_CANARY"]


def _cache(at: Scene) -> str:
    text = cheating.CANDIDATES["keeps a cache"]
    at.train(text)
    try:
        at.train(text)
    except conversation.RunFailed as failed:
        return f"the second run found it: {failed.code}"
    return "fresh folders"


def _overtime(at: Scene) -> str:
    refused = at.judge(cheating.CANDIDATES["trains four hundred times on a batch"], spec=dataclasses.replace(at.spec, wall_s=6)).refused_by
    return "wall clock" if refused.endswith((":wall_clock", ":cpu")) else refused


def _more_batches(at: Scene) -> str:
    judged = at.judge(cheating.CANDIDATES["asks the broker for more"])
    if judged.report is None:
        return "batches from outside" if judged.codes[0] in ("protocol", "raised", "exited") else judged.refused_by
    served, allowed = judged.report.tokens_served, at.base.report.tokens_served
    return "batches from outside" if served == allowed else f"it got {served} tokens of {allowed}"


def _afterwards(at: Scene) -> str:
    before = {process.pid for process in psutil.Process().children(recursive=True)}
    at.train(cheating.CANDIDATES["works afterwards"])
    left = {process.pid for process in psutil.Process().children(recursive=True)} - before
    return "everything inside ends" if not left else f"{len(left)} processes still run"


def _orders(at: Scene) -> str:
    judged = at.judge(cheating.CANDIDATES["gives orders to the judge"])
    return "typed fields" if judged.score is not None and judged.score.holdout == at.base_score.holdout else judged.refused_by


def _hardware(at: Scene) -> str:
    text = cheating.CANDIDATES["works on one kind of machine"]
    elsewhere = conversation.Place(level="bwrap-cpu", environment={"ATEN_CPU_CAPABILITY": "default"})
    here, there = at.train(text), at.train(text, place=elsewhere)
    gain_here = at.base_score.holdout - at.evaluate(text, here).holdout
    gain_there = at.base_score.holdout - at.evaluate(text, there).holdout
    return "second class" if gain_there < -scene.WORTH_PAYING < gain_here else f"gains {gain_here:.2f} and {gain_there:.2f}"


def _swapped_data(at: Scene) -> str:
    other = at.folder / "swapped.bin"
    other.write_bytes(at.paths["holdout.bin"].read_bytes()[::-1])
    try:
        at.evaluate(edits.BASE, at.base, data={**at.paths, "holdout.bin": other})
    except broker.WrongData:
        return "content hash"
    return "it was scored on other data"


# -- Hosts ------------------------------------------------------------------------------------------------------------


def _audited(at: Scene, report: Report, paths: dict[int, Path], asked: tuple[int, ...] = ()) -> str:
    failed = next((one for one in at.audit(report, paths, asked=asked).results if not one.is_passed), None)
    return f"audit:{failed.code}" if failed else "the audit passed"


def _state(at: Scene, index: int) -> tuple[Tensor, ...]:
    return tuple(checkpoints.read_file(at.base.checkpoint_paths[index], at.spec))


def _reported(at: Scene, states: dict[int, tuple[Tensor, ...]]) -> tuple[Report, dict[int, Path]]:
    """Return a report that is right about all that can be computed from its checkpoints; only they were not trained."""
    every, all_states = at.spec.checkpoint_every, [states.get(index) or _state(at, index) for index in range(at.spec.segments + 1)]
    paths = {}
    for index, tensors in enumerate(all_states):
        paths[index] = at.folder / f"forged-{os.getpid()}-{index}"
        paths[index].write_bytes(checkpoints.packed(tensors, index * every))
    leaves = [digests.leaf(index * every, tensors) for index, tensors in enumerate(all_states)]
    norms = tuple(checkpoints.movement(before, after) for before, after in itertools.pairwise(all_states))
    report = dataclasses.replace(at.base.report, leaves=tuple(one.hex() for one in leaves), norms=norms, root=digests.root(leaves).hex())
    return report, paths


def _invented(at: Scene) -> str:
    """No training at all: digests out of the air, and the honest base's files to show."""
    leaves = tuple(digests.leaf(index, []).hex() for index in range(at.spec.segments + 1))
    report = dataclasses.replace(at.base.report, leaves=leaves, root=digests.root([bytes.fromhex(one) for one in leaves]).hex())
    return _audited(at, report, dict(enumerate(at.base.checkpoint_paths)))


def _other_run(text: str, *, seed: int = scene.SEED) -> Callable[[Scene], str]:
    def run(at: Scene) -> str:
        other = at.train(text, seed=seed)
        report = dataclasses.replace(other.report, seed=scene.SEED)
        return _audited(at, report, dict(enumerate(other.checkpoint_paths)))

    return run


def _teleported(at: Scene) -> str:
    other = at.train(edits.BASE, seed=scene.SEED + 1)
    last = at.spec.segments
    report, paths = _reported(at, {last: tuple(checkpoints.read_file(other.checkpoint_paths[last], at.spec))})
    return _audited(at, report, paths)


def _poked(at: Scene) -> str:
    last = at.spec.segments
    state = list(_state(at, last))
    index = next(number for number, tensor in enumerate(state) if tensor.name.startswith("model.") and tensor.dtype == "F32")
    content = bytearray(state[index].data)
    content[0] ^= 1
    state[index] = state[index]._replace(data=bytes(content))
    return _audited(at, *_reported(at, {last: tuple(state)}))


def _stopped_early(at: Scene) -> str:
    """The last segment is a copy of the one before."""
    last = at.spec.segments
    return _audited(at, *_reported(at, {last: _state(at, last - 1)}))


def _other_weights(at: Scene) -> str:
    other = at.train(edits.BASE, seed=scene.SEED + 1)
    paths = dict(enumerate(at.base.checkpoint_paths)) | {at.spec.segments: other.checkpoint_paths[-1]}
    return _audited(at, at.base.report, paths)


class _Shell:
    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, ("false",)


def _pickled(at: Scene) -> str:
    path = at.folder / "pickled"
    path.write_bytes(pickle.dumps(_Shell()))
    paths = dict(enumerate(at.base.checkpoint_paths)) | {at.spec.segments: path}
    return _audited(at, at.base.report, paths)


def _huge_header(at: Scene) -> str:
    path = at.folder / "huge"
    path.write_bytes((1 << 62).to_bytes(8, "little") + b"{" * 64)
    paths = dict(enumerate(at.base.checkpoint_paths)) | {at.spec.segments: path}
    return _audited(at, at.base.report, paths)


def _copied_seal(at: Scene) -> str:
    """The other owner's seal is all that can be seen; his report, once known, is of his own run."""
    salt = reports.new_salt()
    seal = reports.seal(at.base.report, salt)
    mine = dataclasses.replace(at.base.report, run_id="rpl_copycat")
    return "commit-reveal" if not reports.is_sealed_by(seal, mine, salt) else "the copied seal opened"


def _copied_root(at: Scene) -> str:
    """He copies a whole report of the same tree and seed, and has no checkpoints to show."""
    return _audited(at, at.base.report, {})


def _many_nulls(_at: Scene) -> str:
    tried = next(count for count in itertools.count() if not AlphaBudget(accepted=0, unaccepted=count).may_submit)
    # At half a percent a try, so many tries pass one null candidate with less than one in ten.
    return "alpha budget" if 1 - (1 - 0.005) ** tried < 0.1 else f"{tried} tries are allowed"


@functools.cache
def attacks() -> tuple[Attack, ...]:
    """Return every attack on candidates, reports and hosts; those on the market's own rows are in `tests.attacks.market`."""
    return (
        Attack("A1", "prints and patches in a score", "score from outside", _wins_nothing("fakes a score")),
        Attack("A2", "returns its own loss", "smoke:logits_malformed", _refused("returns its own loss")),
        Attack("A3", "scores that are no distribution", "score from outside", _wins_nothing("scores that are no distribution")),
        Attack("A4", "looks ahead", "smoke:probe_truncated", _refused("looks ahead")),
        Attack("A4", "looks ahead at one position in twenty", "smoke:probe_truncated", _refused("looks ahead at one position in twenty")),
        Attack("A5", "remembers what it was asked", "smoke:probe_state", _refused("remembers what it was asked")),
        Attack("A5", "learns while it is scored", "smoke:probe_state", _refused("learns while it is scored")),
        Attack("A6", "rows help each other", "smoke:probe_row_alone", _refused("rows help each other")),
        Attack(
            "A7",
            "seeks the scored text to train on it",
            "nothing to be found",
            _finds_nothing(cheating.CANDIDATES["seeks the scored text"]),
        ),
        Attack("A8", "swaps the hold-out file", "content hash", _swapped_data),
        Attack("A9", "trains longer than its budget", "wall clock", _overtime),
        Attack("A9", "asks the broker for more batches", "batches from outside", _more_batches),
        Attack("A10", "leaves a process to work afterwards", "everything inside ends", _afterwards),
        Attack("A11", "picks a seed", "smoke:seed_ignored", _refused("ignores the seed")),
        Attack("A12", "stops by the scored text", "nothing to be found", _finds_nothing(cheating.CANDIDATES["stops by the scored text"])),
        Attack("A13", "hides parameters in a buffer", "smoke:too_many_parameters", _refused("hides parameters")),
        Attack("A14", "smuggles trained weights in", "gate:opaque_text", _refused("smuggles weights")),
        Attack("A15", "behaves otherwise when it is looked at", "smoke:split_run_differs", _refused("detects the judge")),
        Attack("A16", "keeps a cache for its next run", "fresh folders", _cache),
        Attack("A17", "takes answers from memory and open files", "score from outside", _wins_nothing("steals answers")),
        Attack("A18", "steals secrets and calls out", "nothing to be found", _secrets),
        Attack("A19", "breaks out", "nothing to be found", _finds_nothing(cheating.CANDIDATES["breaks out"])),
        Attack("A20", "hands in a pickle for a checkpoint", "audit:checkpoint_malformed", _pickled),
        Attack("A20", "hands in a file with an endless header", "audit:checkpoint_malformed", _huge_header),
        Attack("A21", "gives orders to the judge", "typed fields", _orders),
        Attack("A22", "invents a report", "audit:checkpoint_not_committed", _invented),
        Attack("A22", "trains with another learning rate", "audit:differs", _other_run(edits.BASE.replace("= 1e-3", "= 1.01e-3"))),
        Attack("A22", "trains with another seed", "audit:differs", _other_run(edits.BASE, seed=scene.SEED + 1)),
        Attack("A22", "leaves the last segment out", "audit:differs", _stopped_early),
        Attack("A22", "puts another run's weights at the end", "audit:differs", _teleported),
        Attack("A22", "changes one bit of the weights", "audit:differs", _poked),
        Attack("A22", "hands in other weights than it committed to", "audit:checkpoint_not_committed", _other_weights),
        Attack("A22", "copies another owner's seal", "commit-reveal", _copied_seal),
        Attack("A22", "copies another owner's report", "audit:checkpoint_missing", _copied_root),
        Attack("A24", "sends null candidates until one passes", "alpha budget", _many_nulls),
        Attack("A25", "works on one kind of machine only", "second class", _hardware),
    )
