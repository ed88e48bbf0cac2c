"""Clients that post, claim, hand in, accept and cash out over HTTP, and remember every write that was acknowledged."""

import collections
import datetime
import functools
import io
import random
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from PIL import Image, ImageDraw
from pydantic import JsonValue

from agents_sdk import errors, market, models, worker
from tests.faults import servers

PATIENCE_S = 120.0
TIMEOUT_S = 60.0
PLACE = (52.5219, 13.4132)
# As many of a client's submissions wait for their verdict at once: more would only lengthen the end.
MOST_UNDECIDED = 4
PAUSE_S = 0.05


class _Identified(Protocol):
    @property
    def id(self) -> str: ...


Answer = TypeVar("Answer", bound=_Identified)
Read = TypeVar("Read")


@dataclass
class Memory:
    """What all clients of a load were told."""

    # By kind, the ids in the order of their acknowledgement.
    acknowledged: dict[str, list[str]] = field(default_factory=lambda: collections.defaultdict(list))
    # Submissions that an answer called accepted.
    accepted: set[str] = field(default_factory=set)
    # Requests that had no answer, or one of 500 and above.
    troubles: list[str] = field(default_factory=list)
    # Writes that had no answer within `PATIENCE_S`, however often they were sent.
    given_up: list[str] = field(default_factory=list)
    refusals: collections.Counter[str] = field(default_factory=collections.Counter)
    slowest_s: float = 0.0
    changed: threading.Condition = field(default_factory=threading.Condition)

    def acknowledge(self, kind: str, answered_id: str) -> None:
        """Remember a write that was acknowledged."""
        with self.changed:
            self.acknowledged[kind].append(answered_id)
            self.changed.notify_all()

    def refuse(self, code: str) -> None:
        """Count a refusal."""
        with self.changed:
            self.refusals[code] += 1

    @property
    def count(self) -> int:
        """How many writes were acknowledged."""
        return sum(len(ids) for ids in self.acknowledged.values())


class Load:
    """Clients at work, each in a thread of its own, between `start` and `finish`."""

    def __init__(self, url: str, keys: Sequence[servers.ClientKeys], *, chance: random.Random) -> None:
        self.memory = Memory()
        self._ending = threading.Event()
        clients = [Client(url, each, memory=self.memory, chance=random.Random(chance.random()), ending=self._ending) for each in keys]
        self._threads = [threading.Thread(target=client.work, name=f"client {number}") for number, client in enumerate(clients)]

    def start(self) -> None:
        """Let the clients work."""
        for thread in self._threads:
            thread.start()

    def wait_for_more(self, writes: int) -> None:
        """Wait until so many more writes were acknowledged."""
        with self.memory.changed:
            wanted = self.memory.count + writes
            came = self.memory.changed.wait_for(lambda: self.memory.count >= wanted or self._has_ended(), timeout=PATIENCE_S)
        assert came, f"No {writes} writes in {PATIENCE_S:.0f} s: {self.memory.troubles[-3:]}"
        assert not self._has_ended(), "The clients have ended."

    def finish(self) -> Memory:
        """Let each client repeat what it has begun until that is acknowledged, and end; return what they were told."""
        self._ending.set()
        for thread in self._threads:
            thread.join()
        return self.memory

    def _has_ended(self) -> bool:
        return not any(thread.is_alive() for thread in self._threads)


