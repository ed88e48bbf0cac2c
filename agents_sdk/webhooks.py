"""Incoming webhooks: check that the market signed them (Standard Webhooks 1.1), then read the event."""

from collections.abc import Mapping

import standardwebhooks
from standardwebhooks import webhooks

from agents_sdk import _core, errors, models

LARGEST_BODY_BYTES = 256 * 1024


def unwrap(body: bytes | str, headers: Mapping[str, str], secret: str) -> models.Event:
    """Return the event of a webhook whose signature fits and is at most five minutes old.

    Events may come twice and in any order: act on each ``event.id`` once.

    Raises:
        WebhookInvalid: not signed with ``secret``, too old, or not an event.
        ConfigurationError: the secret is empty.
    """
    raw = body.encode() if isinstance(body, str) else body
    if len(raw) > LARGEST_BODY_BYTES:
        raise errors.WebhookInvalid("The webhook is larger than any that the market sends.")
    try:
        standardwebhooks.Webhook(secret).verify(raw, dict(headers), json_parse=False)
    except webhooks.EmptyWebhookSecretError:
        raise errors.ConfigurationError("The webhook secret is empty.", next_step="Pass the secret of the endpoint.") from None
    except (webhooks.WebhookVerificationError, ValueError, IndexError, UnicodeDecodeError):
        # The library lets malformed headers through as ValueError.
        raise errors.WebhookInvalid("The webhook's signature does not fit.") from None
    try:
        return _core.model_of(models.Event, _core.json_of(raw))
    except errors.MalformedResponse:
        raise errors.WebhookInvalid("The webhook is signed, but is not an event.") from None
