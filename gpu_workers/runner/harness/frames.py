"""The frames between the runner and the harness: a kind (1 byte), a length (8 bytes, little-endian) and that many bytes.

The runner asks, the harness answers, one frame each; neither ever has two frames under way.
"""

import json
import os
import struct

HEADER = struct.Struct("<cQ")

# What the runner asks.
SETUP = b"S"  # JSON: interface, files, seed, budget, threads ...
RESTORE = b"R"  # a checkpoint
WEIGHTS = b"W"  # a checkpoint of which only the "model." tensors are put in, for evaluation
STEP = b"B"  # number of the step from 0 (8 bytes), then one batch (autoresearch/1: two) of rows x (sequence + 1) tokens, int64
STATE = b"C"  # steps done (8 bytes); the answer is a checkpoint
LOGITS = b"L"  # rows and length (4 bytes each), then the tokens, int64; the answer is float32

# What the harness answers.
DONE = b"D"  # JSON, or bytes for STATE and LOGITS
FAILED = b"F"  # JSON: code, detail

LOGITS_SHAPE = struct.Struct("<II")
STEP_NUMBER = struct.Struct("<Q")
# A frame of words is small; states and logits have limits of their own.
MOST_WORDS_BYTES = 16 << 10


class Pipe:
    """The harness's end: two file descriptors of its own, away from what `print` and `input` reach."""

    def __init__(self, source: int, target: int) -> None:
        self._source = source
        self._target = target

    def receive(self) -> tuple[bytes, bytes]:
        """Read one frame: its kind and content.

        Raises:
            EOFError: the runner has gone.
        """
        kind, length = HEADER.unpack(self._read(HEADER.size))
        return kind, bytes(self._read(length))

    def send(self, kind: bytes, content: bytes) -> None:
        """Write one frame."""
        for part in (HEADER.pack(kind, len(content)), content):
            view = memoryview(part)
            while view:
                view = view[os.write(self._target, view) :]

    def send_words(self, kind: bytes, words: dict[str, object]) -> None:
        """Write one frame of JSON."""
        self.send(kind, json.dumps(words).encode())

    def _read(self, length: int) -> bytearray:
        content = bytearray(length)
        view = memoryview(content)
        while view:
            count = os.readv(self._source, [view])
            if count == 0:
                raise EOFError
            view = view[count:]
        return content


def take_over_pipes() -> Pipe:
    """Keep the two pipes under other numbers, and give the stranger's code an empty input and the capped error stream.

    Whatever it prints is then never read as an answer. A stranger may still find the descriptors: the runner trusts no frame.
    """
    pipe = Pipe(os.dup(0), os.dup(1))
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return pipe
