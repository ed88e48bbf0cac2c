"""The lease loop of vision: lease a batch, fetch, decode, one forward pass, hand in; every step fenced by the item's token."""

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from pydantic import JsonValue

from agents_sdk import errors
from agents_sdk.leases import LeaseClient, LeaseItem
from gpu_workers import decoder_child
from gpu_workers.decoding import DecoderPool, Undecodable
from gpu_workers.vision.base import Picture, Readings, VisionModel

log = logging.getLogger(__name__)

KIND = "vision"
BATCH = 32
LEASE_S = 60
MOST_PHRASES = 5
LONGEST_PHRASE = 500


@dataclass
class Tally:
    """What one drain did with its items."""

    completed: int = 0
    failed: int = 0
    # Taken over by another holder before we were done; nothing of ours counted.
    stale: int = 0
    # Kept by us until the lease ends: the market could not be reached.
    unanswered: int = 0


@dataclass
class _Held:
    """Items still ours to answer, shared between the working thread and the heart."""

    items: dict[str, LeaseItem]
    lock: threading.Lock = field(default_factory=threading.Lock)

    def mine(self) -> list[LeaseItem]:
        with self.lock:
            return list(self.items.values())

    def drop(self, item: LeaseItem) -> bool:
        with self.lock:
            return self.items.pop(item.id, None) is not None


def work_until_empty(
    *,
    client: LeaseClient,
    load_model: Callable[[], VisionModel],
    decoders: DecoderPool,
    holder: str,
    is_stopping: Callable[[], bool] = lambda: False,
    lease_s: int = LEASE_S,
    batch: int = BATCH,
) -> Tally:
    """Lease and work until the market has no item, or the process is asked to stop.

    The model is loaded before the first lease: a lease must not run out while weights are read.

    Raises:
        errors.AtomsError: the market can't be reached or refuses the key; items held come back when their lease ends.
    """
    tally = Tally()
    model = load_model()
    while not is_stopping():
        lease = client.lease(KIND, batch, holder=holder, lease_s=lease_s)
        if not lease.items:
            break
        answered = tally.completed + tally.failed
        _work_batch(client, model, decoders, lease.items, lease_s, tally)
        if tally.completed + tally.failed == answered:
            # No item of the batch could be answered: the market is out of reach or others took all. Don't spin.
            break
    return tally


def _work_batch(
    client: LeaseClient, model: VisionModel, decoders: DecoderPool, items: Sequence[LeaseItem], lease_s: int, tally: Tally
) -> None:
    held = _Held({item.id: item for item in items})
    with _heart(client, held, lease_s, tally):
        fetched = [(item, raw) for item in items if (raw := _fetch(client, held, item, tally)) is not None]
        decoded = decoders.decode_all([raw for _, raw in fetched])
        readable: list[tuple[LeaseItem, Picture, list[str]]] = []
        for (item, _), picture in zip(fetched, decoded, strict=True):
            if isinstance(picture, Undecodable):
                _fail(client, held, item, picture.reason, tally)
            elif (phrases := _phrases(item.params)) is None:
                _fail(client, held, item, "malformed_params", tally)
            else:
                readable.append((item, picture, phrases))
        if not readable:
            return
        read = model.describe([picture for _, picture, _ in readable], [phrases for _, _, phrases in readable])
        for (item, _, _), readings in zip(readable, read, strict=True):
            _complete(client, held, item, readings, model, tally)


def _fetch(client: LeaseClient, held: _Held, item: LeaseItem, tally: Tally) -> bytes | None:
    if len(item.inputs) != 1:
        _fail(client, held, item, "malformed_inputs", tally)
        return None
    (file,) = item.inputs
    try:
        return client.fetch(file.url, sha256=file.sha256, largest_bytes=decoder_child.LARGEST_FILE_BYTES)
    except errors.DigestMismatch:
        _fail(client, held, item, "digest_mismatch", tally)
    except errors.MalformedResponse:
        _fail(client, held, item, "too_large", tally)
    except errors.AtomsError as error:
        # The lease has ended, or the file is not to be had now: its lease runs out and it is handed out again.
        log.info("input of %s not fetched: %s", item.id, type(error).__name__)
        if held.drop(item):
            tally.unanswered += 1
    return None


def _phrases(params: Mapping[str, JsonValue]) -> list[str] | None:
    given = params.get("phrases")
    if not isinstance(given, list) or len(given) > MOST_PHRASES:
        return None
    phrases = [phrase for phrase in given if isinstance(phrase, str) and len(phrase) <= LONGEST_PHRASE]
    return phrases if len(phrases) == len(given) else None


def _complete(client: LeaseClient, held: _Held, item: LeaseItem, readings: Readings, model: VisionModel, tally: Tally) -> None:
    def send() -> None:
        content = cast("Mapping[str, JsonValue]", readings.as_json())
        client.complete(item.id, item.token, content, model_hash=model.model_hash, preprocessing=model.preprocessing)

    if _answer(held, item, send, tally):
        tally.completed += 1


def _fail(client: LeaseClient, held: _Held, item: LeaseItem, reason: str, tally: Tally) -> None:
    if _answer(held, item, lambda: client.fail(item.id, item.token, reason), tally):
        tally.failed += 1


def _answer(held: _Held, item: LeaseItem, send: Callable[[], None], tally: Tally) -> bool:
    """Send one item's answer unless it is no longer ours; one item's trouble is not its neighbours'."""
    if not held.drop(item):
        return False
    try:
        send()
    except errors.StaleLease:
        tally.stale += 1
    except errors.AtomsError as error:
        log.info("answer for %s not taken: %s", item.id, type(error).__name__)
        tally.unanswered += 1
    else:
        return True
    return False


@contextlib.contextmanager
def _heart(client: LeaseClient, held: _Held, lease_s: int, tally: Tally) -> Iterator[None]:
    """Keep the leases of what is still held alive from a second thread, three times as often as needed."""
    done = threading.Event()

    def beat() -> None:
        while not done.wait(lease_s / 3):
            for item in held.mine():
                try:
                    client.heartbeat(item.id, item.token, lease_s=lease_s)
                except errors.StaleLease:
                    if held.drop(item):
                        tally.stale += 1
                except errors.AtomsError as error:
                    log.info("heartbeat of %s not taken: %s", item.id, type(error).__name__)

    heart = threading.Thread(target=beat, name="lease-heart", daemon=True)
    heart.start()
    try:
        yield
    finally:
        done.set()
        heart.join()
