"""The one job of the composition root: it shows that the chain from broker to worker to cache is whole."""

from celery import shared_task
from django.core.cache import cache

KEPT_S = 300


@shared_task(name="config.answer", ignore_result=True)
def answer(*, question: str, **kwargs: object) -> None:  # noqa: ARG001
    """Leave a mark in the cache that whoever asked looks for."""
    cache.set(f"answered:{question}", 1, timeout=KEPT_S)
