"""The market's Celery application. Its jobs only wake up work that stands in PostgreSQL; losing one loses nothing."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "market.config.settings")

app = Celery("market")
app.config_from_object("django.conf:settings", namespace="CELERY")
# Celery's own name for these modules is ours for the work people do.
app.autodiscover_tasks(related_name="jobs")
