"""Interface "autoresearch/1": karpathy/autoresearch's train.py as it is, a script with a training loop of its own, run in steps.

The script runs in a thread of its own, and only while a question of the runner waits for it. It stands still

- in `next(train_loader)`, when it wants rows that were not served yet;
- before the first forward pass after an optimizer's step, when every gradient of the rows served so far has been applied: here a
  checkpoint is taken and, in a new process, put in. Its loader has then already fetched the next rows, so the runner sends each
  batch one step ahead;
- in `evaluate_bpb(model, tokenizer, batch_size)`, which ends it and hands its weights over.

The state is the module called `model`, every optimizer among the script's globals, the random generators, and the plain numbers and
words among its globals (`step`, `total_training_time` and the like). What the script computes with its clock follows the batches.
"""

import hashlib
import json
import queue
import threading
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from . import settings, shims, states, trainers

SCRIPT = "train.py"
# Deep autograd graphs recurse; a thread would get less than the main one.
STACK_BYTES = 64 << 20
NUMBERS, WORDS = "script.numbers", "script.words"
# Spends the script's own budget with the last batch, not a rounding error before it.
A_LITTLE_FASTER = 1 + 1e-9


class Program:
    """One script, standing still between questions."""

    def __init__(self, seed: int, budget: dict[str, int], folder: Path, *, is_bf16: bool) -> None:
        """Start the script and wait until it wants its first rows.

        Raises:
            trainers.Unusable: `interface_missing`: no model or optimizer by then, or it ended before.
            whatever the script raises.
        """
        self._budget = budget
        self._is_bf16 = is_bf16
        self._rows = torch.empty((0, budget["sequence"] + 1), dtype=torch.int64)
        # Rows given to the script; those of them that a forward pass has seen; those of them that an optimizer's step has applied.
        self._taken = self._used = self._applied = 0
        self._wanted = 0
        self._is_applied = False
        self._is_ended = False
        self._clock, self._rate = 0.0, shims.TIME_BUDGET_S / budget["steps"]
        self._is_rate_known = False
        self._to_put_in: bytes | None = None
        self._go = threading.Semaphore(0)
        self._stood: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        modules = {"prepare": shims.prepare(self, budget, device), "kernels": shims.kernels(), "time": shims.clock(self)}
        self._space: dict[str, object] = {"__name__": "__main__", "__file__": SCRIPT, "__builtins__": shims.importing(modules)}
        settings.seed(seed)
        _patch_torch(seed)
        nn.modules.module.register_module_forward_pre_hook(self._before_forward)
        register_optimizer_step_post_hook(self._after_step)
        code = compile((folder / SCRIPT).read_text("utf-8"), SCRIPT, "exec")
        threading.stack_size(STACK_BYTES)
        self._thread = threading.Thread(target=self._run, args=(code,), name="script", daemon=True)
        self._thread.start()
        self._until_it_stands()
        self.model, self.optimizers = self._found()

    def restore(self, content: bytes) -> None:
        """Take a checkpoint, which is put in before the script's first forward pass."""
        words = json.loads(states.unpack(content)[WORDS].numpy().tobytes())
        self._taken = self._used = self._applied = words["rows"]
        self._is_ended = words["is_ended"]
        if self._is_ended:
            self._put_in(content)
        else:
            self._to_put_in = content

    def restore_model(self, content: bytes) -> None:
        """Put the weights of a checkpoint in, for evaluation."""
        states.restore_model(self.model, states.unpack(content))
        self.model.eval()

    def step(self, step: int, tokens: bytes) -> float | None:
        """Let the script train on one batch; `tokens` holds it and the one after it."""
        if self._is_ended:
            return None
        rows = self._budget["rows"]
        both = torch.frombuffer(bytearray(tokens), dtype=torch.int64).reshape(2 * rows, -1)
        # What the loader has not fetched ahead. Of the batch after this one, it may.
        self._rows = both[self._taken - step * rows :]
        self._wanted = (step + 1) * rows
        self._go.release()
        self._until_it_stands()
        said = self._space.get("train_loss_f")
        return float(said) if isinstance(said, int | float) else None

    def state(self, step: int) -> bytes:
        """Write a checkpoint.

        Raises:
            trainers.Unusable: `state_between_steps`: rows of this step are not yet in the weights.
        """
        rows = step * self._budget["rows"]
        if not self._is_ended and step and not (self._is_applied and self._applied == rows):
            raise trainers.Unusable(
                "state_between_steps", "an optimizer's step must end where a checkpoint is: let its batch divide the rows of the spec"
            )
        return states.capture(self, step, self._own_tensors(rows))

    def logits(self, content: bytes) -> bytes:
        """Score each next token: float32, rows x length x vocabulary.

        Raises:
            trainers.Unusable: `logits_malformed`.
        """
        device = trainers.device_of(self.model)
        with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=self._is_bf16):
            return trainers.logits_of(self.model, content, self._budget["vocabulary"], device)

    def rows(self, count: int) -> Tensor:
        """Give the script's loader its next rows, once they are served."""
        while len(self._rows) < count:
            self._stand()
        given, self._rows = self._rows[:count], self._rows[count:]
        self._taken += count
        self._clock += self._rate * count / self._budget["rows"]
        return given

    def end(self, model: object) -> float:
        """Keep the weights that the script wants scored, and stand still for good."""
        if isinstance(model, nn.Module):
            self.model = model
        self._is_ended = True
        while True:
            self._stand()

    def now(self) -> float:
        """Give the script's time in seconds."""
        return self._clock

    def _run(self, code: object) -> None:
        try:
            exec(code, self._space)  # type: ignore[arg-type]  # noqa: S102  a stranger's script, in its sandbox
        except BaseException as failure:  # its author may raise anything; the main thread tells
            self._stood.put(failure)
        else:
            self._is_ended = True
            self._stood.put(None)

    def _stand(self) -> None:
        self._stood.put(None)
        self._go.acquire()

    def _until_it_stands(self) -> None:
        failure = self._stood.get()
        if failure is not None:
            raise failure

    def _found(self) -> tuple[nn.Module, list[torch.optim.Optimizer]]:
        model = self._space.get("model")
        globals_ = [self._space[name] for name in sorted(self._space)]
        optimizers = [one for one in globals_ if isinstance(one, torch.optim.Optimizer)]
        if not isinstance(model, nn.Module) or not optimizers or self._is_ended:
            raise trainers.Unusable("interface_missing", "the script needs globals `model` and an optimizer before its first batch")
        return model, optimizers

    def _before_forward(self, _module: nn.Module, _inputs: object) -> None:
        if threading.current_thread() is not self._thread:
            return
        if self._is_applied and self._applied >= self._wanted:
            self._stand()
        if self._to_put_in is not None:
            content, self._to_put_in = self._to_put_in, None
            self._put_in(content)
        self._used, self._is_applied = self._taken, False

    def _after_step(self, _optimizer: torch.optim.Optimizer, _arguments: object, _words: object) -> None:
        self._applied, self._is_applied = self._used, True
        if not self._is_rate_known:
            # Now it is known how many rows one of its untimed steps takes.
            self._is_rate_known = True
            timed = self._budget["steps"] - shims.UNTIMED_STEPS * self._applied / self._budget["rows"]
            if timed > 0:
                self._rate = shims.TIME_BUDGET_S / timed * A_LITTLE_FASTER

    def _own_tensors(self, rows: int) -> dict[str, Tensor]:
        """Give what the harness and the script remember in plain values."""
        plain = {name: value for name, value in self._space.items() if type(value) in (bool, int, float, str) and not name.startswith("__")}
        numbers = sorted(name for name, value in plain.items() if type(value) is float)
        words = {
            "rows": rows,
            "is_ended": self._is_ended,
            "is_rate_known": self._is_rate_known,
            "numbers": numbers,
            "globals": {name: value for name, value in plain.items() if name not in numbers},
        }
        values = [self._clock, self._rate, *(cast(float, plain[name]) for name in numbers)]
        return {
            WORDS: torch.frombuffer(bytearray(json.dumps(words, sort_keys=True).encode()), dtype=torch.uint8),
            NUMBERS: torch.tensor(values, dtype=torch.float64),
        }

    def _put_in(self, content: bytes) -> None:
        states.restore(self, content)
        tensors = states.unpack(content)
        words = json.loads(tensors[WORDS].numpy().tobytes())
        if words["rows"] == 0:
            # Taken before the script fetched its first rows; it has come further by itself since.
            return
        self._clock, self._rate, *values = tensors[NUMBERS].tolist()
        self._is_rate_known = words["is_rate_known"]
        self._space.update(words["globals"])
        self._space.update(zip(words["numbers"], values, strict=True))


def _patch_torch(seed: int) -> None:
    """Draw the script's fixed seeds from the verifier's; compile nothing; let a machine without a GPU pass for a quiet one."""
    honest = torch.manual_seed

    def mixed(seed: int, verifier_seed: int = seed) -> torch.Generator:
        return honest(int.from_bytes(hashlib.sha256(f"{verifier_seed}:{seed}".encode()).digest()[:8], "big") >> 1)

    def nothing(seed: int) -> None:
        """The call above has seeded every device."""

    torch.manual_seed = mixed
    torch.cuda.manual_seed = torch.cuda.manual_seed_all = nothing
    # Another class of results, and none that is offered: its kernels are chosen on the machine.
    torch.compile = lambda *given, **_: given[0] if given else (lambda one: one)  # type: ignore[assignment]
    if not torch.cuda.is_available():
        torch.cuda.synchronize = lambda *_: None
        torch.cuda.get_device_capability = lambda *_: (0, 0)
        torch.cuda.max_memory_allocated = lambda *_: 0
