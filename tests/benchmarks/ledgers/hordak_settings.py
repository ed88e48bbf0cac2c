"""Settings of a bare Django project that holds django-hordak and nothing of ours."""

import os

import dj_database_url

SECRET_KEY = "nothing is signed here"
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "mptt", "djmoney", "hordak"]
DATABASES = {"default": dj_database_url.parse(os.environ["BENCHMARK_URL"], conn_max_age=None)}
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
DEFAULT_CURRENCY = "USD"
CURRENCIES = ["USD"]
USE_TZ = True
