"""The program inside the sandbox: take over the pipes, set torch up, load the tree, answer the runner.

It shares its process with the stranger's code. What it does not protect from: that code may change it, answer in its place or
stop; the runner outside counts the batches, hashes the states and scores the weights itself.
"""

import base64
import json
import os
import sys
import traceback
from pathlib import Path
from typing import Protocol

from . import frames, scripts, settings, states, trainers

TREE = Path("/tmp/tree")  # noqa: S108  the sandbox's own, private and empty
ASSETS = Path("/tmp/assets")  # noqa: S108
MOST_DETAIL = 2000


class Program(Protocol):
    """A loaded tree, of either interface."""

    def restore(self, content: bytes) -> None: ...
    def restore_model(self, content: bytes) -> None: ...
    def step(self, step: int, tokens: bytes) -> float | None: ...
    def state(self, step: int) -> bytes: ...
    def logits(self, content: bytes) -> bytes: ...


def main() -> None:
    """Answer frames until the runner has gone."""
    pipe = frames.take_over_pipes()
    program: Program | None = None
    while True:
        try:
            kind, content = pipe.receive()
        except EOFError:
            # Not `sys.exit`: threads and exit handlers of the stranger have no say.
            os._exit(0)
        try:
            if kind == frames.SETUP:
                program = load(json.loads(content))
                answer = b"{}"
            else:
                answer = answered(program, kind, content)
        except BaseException as failure:  # a stranger's code raises what it likes, SystemExit included
            pipe.send_words(frames.FAILED, told(failure))
        else:
            pipe.send(frames.DONE, answer)


def answered(program: Program | None, kind: bytes, content: bytes) -> bytes:
    """Do what one frame asks and give the answer's content."""
    if program is None:
        raise ValueError("asked before set up")
    if kind == frames.STEP:
        loss = program.step(*_numbered(content))
        return json.dumps({"loss": None if loss is None else repr(loss)}).encode()
    if kind == frames.STATE:
        return program.state(_numbered(content)[0])
    if kind == frames.LOGITS:
        return program.logits(content)
    if kind == frames.WEIGHTS:
        program.restore_model(content)
    else:
        program.restore(content)
    return b"{}"


def _numbered(content: bytes) -> tuple[int, bytes]:
    return frames.STEP_NUMBER.unpack_from(content)[0], content[frames.STEP_NUMBER.size :]


def load(setup: dict[str, object]) -> Program:
    """Set torch up, write the tree and the assets down and load the tree by its interface."""
    files, assets = setup["files"], setup["assets"]
    if not isinstance(files, dict) or not isinstance(assets, dict):
        raise TypeError("setup of an unknown shape")
    settings.fix(int(str(setup["threads"])))
    for path, text in files.items():
        target = TREE / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8", newline="")
    ASSETS.mkdir(exist_ok=True)
    for name, content in assets.items():
        (ASSETS / name).write_bytes(base64.b64decode(content))
    sys.path.insert(0, str(TREE))
    return _program(setup)


def _program(setup: dict[str, object]) -> Program:
    budget = setup["budget"]
    if not isinstance(budget, dict):
        raise TypeError("setup of an unknown shape")
    seed = int(str(setup["seed"]))
    if setup["interface"] == "autoresearch/1":
        return scripts.Program(seed, budget, TREE, is_bf16=setup["precision"] == "bf16")
    return trainers.Program(seed, budget)


def told(failure: BaseException) -> dict[str, object]:
    """Put a failure into words: a code and the end of the traceback, which is the stranger's and to be trusted as such."""
    if isinstance(failure, states.Unsaveable):
        return {"code": "state_unsaveable", "detail": str(failure)[:MOST_DETAIL]}
    if isinstance(failure, trainers.Unusable):
        return {"code": failure.code, "detail": str(failure)[:MOST_DETAIL]}
    if isinstance(failure, MemoryError):
        return {"code": "memory", "detail": "out of memory"}
    if isinstance(failure, SystemExit):
        return {"code": "exited", "detail": f"the tree called exit({failure.code!r})"[:MOST_DETAIL]}
    words = "".join(traceback.format_exception(failure, limit=-4))
    return {"code": "raised", "detail": words[-MOST_DETAIL:]}
