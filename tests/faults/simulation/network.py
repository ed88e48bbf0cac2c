"""What lies between people and the market: requests and answers that are lost, repeated, delayed and overtake each other."""

import contextlib
import datetime
import heapq
import json
import random
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

# What an event came to, in a word for the trace.
Happening = Callable[[], str]
_ID = re.compile(r"([a-z]{3})_[0-9a-f]{32}")


@dataclass(order=True)
class Waiting:
    """Something that will happen."""

    at: datetime.datetime
    number: int
    label: str = field(compare=False)
    happening: Happening = field(compare=False)
    is_thought: bool = field(compare=False)
    is_idle: Callable[[], bool] = field(compare=False)


class Queue:
    """What will happen, by its time; of two at one time the one that was planned first."""

    def __init__(self) -> None:
        self._waiting: list[Waiting] = []
        self._planned = 0

    def plan(
        self,
        at: datetime.datetime,
        label: str,
        happening: Happening,
        *,
        is_thought: bool = False,
        is_idle: Callable[[], bool] = lambda: False,
    ) -> None:
        """Let something happen at a time, or as soon as possible after it, unless it is idle by then.

        People's thoughts end when the market is left alone.
        """
        self._planned += 1
        heapq.heappush(self._waiting, Waiting(at, self._planned, label, happening, is_thought, is_idle))

    def pop(self) -> Waiting | None:
        """Take out what comes next."""
        while self._waiting:
            first = heapq.heappop(self._waiting)
            if not first.is_idle():
                return first
        return None

    def stop_thinking(self) -> None:
        """Take out all that people would have thought of."""
        self._waiting = [each for each in self._waiting if not each.is_thought]
        heapq.heapify(self._waiting)


@dataclass(frozen=True)
class Request:
    """One request as somebody means it; sent again it is the same."""

    secret: str = field(repr=False)
    method: str
    path: str
    body: Mapping[str, Any] = field(default_factory=dict, repr=False)
    photos: tuple[bytes, ...] = field(default=(), repr=False)
    key: str = ""

    @property
    def route(self) -> str:
        """The path with ids shortened to their prefix."""
        return _ID.sub(r"\1", self.path)


@dataclass(frozen=True)
class Answer:
    """What the market said."""

    status: int
    body: dict[str, Any] = field(repr=False)
    is_replay: bool

    @property
    def word(self) -> str:
        """The status, and the code of a refusal."""
        return f"{self.status} {self.body.get('code', '')}".strip() + (" again" if self.is_replay else "")


class Door:
    """The market's HTTP API, called in this process."""

    def __init__(self) -> None:
        self._client = Client(SERVER_NAME="localhost")

    def call(self, request: Request) -> Answer:
        """Let the market answer; whatever its code raises comes through."""
        headers = {"Authorization": f"Bearer {request.secret}"}
        if request.method == "GET":
            response = self._client.get(f"/v1/{request.path}", request.body, headers=headers)
        else:
            headers["Idempotency-Key"] = request.key
            if request.photos:
                files = [SimpleUploadedFile(f"{number}.jpg", photo, "image/jpeg") for number, photo in enumerate(request.photos)]
                response = self._client.post(f"/v1/{request.path}", {**request.body, "photo": files}, headers=headers)
            else:
                response = self._client.post(f"/v1/{request.path}", request.body, content_type="application/json", headers=headers)
        is_replay = response.headers.get("Idempotent-Replayed") == "true"
        return Answer(response.status_code, json.loads(response.content or b"{}"), is_replay)


@dataclass
class Weather:
    """How bad the network is: shares of what is lost or repeated, and the usual delay."""

    lost: float
    repeated: float
    delay: datetime.timedelta

    @classmethod
    def drawn(cls, chance: random.Random) -> "Weather":
        """Draw a network that may be good or very bad."""
        badness = chance.choice((0.0, 0.03, 0.1, 0.3))
        return cls(badness, chance.choice((0.0, 0.1, 0.3)), datetime.timedelta(seconds=chance.choice((0.05, 2, 60))))


class Network:
    """Carries requests to the door and answers back. Who gets no answer asks again with the same key, some times."""

    MOST_TRIES = 5

    def __init__(self, queue: Queue, chance: random.Random, now: Callable[[], datetime.datetime]) -> None:
        self._queue, self._chance, self._now = queue, chance, now
        self.door = Door()
        self.weather = Weather.drawn(chance)
        self.saw: Callable[[Request, Answer], None] = lambda request, answer: None

    def heal(self) -> None:
        """Lose and repeat nothing from now on."""
        self.weather = Weather(0.0, 0.0, datetime.timedelta(seconds=0.05))

    def new_key(self) -> str:
        """Return an idempotency key that nobody used before."""
        return str(uuid.UUID(int=self._chance.getrandbits(128)))

    def send(self, request: Request, then: Callable[[Answer], None] = lambda answer: None) -> str:
        """Send a request until an answer comes or patience ends; ``then`` is called once, with the answer that came first."""
        self._try(_Sent(request, then))
        return "sent"

    def pass_on(self, label: str, happening: Happening) -> int:
        """Carry something that nobody waits for; return how often it will arrive."""
        arrivals = 0 if self._chance.random() < self.weather.lost else 1 + (self._chance.random() < self.weather.repeated)
        for _ in range(arrivals):
            self._queue.plan(self._now() + self._delay(), label, happening)
        return arrivals

    def _try(self, sent: "_Sent") -> None:
        sent.tries += 1
        label = f"{sent.request.method} {sent.request.route}"
        self.pass_on(label, lambda: self._arrive(sent))
        if sent.tries < self.MOST_TRIES:
            patience = 10 * self.weather.delay + datetime.timedelta(seconds=5) * 2**sent.tries
            at = self._now() + patience
            self._queue.plan(at, f"asks again {label}", lambda: self._ask_again(sent), is_thought=True, is_idle=lambda: sent.is_answered)

    def _ask_again(self, sent: "_Sent") -> str:
        self._try(sent)
        return f"try {sent.tries}"

    def _arrive(self, sent: "_Sent") -> str:
        answer = self.door.call(sent.request)
        self.saw(sent.request, answer)
        self.pass_on("answer", lambda: sent.hear(answer))
        return answer.word

    def _delay(self) -> datetime.timedelta:
        # Mostly short; now and then so long that much overtakes it.
        return self.weather.delay * self._chance.choice((0.1, 0.5, 1, 1, 2, 20))


class _Sent:
    def __init__(self, request: Request, then: Callable[[Answer], None]) -> None:
        self.request, self._then = request, then
        self.tries, self.is_answered = 0, False

    def hear(self, answer: Answer) -> str:
        # A key's request may be sent again where the market says so; a second answer to it is no news.
        if self.is_answered or answer.body.get("retryable"):
            return "no news"
        self.is_answered = True
        with contextlib.suppress(KeyError):
            self._then(answer)
        return "heard"
