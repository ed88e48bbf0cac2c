"""The market's WSGI application with a planted fault: it answers that a task was claimed or a bounty cancelled, and does not keep it."""

from collections.abc import Callable

from market.config.wsgi import application

__all__ = ["application"]

from django.db import transaction

from market.accounts import idempotency  # needs the models that the application loads

_kept = idempotency.once


def _forgotten(asked: idempotency.Asked, effect: Callable[[], idempotency.Answer]) -> idempotency.Answer:
    with transaction.atomic():
        answer = _kept(asked, effect)
        transaction.set_rollback(asked.method_and_path.endswith(("/claims", "/cancel")))
    return answer


idempotency.once = _forgotten
