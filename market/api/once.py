"""Idempotency-Key on every POST: the same key and request get the first answer again, whatever happened in between."""

import functools
import hashlib
import json
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from django.core.files.uploadedfile import UploadedFile
from django.http import HttpResponse, QueryDict
from rest_framework import exceptions, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils import encoders
from rest_framework.views import APIView

from market.accounts import idempotency
from market.api import auth, fields, parsing, problems

HEADER = "Idempotency-Key"
MAX_KEY_LENGTH = 120
_NAMESPACE = uuid.UUID("6b1f6a70-52a4-5d1c-9a1e-0d6f5a0c7b11")

Effect = Callable[[], Response]


def once(post: Callable[..., Response]) -> Callable[..., HttpResponse]:
    """Run a view's POST at most once per key, in one transaction with the keeping of its answer."""

    @functools.wraps(post)
    def answered(view: APIView, request: Request, **kwargs: object) -> HttpResponse:
        return answer(request, lambda: post(view, request, **kwargs))

    return answered


def once_outside(post: Callable[..., Response]) -> Callable[..., HttpResponse]:
    """Run a POST that leaves the process and is harmless to repeat (see `request_id_of`), and keep its first answer."""

    @functools.wraps(post)
    def answered(view: APIView, request: Request, **kwargs: object) -> HttpResponse:
        return answer_outside(request, lambda: post(view, request, **kwargs))

    return answered


def with_file(post: Callable[..., Response]) -> Callable[..., HttpResponse]:
    """Run a POST whose body is one file, handed on as ``file``, as `once_outside` does: files are stored outside transactions."""

    @functools.wraps(post)
    def answered(view: APIView, request: Request, **kwargs: object) -> HttpResponse:
        file = request.data
        if not isinstance(file, parsing.SentFile):
            raise exceptions.ParseError("The body must be the bytes of a file.")
        with file:
            return answer_outside(request, lambda: post(view, request, file=file, **kwargs))

    return answered


def answer_outside(request: Request, effect: Effect) -> HttpResponse:
    """Do ``effect``, which is by itself harmless to repeat, outside a transaction, or give the kept answer."""

    def answer_or_refusal() -> idempotency.Answer:
        try:
            return _written(effect())
        except Exception as error:
            return _refused(request, error)

    return _http(idempotency.after_repeatable(asked_of(request), answer_or_refusal))


def answer(request: Request, effect: Effect) -> HttpResponse:
    """Do ``effect`` once for the request's key, or give the kept answer.

    A refusal that will stay one is kept as well; what is wrong with the form of a request, and what may succeed later
    (429, 5xx, ``retryable``), is not.

    Raises:
        MissingIdempotencyKey, MalformedIdempotencyKey, KeyReused, StillRunning: about the key.
    """
    asked = asked_of(request)
    try:
        kept = idempotency.once(asked, lambda: _written(effect()))
    except (idempotency.KeyReused, idempotency.StillRunning):
        raise
    except Exception as error:
        # All that the use case wrote is undone, so the refusal is kept by itself; unless the same request was answered meanwhile.
        refused = _refused(request, error)
        kept = idempotency.once(asked, lambda: refused)
    return _http(kept)


def recall(request: Request) -> HttpResponse | None:
    """Return the kept answer to this request, before work is done that only its effect needs."""
    kept = idempotency.recall(asked_of(request))
    return None if kept is None else _http(kept)


def asked_of(request: Request) -> idempotency.Asked:
    """Describe a request: its key, and a digest of method, path, query and body."""
    key = request.META.get("HTTP_IDEMPOTENCY_KEY", "")
    if not key:
        raise problems.MissingIdempotencyKey("This POST has no Idempotency-Key header.")
    if len(key) > MAX_KEY_LENGTH or not all("!" <= character <= "~" for character in key):
        raise problems.MalformedIdempotencyKey("The Idempotency-Key is not 1 to 120 visible ASCII characters.")
    api_key = auth.key_of(request)
    head = f"{request.method} {request.path}"
    whole = hashlib.sha256(f"{head}?{request.META.get('QUERY_STRING', '')}\n".encode())
    whole.update(_digest_of_body(request))
    scope = f"{'lease' if api_key.scope in auth.LEASE else 'key'}:{api_key.pk}"
    return idempotency.Asked(scope=scope, key=key, method_and_path=head, request_sha256=whole.hexdigest())


def request_id_of(request: Request) -> uuid.UUID:
    """Return an id that every repetition of this request has, and no other request: what makes a repeated effect harmless."""
    asked = asked_of(request)
    return uuid.uuid5(_NAMESPACE, f"{asked.scope} {asked.key}")


def _digest_of_body(request: Request) -> bytes:
    """Digest what the body says, not how: a repeated form may have another boundary, JSON other spaces."""
    data = request.data
    if isinstance(data, parsing.SentFile):
        return data.digest
    if not isinstance(data, QueryDict):
        return hashlib.sha256(json.dumps(data, sort_keys=True, separators=(",", ":")).encode()).digest()
    parts = [
        [name, "text", hashlib.sha256(text.encode()).hexdigest()] for name, texts in data.lists() for text in texts if isinstance(text, str)
    ]
    parts += [[name, "file", _digest_of_file(file)] for name, files in request.FILES.lists() for file in files]
    return hashlib.sha256(json.dumps(sorted(parts)).encode()).digest()


def _digest_of_file(file: "UploadedFile[bytes]") -> str:
    digest = hashlib.sha256()
    for chunk in file.chunks():
        digest.update(chunk)
    file.seek(0)
    return digest.hexdigest()


def _refused(request: Request, error: Exception) -> idempotency.Answer:
    """Write the answer of a refusal that will stay one; raise any other again."""
    refusal = None if isinstance(error, exceptions.APIException) else problems.refusal_for(error)
    if refusal is None or not _is_kept(error, refusal):
        raise error
    return _written(problems.respond(error, refusal, request))


def _written(response: Response) -> idempotency.Answer:
    return idempotency.Answer(response.status_code, json_text(response.data))


def _is_kept(error: Exception, refusal: problems.Refusal) -> bool:
    if isinstance(error, problems.BadParameter):
        return False
    return not refusal.is_retryable and refusal.status not in (401, 422, 429) and refusal.status < 500


def json_text(data: object) -> str:
    """Write an answer's data as JSON text."""
    return json.dumps(data, cls=encoders.JSONEncoder, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _http(kept: idempotency.Answer) -> HttpResponse:
    content_type = problems.CONTENT_TYPE if kept.status_code >= 400 else "application/json"
    response = HttpResponse(kept.body, status=kept.status_code, content_type=content_type)
    if kept.is_replay:
        response.headers["Idempotent-Replayed"] = "true"
    return response


def read(serializer: type[serializers.Serializer[object]], request: Request) -> dict[str, Any]:
    """Return the fields of a body as the serializer reads them.

    Raises:
        rest_framework.exceptions.ValidationError: something is missing, unknown or malformed.
    """
    return dict(fields.made_once(serializer).run_validation(request.data))


def data_of(request: Request) -> Mapping[str, object]:
    """Return the JSON object of a request's body."""
    data = request.data
    assert isinstance(data, Mapping)
    return data
