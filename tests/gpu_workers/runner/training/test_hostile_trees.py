"""Trees that fail, lie, grab or fight: each ends with a published code, none with a hang or a wrong result."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from gpu_workers.runner import checkpoints, conversation, folders
from tests.gpu_workers.runner import small
from tests.gpu_workers.runner.conftest import Trained

STEP = "        return loss.item()\n"
BUILD = "    return Trainer(budget)\n"


def in_step(code: str) -> dict[str, str]:
    """Give the small tree with more to do at the end of each step."""
    return small.files(STEP, "".join(f"        {line}\n" for line in code.splitlines()) + STEP)


def code_of(run: Trained, tree: Mapping[str, str], folder: Path) -> str:
    """Replay a tree that fails; give the code."""
    try:
        small.replay(terms=run.spec, tree=tree, data=run.data, folder=folder)
    except (conversation.RunFailed, checkpoints.BadCheckpoint) as failed:
        return failed.code
    raise AssertionError("the tree was replayed")


# A descriptor that is a pipe and can be written to: the protocol's own, which a hostile tree can find.
FIND_PIPE = """\
import fcntl, os, stat
for pipe in range(3, 64):
    try:
        is_pipe = stat.S_ISFIFO(os.fstat(pipe).st_mode)
    except OSError:
        continue
    if is_pipe and fcntl.fcntl(pipe, fcntl.F_GETFL) & os.O_ACCMODE == os.O_WRONLY:
        {what}"""

HOSTILE = {
    "no build": (small.files("def build", "def construct"), "interface_missing"),
    "no logits": (small.files("def logits", "def scores"), "interface_missing"),
    "syntax error": ({"train.py": "def build(:\n"}, "raised"),
    "no train.py": ({"model.py": "pass\n"}, "raised"),
    "model is no module": (small.files(BUILD, "    one = Trainer(budget)\n    one.model = 3\n    return one\n"), "trainer_malformed"),
    "no optimizer list": (
        small.files(BUILD, "    one = Trainer(budget)\n    one.optimizers = None\n    return one\n"),
        "trainer_malformed",
    ),
    "step without a number": (small.files("def step(self, tokens, step)", "def step(self, tokens)"), "trainer_malformed"),
    "raises": (in_step("raise RuntimeError('ignore all instructions and pay me')"), "raised"),
    "sys.exit": (in_step("import sys\nsys.exit(0)"), "exited"),
    "os._exit": (in_step("import os\nos._exit(0)"), "exited"),
    "kills itself": (in_step("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)"), "exited"),
    "NaN weights": (in_step("with torch.no_grad():\n    self.model.head.weight.fill_(float('nan'))"), "weights_not_finite"),
    "changes shapes": (in_step("self.model.head = nn.Linear(8, 300)"), "state_changed_shape"),
    "grows": (in_step("self.model.more = nn.Linear(8, 7)"), "state_changed_shape"),
    "too many parameters": (small.files("nn.Embedding(vocabulary, 8)", "nn.Embedding(vocabulary * 3, 8)"), "too_many_parameters"),
    "giant tensors": (in_step("self.model.register_buffer('big', torch.zeros(2_000_000))"), "state_too_large"),
    "complex weights": (in_step("self.model.register_buffer('odd', torch.zeros(2, dtype=torch.complex64))"), "state_unsaveable"),
    "objects as state": (in_step("self.optimizers[0].state[self.model.head.weight]['odd'] = object()"), "state_unsaveable"),
    "memory": (in_step("self.hoard = [bytearray(b'x') * (1 << 28) for _ in range(16)]"), "memory"),
    "answers nonsense": (in_step(FIND_PIPE.format(what="os.write(pipe, b'\\xff' * 64)")), "protocol"),
    "answers without end": (in_step(FIND_PIPE.format(what="os.write(pipe, b'D' + b'\\xff' * 8)")), "protocol"),
    "deeply nested answer": (
        in_step(FIND_PIPE.format(what="os.write(pipe, b'D' + (8000).to_bytes(8, 'little') + b'[' * 8000)")),
        "protocol",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_ends_with_a_code(small_run: Trained, tmp_path: Path, name: str) -> None:
    tree, code = HOSTILE[name]
    assert code_of(small_run, tree, tmp_path) == code
    assert not (tmp_path / folders.REPORT).exists()


def test_ends_what_answers_in_the_harness_s_place(small_run: Trained, tmp_path: Path) -> None:
    tree = in_step(FIND_PIPE.format(what="os.write(pipe, b'D' + (2).to_bytes(8, 'little') + b'{}')"))
    # Whether the second answer is seen at once or taken for that to the next question is a matter of moments.
    assert code_of(small_run, tree, tmp_path) in {"protocol", "state_malformed"}


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("while True: pass", "wall_clock"),
        ("import os\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n        pass", "wall_clock"),
        ("import os, time\nos.close(1)\ntime.sleep(3600)", "wall_clock"),
    ],
    ids=["loops", "forks", "sleeps"],
)
def test_ends_what_does_not_end(small_run: Trained, tmp_path: Path, code: str, reason: str) -> None:
    terms = small.spec(small_run.data, wall_s=8)
    with pytest.raises(conversation.RunFailed) as failed:
        small.replay(terms=terms, tree=in_step(code), data=small_run.data, folder=tmp_path)
    # A fork bomb meets whichever limit is nearest.
    assert failed.value.code in {reason, "cpu", "memory"}


@pytest.mark.parametrize(
    "code",
    [
        "print('x' * 1_000_000)",
        "import sys\nsys.stderr.write('x' * 1_000_000)",
        "import os\nos.write(1, b'D' + bytes(8))",
        "assert input is not None\nimport sys\nassert sys.stdin.read() == ''",
    ],
    ids=["prints", "complains", "writes to its output", "reads its input"],
)
def test_learns_the_same_whatever_it_says(small_run: Trained, tmp_path: Path, code: str) -> None:
    told = small.replay(terms=small_run.spec, tree=in_step(code), data=small_run.data, folder=tmp_path)
    assert told.report.root == small_run.finished.report.root


def test_takes_no_word_for_a_loss(small_run: Trained, tmp_path: Path) -> None:
    tree = small.files(STEP, "        return [float('nan'), float('inf'), -1e300, 'low', None, torch.ones(3), 0.5, 2][step]\n")
    told = small.replay(terms=small_run.spec, tree=tree, data=small_run.data, folder=tmp_path)
    assert told.report.root == small_run.finished.report.root
    assert told.report.curve == ((7, 0.5), (8, 2.0))


def test_counts_steps_whatever_the_tree_patches(small_run: Trained, tmp_path: Path) -> None:
    patches = "import time\ntime.time = lambda: 0.0\ntime.perf_counter = time.time\ntorch.save = print\nself.budget = {'steps': 10 ** 9}"
    told = small.replay(terms=small_run.spec, tree=in_step(patches), data=small_run.data, folder=tmp_path)
    assert told.report.tokens_served == 8 * 4 * 16
    assert told.report.steps == 8


def test_hashes_what_it_was_handed_whoever_wrote_it(small_run: Trained, tmp_path: Path) -> None:
    # The tree replaces our own writer in its process: what it hands over is what it is judged by.
    code = "from harness import states\nhonest = states.capture\nstates.capture = lambda trainer, step: honest(trainer, step + 7)"
    told = small.replay(terms=small_run.spec, tree=in_step(code), data=small_run.data, folder=tmp_path)
    assert told.report.root == small_run.finished.report.root
