"""Photographs from strangers' bytes: a few limited child processes that only decode. See `gpu_workers.decoder_child`."""

import queue
import struct
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import numpy as np

from gpu_workers import decoder_child
from gpu_workers.vision.base import Picture

CHILD = Path(decoder_child.__file__)
WALL_CLOCK_S = 20.0


class Undecodable(Exception):
    """These bytes give no picture; `reason` is a short lower-case word."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Decoder:
    """One child process, started when first needed and again after a file that ended it. One thread at a time."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None

    def decode(self, raw: bytes) -> Picture:
        """Decode one file: upright, RGB, at most 640 px long.

        Raises:
            Undecodable: `not_a_photo`, `too_large`, `too_many_pixels`, `too_small`, `too_much_memory`, `damaged`, or
                `decoder_ended` where the child was ended by its limits.
        """
        if len(raw) > decoder_child.LARGEST_FILE_BYTES:
            raise Undecodable("too_large")
        child = self._running()
        # Whoever holds the child up, a wall clock ends it; the reads below then see the end of the file.
        clock = threading.Timer(WALL_CLOCK_S, child.kill)
        clock.start()
        try:
            return _ask(child, raw)
        except (OSError, EOFError) as ended:
            self.close()
            raise Undecodable("decoder_ended") from ended
        finally:
            clock.cancel()

    def close(self) -> None:
        """End the child."""
        if self._child is None:
            return
        child, self._child = self._child, None
        child.kill()
        child.wait()
        for stream in (child.stdin, child.stdout):
            if stream is not None:
                _close_quietly(stream)

    def _running(self) -> subprocess.Popen[bytes]:
        if self._child is None or self._child.poll() is not None:
            self.close()
            self._child = subprocess.Popen(  # noqa: S603  our own program, by full path, without a shell
                [sys.executable, "-I", str(CHILD)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={}
            )
        return self._child


class DecoderPool:
    """A few decoders side by side; decoding, not the model, starves a GPU."""

    def __init__(self, size: int) -> None:
        self._decoders = [Decoder() for _ in range(size)]
        self._idle: queue.SimpleQueue[Decoder] = queue.SimpleQueue()
        for decoder in self._decoders:
            self._idle.put(decoder)
        self._threads = ThreadPoolExecutor(size, thread_name_prefix="decode")

    def decode_all(self, files: Sequence[bytes]) -> list[Picture | Undecodable]:
        """Decode each file; what can't be decoded gives its `Undecodable` in place."""
        return list(self._threads.map(self._decode, files))

    def close(self) -> None:
        """End the threads and the children."""
        self._threads.shutdown()
        for decoder in self._decoders:
            decoder.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _decode(self, raw: bytes) -> Picture | Undecodable:
        decoder = self._idle.get()
        try:
            return decoder.decode(raw)
        except Undecodable as undecodable:
            return undecodable
        finally:
            self._idle.put(decoder)


def _ask(child: subprocess.Popen[bytes], raw: bytes) -> Picture:
    if child.stdin is None or child.stdout is None:
        raise OSError("the decoder has no pipes")
    child.stdin.write(struct.pack(">I", len(raw)))
    child.stdin.write(raw)
    child.stdin.flush()
    status = _read(child.stdout, 1)
    if status not in (b"P", b"R"):
        raise OSError("the decoder answered out of turn")
    if status == b"R":
        raise Undecodable(_read(child.stdout, 16).decode("ascii", "replace").strip())
    height, width = struct.unpack(">HH", _read(child.stdout, 4))
    if not 0 < max(height, width) <= decoder_child.LONG_SIDE_PX:
        raise OSError("the decoder answered with an impossible size")
    pixels = _read(child.stdout, height * width * 3)
    return np.frombuffer(pixels, np.uint8).reshape(height, width, 3)


def _read(stream: IO[bytes], size: int) -> bytes:
    content = stream.read(size)
    if len(content) < size:
        raise EOFError
    return content


def _close_quietly(stream: IO[bytes]) -> None:
    try:
        stream.close()
    except BrokenPipeError:
        return
