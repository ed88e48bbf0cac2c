"""The market's Celery application with leases of FAULTS_LEASE_S seconds: a test cannot wait a minute for a killed worker's rows."""

import os

from celery import signals

from market.config.celery_app import app

__all__ = ["app"]


@signals.worker_init.connect
def _shorten(**_kwargs: object) -> None:
    # Only now: the models behind these need the settings that the application has read.
    from market.events import delivery
    from market.payments import payouts
    from verification import pipeline

    pipeline.LEASE_S = payouts.LEASE_S = delivery.LEASE_S = int(os.environ["FAULTS_LEASE_S"])
