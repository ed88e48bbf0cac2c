"""Everything the SDK raises: one tree, so that ``except AtomsError`` catches all of it.

    AtomsError
    ├── ConfigurationError         no key, a key that would travel unprotected, a malformed argument
    ├── APIConnectionError         no answer came
    │   ├── APITimeoutError        ... in time
    │   └── OutcomeUnknown         a POST was sent and its answer lost: it may have been done
    ├── APIStatusError             the market answered with an error
    │   ├── BadRequest             400, 422: the request is wrong (`param` says where)
    │   ├── Unauthenticated        401
    │   ├── Forbidden              403
    │   ├── NotFound               404
    │   ├── Conflict               409
    │   │   ├── AlreadyClaimed     somebody else was first
    │   │   └── StaleLease         the lease went to another holder
    │   ├── InsufficientFunds      the agent's available balance is too small
    │   ├── SpendLimitExceeded     the key's spend limit stands in the way
    │   ├── BlockedByPolicy        the market does not publish this
    │   ├── RateLimited            429 after all retries
    │   └── ServerError            5xx after all retries
    ├── MalformedResponse          an answer that is not the market's: wrong type, too large
    ├── WaitTimeout                the wait ended first; the bounty goes on (also a `TimeoutError`)
    ├── NoReceipt                  the bounty closed without a receipt
    ├── ReceiptInvalid             a receipt whose signature, subject or evidence does not fit
    ├── DigestMismatch             downloaded bytes are not those that were asked for
    └── WebhookInvalid             a webhook that the market did not sign, or an old one

Every error says in ``next_step`` what to do about it.
"""


class AtomsError(Exception):
    """Base of all errors of this package."""

    next_step = ""

    def __init__(self, message: str, *, next_step: str = "") -> None:
        super().__init__(message)
        self.message = message
        if next_step:
            self.next_step = next_step

    def __str__(self) -> str:
        return f"{self.message} {self.next_step}".strip()


class ConfigurationError(AtomsError, ValueError):
    """The client can't be used like this; nothing was sent."""


class APIConnectionError(AtomsError):
    """No answer came from the market; nothing was done."""

    next_step = "Check ATOMS_URL and the network, then try again."


class APITimeoutError(APIConnectionError):
    """The market did not answer in time."""

    next_step = "Try again, or raise the timeout with with_options(timeout_s=...)."


class OutcomeUnknown(APIConnectionError):
    """A POST may have been done, but its answer was lost in all attempts.

    Ask again with the same arguments and ``idempotency_key``: the market then gives the first answer and does nothing twice.
    """

    def __init__(self, message: str, *, idempotency_key: str) -> None:
        next_step = (
            f"Repeat the same call with idempotency_key={idempotency_key!r}: it is done at most once."
            if idempotency_key
            else "Repeat the same call: it is done at most once."
        )
        super().__init__(message, next_step=next_step)
        self.idempotency_key = idempotency_key


class APIStatusError(AtomsError):
    """The market answered with an error (RFC 9457 problem details).

    Attributes:
        status_code: the HTTP status.
        code: the stable name of the error, e.g. ``insufficient_funds``; empty if the answer was not the market's.
        param: the argument that it is about, or empty.
        is_retryable: whether the same request may succeed later.
        request_id: names the request in the market's logs.
        docs_url: where the error is explained, or empty.
        retry_after_s: how long the market asked to wait, or None.
        policy_codes: the rules that stand in the way, of a `BlockedByPolicy`.
    """

    def __init__(
        self,
        message: str,
        *,
        status_code: int,
        code: str = "",
        param: str = "",
        next_step: str = "",
        is_retryable: bool = False,
        request_id: str = "",
        docs_url: str = "",
        retry_after_s: float | None = None,
        policy_codes: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message, next_step=next_step)
        self.status_code = status_code
        self.code = code
        self.param = param
        self.is_retryable = is_retryable
        self.request_id = request_id
        self.docs_url = docs_url
        self.retry_after_s = retry_after_s
        self.policy_codes = policy_codes


class BadRequest(APIStatusError):
    """The request is wrong; ``param`` says where."""


class Unauthenticated(APIStatusError):
    """The API key is missing, unknown or revoked."""

    next_step = "Set ATOMS_API_KEY to a valid key."


class Forbidden(APIStatusError):
    """The key may not do this."""


class NotFound(APIStatusError):
    """No such object, or it belongs to somebody else."""


class Conflict(APIStatusError):
    """The object is in another state, or the idempotency key was used for another request."""


class AlreadyClaimed(Conflict):
    """Every slot of the task is claimed; another worker was first."""


class StaleLease(Conflict):
    """The lease ended and the work went to another holder; drop this result."""


class InsufficientFunds(APIStatusError):
    """The available balance does not cover the bounty."""


class SpendLimitExceeded(APIStatusError):
    """A spend limit of the API key stands in the way."""


class BlockedByPolicy(APIStatusError):
    """The market does not publish a bounty like this one; ``policy_codes`` name the rules."""


class RateLimited(APIStatusError):
    """Too many requests, and still so after all retries."""


class ServerError(APIStatusError):
    """The market failed, and still did after all retries."""

    next_step = "Try again later; if it persists, report the request id."


class MalformedResponse(AtomsError):
    """The answer is not one of the market's: wrong type, not JSON, or too large. Its content is never quoted."""

    next_step = "Check that ATOMS_URL names a market and that no proxy changes its answers."


class WaitTimeout(AtomsError, TimeoutError):
    """The time given to `wait` is over; the bounty itself goes on."""


class NoReceipt(AtomsError):
    """There is no receipt: nothing was accepted, or it is not settled yet."""


class ReceiptInvalid(AtomsError):
    """The receipt does not prove what it is shown with."""

    next_step = "Do not rely on this answer."


class DigestMismatch(AtomsError):
    """Downloaded bytes do not have the SHA-256 that was announced."""

    next_step = "Download again; if it persists, do not rely on the bytes."


class WebhookInvalid(AtomsError):
    """The webhook was not signed by the market with this secret, or it is too old."""

    next_step = "Answer it with status 400 and do nothing else."


_BY_CODE: dict[str, type[APIStatusError]] = {
    "already_claimed": AlreadyClaimed,
    "stale_lease": StaleLease,
    "insufficient_funds": InsufficientFunds,
    "spend_limit_exceeded": SpendLimitExceeded,
    "blocked_by_policy": BlockedByPolicy,
}
_BY_STATUS: dict[int, type[APIStatusError]] = {
    400: BadRequest,
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    422: BadRequest,
    429: RateLimited,
}


def class_for(*, status_code: int, code: str) -> type[APIStatusError]:
    """Return the class that a problem's code, or else its status, stands for."""
    if code in _BY_CODE:
        return _BY_CODE[code]
    if status_code >= 500:
        return ServerError
    return _BY_STATUS.get(status_code, APIStatusError)
