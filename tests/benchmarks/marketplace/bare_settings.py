"""Settings of a Django project without anything: no application, no middleware, one connection kept open."""

import os

import dj_database_url

SECRET_KEY = "nothing is signed here"
ALLOWED_HOSTS = ["127.0.0.1"]
ROOT_URLCONF = "tests.benchmarks.marketplace.bare"
DATABASES = {"default": dj_database_url.parse(os.environ["DATABASE_URL"], conn_max_age=None)}
USE_TZ = True