class Client:
    """One agent and its workers, one request at a time. A request without an answer is repeated with the same key."""

    def __init__(self, url: str, keys: servers.ClientKeys, *, memory: Memory, chance: random.Random, ending: threading.Event) -> None:
        self._agent = market.Market(api_key=keys.agent, base_url=url, timeout_s=TIMEOUT_S, max_retries=0)
        self._workers = [worker.WorkerMarket(api_key=key, base_url=url, timeout_s=TIMEOUT_S, max_retries=0) for key in keys.workers]
        self._memory = memory
        self._chance = chance
        self._ending = ending
        self._undecided: list[str] = []
        self._reviewed: set[str] = set()

    def work(self) -> None:
        """Go on until told to end."""
        try:
            self._deposit("5000.00")
            while not self._ending.is_set():
                self._post_and_answer()
                self._look_at_answers()
                if self._chance.random() < 0.1:
                    self._deposit(f"{self._chance.randint(1, 99)}.00")
                if self._chance.random() < 0.2:
                    self._cash_out(self._chance.choice(self._workers))
        finally:
            with self._memory.changed:
                self._memory.changed.notify_all()
            self._agent.close()
            for each in self._workers:
                each.close()

    def _post_and_answer(self) -> None:
        bounty = self._post()
        if bounty is None or len(self._undecided) >= MOST_UNDECIDED:
            return
        someone = self._chance.choice(self._workers)
        claim = self._write("claim", lambda key: someone.claim(bounty.task, at=PLACE, idempotency_key=key))
        if claim is None:
            return
        photo, captured_at = draw_photo(self._chance), datetime.datetime.now(tz=datetime.UTC)
        submission = self._write(
            "submission",
            lambda key: someone.submit(claim.id, photos=[photo], at=PLACE, accuracy_m=8.0, captured_at=captured_at, idempotency_key=key),
        )
        if submission is not None:
            self._undecided.append(submission.id)

    def _post(self) -> models.Bounty | None:
        # Half of them are accepted by their poster, half by the machine alone.
        review: dict[str, JsonValue] = {"poster_review_window_s": 600} if self._chance.random() < 0.5 else {}
        body: dict[str, JsonValue] = {
            "kind": "photo",
            "question": "Is the shop open? Show the door.",
            "place": {"latitude": PLACE[0], "longitude": PLACE[1], "within_m": 100},
            # So little that the calibration certifies acceptance by the machine alone.
            "reward": {"amount": f"0.{self._chance.randint(50, 99)}", "currency": "USD"},
            "deadline_in_s": 4 * 3600,
            **review,
        }

        def send(key: str) -> models.Bounty:
            posted = self._agent.post(body, idempotency_key=key).posted
            assert posted is not None
            return posted

        return self._write("bounty", send)

    def _look_at_answers(self) -> None:
        for submission_id in list(self._undecided):
            found = self._read(functools.partial(self._agent.submissions.get, submission_id))
            if found is None:
                continue
            if found.is_judged or _waits_for_a_person(found):
                self._undecided.remove(submission_id)
            if found.status == "ACCEPTED":
                self._memory.accepted.add(found.id)
            elif found.poster_review_until is not None and not found.is_judged and found.id not in self._reviewed:
                self._reviewed.add(found.id)
                self._write("acceptance", functools.partial(self._accept, found.id))

    def _accept(self, submission_id: str, key: str) -> models.Submission:
        return self._agent.submissions.accept(submission_id, idempotency_key=key)

    def _deposit(self, amount: str) -> None:
        self._write("deposit", lambda key: self._agent.deposits.create(amount, idempotency_key=key))

    def _cash_out(self, someone: worker.WorkerMarket) -> None:
        balance = self._read(someone.balance)
        purse = next((purse for purse in balance.data if purse.payable.value), None) if balance else None
        if purse is not None:
            amount, currency = purse.payable.amount, purse.currency
            self._write("payout", lambda key: someone.payout(amount, currency, destination="test_ok", idempotency_key=key))

    def _write(self, kind: str, send: Callable[[str], Answer]) -> Answer | None:
        """Send until it is answered; remember what was acknowledged. None: it was refused."""
        # Not drawn from the seed: the same keys again, by another load, would be the same requests.
        key = str(uuid.uuid4())
        answer = self._until_answered(f"{kind} {key}", lambda: send(key))
        if answer is not None:
            self._memory.acknowledge(kind, answer.id)
        return answer

    def _read(self, send: Callable[[], Read]) -> Read | None:
        return self._until_answered("a read", send)

    def _until_answered(self, what: str, send: Callable[[], Read]) -> Read | None:
        began_s = time.monotonic()
        while time.monotonic() - began_s < PATIENCE_S:
            sent_s = time.monotonic()
            try:
                return send()
            except (errors.APIConnectionError, errors.ServerError) as error:
                self._memory.troubles.append(f"{what}: {type(error).__name__}: {error}"[:200])
            except errors.APIStatusError as error:
                if not error.is_retryable:
                    self._memory.refuse(error.code)
                    return None
            finally:
                self._memory.slowest_s = max(self._memory.slowest_s, time.monotonic() - sent_s)
            time.sleep(PAUSE_S)
        self._memory.given_up.append(what)
        return None


def _waits_for_a_person(submission: models.Submission) -> bool:
    return submission.status == "IN_REVIEW" and submission.poster_review_until is None


def draw_photo(chance: random.Random) -> bytes:
    """Return a JPEG unlike any other: sharp, of middling light, without meaning."""
    image = Image.new("RGB", (640, 480), _colour(chance))
    draw = ImageDraw.Draw(image)
    for _ in range(60):
        left, upper = chance.randrange(-100, 600), chance.randrange(-100, 440)
        shape = draw.ellipse if chance.random() < 0.5 else draw.rectangle
        shape((left, upper, left + chance.randrange(20, 240), upper + chance.randrange(20, 240)), fill=_colour(chance))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=85)
    return file.getvalue()


def _colour(chance: random.Random) -> tuple[int, int, int]:
    return chance.randrange(30, 226), chance.randrange(30, 226), chance.randrange(30, 226)
