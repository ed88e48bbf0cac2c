"""The protocol without I/O: what is sent, what an answer means, and when to try again. `_http` does the sending."""

import dataclasses
import datetime
import email.utils
import hashlib
import json
import random
import shlex
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar
from urllib.parse import urlsplit

import httpx
import pydantic
from pydantic import JsonValue

from agents_sdk import _version, errors

JsonObject = dict[str, JsonValue]
T = TypeVar("T")
M = TypeVar("M", bound=pydantic.BaseModel)

FIRST_DELAY_S = 0.5
LAST_DELAY_S = 8.0
# A longer Retry-After than this is handed to the caller instead of slept through.
LONGEST_RETRY_AFTER_S = 60.0
LARGEST_JSON_BYTES = 8 * 1024 * 1024
LARGEST_FILE_BYTES = 64 * 1024 * 1024
_LONGEST_MESSAGE = 500
_ANY_JSON: pydantic.TypeAdapter[JsonValue] = pydantic.TypeAdapter(JsonValue)
_LOOPBACK_HOSTS = {"127.0.0.1", "::1", "localhost"}


@dataclass(frozen=True, slots=True)
class FilePart:
    """One file of a multipart form."""

    field_name: str
    file_name: str
    media_type: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One logical request and the reading of its answer. Retries send the same bytes with the same key."""

    method: str
    # Below the market's address, or a whole address (media).
    path: str
    read: Callable[[bytes], T]
    params: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, JsonValue] | None = None
    form: Mapping[str, str] | None = None
    files: tuple[FilePart, ...] = ()
    # Sent as it is, as application/octet-stream.
    content: bytes | None = field(default=None, repr=False)
    idempotency_key: str = ""
    largest_reply_bytes: int = LARGEST_JSON_BYTES


@dataclass(frozen=True, slots=True)
class Options:
    """Where and how a client calls. ``api_key`` is left out of the representation."""

    base_url: str
    api_key: str = field(repr=False)
    timeout_s: float = 30.0
    max_retries: int = 2


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """The bytes of one attempt."""

    method: str
    url: str
    headers: dict[str, str]
    content: bytes
    timeout_s: float
    largest_reply_bytes: int


@dataclass(frozen=True, slots=True)
class HttpReply:
    """An answer, read to its end or to the limit."""

    status_code: int
    headers: httpx.Headers
    content: bytes
    # Larger than the limit: ``content`` is what was read until then.
    is_cut_off: bool = False


@dataclass(frozen=True, slots=True)
class Done(Generic[T]):
    """The call has its result."""

    value: T


@dataclass(frozen=True, slots=True)
class TryAgain:
    """Send the same request once more after ``delay_s`` seconds."""

    delay_s: float


def options_from(
    *, api_key: str | None, base_url: str | None, environment: Mapping[str, str], timeout_s: float, max_retries: int
) -> Options:
    """Read and check where to call, from the arguments or else from ATOMS_API_KEY and ATOMS_URL.

    Raises:
        ConfigurationError: no key, a malformed address, or a live key that would travel unencrypted.
    """
    key = (api_key or environment.get("ATOMS_API_KEY", "")).strip()
    url = (base_url or environment.get("ATOMS_URL", "") or "http://127.0.0.1:8000").strip().rstrip("/")
    if not key:
        raise errors.ConfigurationError("There is no API key.", next_step="Set ATOMS_API_KEY, or pass api_key=.")
    if not key.isascii() or not key.isprintable() or " " in key:
        raise errors.ConfigurationError("The API key has characters that no key has.", next_step="Copy it again.")
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment or parts.username:
        raise errors.ConfigurationError("The market's address is malformed.", next_step='Set ATOMS_URL to "https://<host>".')
    if key.startswith("live_") and parts.scheme == "http" and parts.hostname not in _LOOPBACK_HOSTS:
        raise errors.ConfigurationError("A live key must not travel unencrypted.", next_step="Use an https:// address.")
    return Options(base_url=url, api_key=key, timeout_s=timeout_s, max_retries=max_retries)


def changed(options: Options, *, timeout_s: float | None, max_retries: int | None) -> Options:
    """Return the options with those changed that are given."""
    return dataclasses.replace(
        options,
        timeout_s=options.timeout_s if timeout_s is None else timeout_s,
        max_retries=options.max_retries if max_retries is None else max_retries,
    )


def new_idempotency_key() -> str:
    """Return a key that no other call has."""
    return str(uuid.uuid4())


def post(
    path: str,
    read: Callable[[bytes], T],
    *,
    body: Mapping[str, JsonValue] | None = None,
    params: Mapping[str, str] | None = None,
    idempotency_key: str | None = None,
) -> Call[T]:
    """Describe a POST; without an ``idempotency_key`` it gets one of its own, kept over its retries."""
    key = idempotency_key or new_idempotency_key()
    return Call("POST", path, read, params=params or {}, body=body or {}, idempotency_key=key)


def get(path: str, read: Callable[[bytes], T], **params: str) -> Call[T]:
    """Describe a GET."""
    return Call("GET", path, read, params=params)


def download(url: str, *, base_url: str, sha256: str = "", largest_bytes: int = LARGEST_FILE_BYTES) -> Call[bytes]:
    """Describe the fetching of a file; its bytes are checked against ``sha256`` where it is given.

    Raises:
        MalformedResponse: the market gave no HTTP address.
    """

    def read(content: bytes) -> bytes:
        if sha256 and hashlib.sha256(content).hexdigest() != sha256:
            raise errors.DigestMismatch(f"The file does not have the SHA-256 {sha256[:64]!a}.")
        return content

    try:
        address = httpx.URL(f"{base_url}/").join(url)
    except httpx.InvalidURL:
        address = httpx.URL("")
    if address.scheme not in {"http", "https"} or not address.host:
        raise errors.MalformedResponse("The file's address is not an HTTP address.")
    path = address.raw_path.decode("ascii")
    # The market's own routes are called where the market is called: it may know itself by another name than this client,
    # and the key goes nowhere else.
    return Call("GET", path if path.startswith("/v1/") else str(address), read, largest_reply_bytes=largest_bytes)


def as_model(model: type[M]) -> Callable[[bytes], M]:
    """Return a reader of one object.

    Raises (when called):
        MalformedResponse: names the fields that do not fit, and never quotes them.
    """

    def read(content: bytes) -> M:
        return model_of(model, json_of(content))

    return read


def model_of(model: type[M], value: JsonValue) -> M:
    """Read a model from a JSON value.

    Raises:
        MalformedResponse: names the fields that do not fit, and never quotes them.
    """
    try:
        return model.model_validate(value)
    except pydantic.ValidationError as error:
        details = error.errors(include_input=False, include_url=False, include_context=False)
        # Only our own field names and positions: a key of the answer could be a sentence.
        places = sorted({".".join(str(part) for part in detail["loc"][:6]) for detail in details})
        raise errors.MalformedResponse(f"The answer is not a {model.__name__}: wrong at {', '.join(places[:5])[:200]}.") from None


def json_of(content: bytes) -> JsonValue:
    """Read JSON.

    Raises:
        MalformedResponse: it is not JSON.
    """
    try:
        return _ANY_JSON.validate_json(content)
    except (pydantic.ValidationError, RecursionError):
        raise errors.MalformedResponse("The answer is not JSON.") from None


def same_origin(base_url: str, url: str) -> bool:
    """Return whether ``url`` is served from where the key may go."""
    ours, theirs = urlsplit(base_url), urlsplit(url)
    return (ours.scheme, ours.hostname, ours.port) == (theirs.scheme, theirs.hostname, theirs.port)


class Attempts(Generic[T]):
    """One call's life: gives the bytes to send, and turns each answer or loss into a result, a delay or an error."""

    def __init__(self, call: Call[T], options: Options, *, uniform: Callable[[float, float], float] = random.uniform) -> None:
        self._call = call
        self._options = options
        self._uniform = uniform
        self._sent = 0
        # Whether an attempt may have reached the market without its answer reaching us.
        self._may_be_done = False
        self.request = _request(call, options)

    def answered(self, reply: HttpReply) -> Done[T] | TryAgain:
        """Take an answer.

        Raises:
            APIStatusError: the market refused, or still fails after all retries.
            OutcomeUnknown: retries are used up and an earlier answer was lost.
            MalformedResponse: a success that can't be read.
        """
        if reply.is_cut_off:
            raise errors.MalformedResponse(f"The answer is larger than {self.request.largest_reply_bytes} bytes.")
        if 200 <= reply.status_code < 300:
            return Done(self._call.read(reply.content))
        problem = _problem(reply)
        if not _may_retry(problem):
            raise problem
        # A gateway that answers for a market that did not: the market may still have acted.
        self._may_be_done |= reply.status_code >= 500 and not problem.code
        return self._again(problem, retry_after_s=problem.retry_after_s)

    def lost(self, error: httpx.TransportError) -> TryAgain:
        """Take the loss of an answer.

        Raises:
            APIConnectionError, APITimeoutError, OutcomeUnknown: retries are used up.
        """
        if isinstance(error, httpx.UnsupportedProtocol | httpx.LocalProtocolError):
            raise errors.ConfigurationError("The request can't be sent.", next_step="Check ATOMS_URL.") from error
        self._may_be_done |= not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
        if isinstance(error, httpx.TimeoutException):
            failure: errors.APIConnectionError = errors.APITimeoutError(f"No answer within {self._options.timeout_s:g} s.")
        else:
            failure = errors.APIConnectionError("The connection failed.")
        failure.__cause__ = error
        return self._again(failure, retry_after_s=None)

    def _again(self, failure: errors.AtomsError, *, retry_after_s: float | None) -> TryAgain:
        is_too_long = retry_after_s is not None and retry_after_s > LONGEST_RETRY_AFTER_S
        if self._sent >= self._options.max_retries or is_too_long:
            if self._call.method == "POST" and self._may_be_done:
                raise errors.OutcomeUnknown(
                    f"The answer to this request was lost: {failure.message}", idempotency_key=self._call.idempotency_key
                ) from failure
            raise failure
        delay_s = backoff_s(self._sent, uniform=self._uniform)
        self._sent += 1
        return TryAgain(max(delay_s, retry_after_s or 0.0))


