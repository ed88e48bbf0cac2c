"""The one job of the composition root: it shows that the chain from broker to worker and back is whole."""

import redis
from celery import shared_task
from django.conf import settings

KEPT_S = 300


@shared_task(name="config.answer", ignore_result=True)
def answer(*, question: str, **kwargs: object) -> None:  # noqa: ARG001
    """Leave a mark that whoever asked looks for."""
    with redis.Redis.from_url(settings.REDIS_URL, socket_timeout=5) as client:
        client.set(f"answered:{question}", 1, ex=KEPT_S)
