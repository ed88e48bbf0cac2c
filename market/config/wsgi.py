"""The WSGI application that Granian serves."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "market.config.settings")
application = get_wsgi_application()

from market.config import checks  # noqa: E402 - needs the settings

checks.refuse_wrong_environment()