def backoff_s(attempt: int, *, uniform: Callable[[float, float], float] = random.uniform) -> float:
    """Return the seconds before retry number ``attempt`` (from 0): full jitter under 0.5, 1, 2 ... 8 s."""
    return uniform(0, min(LAST_DELAY_S, FIRST_DELAY_S * 2 ** min(attempt, 10)))


def as_curl(call: Call[T], options: Options) -> str:
    """Write the command line that sends the same request; the key stays in the environment."""
    request = _request(call, options)
    words = ["curl", "--request", request.method, shlex.quote(request.url)]
    for name, value in request.headers.items():
        if name in {"Accept", "Content-Type", "Idempotency-Key"}:
            words += ["--header", shlex.quote(f"{name}: {value}")]
    # Double quotes: the shell puts the key in.
    words += ["--header", '"Authorization: Bearer $ATOMS_API_KEY"']
    if request.content:
        words += ["--data", shlex.quote(request.content.decode())]
    return " ".join(words)


def _request(call: Call[T], options: Options) -> HttpRequest:
    headers = {
        "Accept": "application/json, */*",
        "Accept-Encoding": "identity",
        "User-Agent": f"atoms-python/{_version.__version__}",
    }
    if call.idempotency_key:
        headers["Idempotency-Key"] = call.idempotency_key
    content = b""
    if call.form is not None:
        boundary = _boundary(call)
        headers["Content-Type"] = f"multipart/form-data; boundary={boundary}"
        content = _multipart(call.form, call.files, boundary=boundary)
    elif call.content is not None:
        headers["Content-Type"] = "application/octet-stream"
        content = call.content
    elif call.body is not None:
        headers["Content-Type"] = "application/json"
        content = json.dumps(call.body, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()
    url = httpx.URL(call.path if "://" in call.path else options.base_url + call.path)
    if call.params:
        url = url.copy_merge_params(dict(call.params))
    if same_origin(options.base_url, str(url)):
        headers["Authorization"] = f"Bearer {options.api_key}"
    return HttpRequest(call.method, str(url), headers, content, options.timeout_s, call.largest_reply_bytes)


def _boundary(call: Call[T]) -> str:
    """Return a boundary made of the content: a repeated call has the same bytes, and no content holds its own digest."""
    digest = hashlib.sha256(repr(sorted((call.form or {}).items())).encode())
    for file in call.files:
        digest.update(hashlib.sha256(file.content).digest())
    return digest.hexdigest()[:40]


def _multipart(form: Mapping[str, str], files: tuple[FilePart, ...], *, boundary: str) -> bytes:
    parts: list[bytes] = []
    for name, value in form.items():
        parts.append(f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode())
    for file in files:
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{file.field_name}"; filename="{file.file_name}"\r\n'
        parts.append(f"{head}Content-Type: {file.media_type}\r\n\r\n".encode() + file.content + b"\r\n")
    return b"".join(parts) + f"--{boundary}--\r\n".encode()


def _problem(reply: HttpReply) -> errors.APIStatusError:
    try:
        value = json_of(reply.content)
    except errors.MalformedResponse:
        value = None
    body = value if isinstance(value, dict) else {}
    code = _word(body.get("code"))
    retry_after_s = _retry_after_s(reply.headers)
    return errors.class_for(status_code=reply.status_code, code=code)(
        _text(body.get("detail")) or _text(body.get("title")) or f"The market answered with status {reply.status_code}.",
        status_code=reply.status_code,
        code=code,
        param=_word(body.get("param")),
        next_step=_text(body.get("next_step")),
        is_retryable=body.get("retryable") is True,
        request_id=_word(body.get("request_id")) or _word(reply.headers.get("x-request-id")),
        docs_url=_word(body.get("docs_url")),
        retry_after_s=retry_after_s,
        policy_codes=_words(body.get("policy_codes")),
    )


def _may_retry(problem: errors.APIStatusError) -> bool:
    if problem.status_code == 409:
        return problem.is_retryable
    return problem.status_code in {408, 429} or problem.status_code >= 500


def _text(value: JsonValue) -> str:
    """Return a sentence of the market's on one line, printable and capped."""
    return "".join(c if c.isprintable() else " " for c in value[:_LONGEST_MESSAGE]).strip() if isinstance(value, str) else ""


def _word(value: JsonValue) -> str:
    return value[:200] if isinstance(value, str) and value.isascii() and value.isprintable() and " " not in value else ""


def _words(value: JsonValue) -> tuple[str, ...]:
    return tuple(word for part in value[:50] if (word := _word(part))) if isinstance(value, list) else ()


def _retry_after_s(headers: httpx.Headers) -> float | None:
    """Read Retry-After (RFC 9110, section 10.2.3): seconds or a date; None if absent or unreadable."""
    text = headers.get("retry-after", "").strip()
    if not text:
        return None
    if text.isascii() and text.isdigit() and len(text) <= 9:
        return float(text)
    try:
        until = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    if until.tzinfo is None:
        until = until.replace(tzinfo=datetime.UTC)
    return max(0.0, (until - datetime.datetime.now(tz=datetime.UTC)).total_seconds())
